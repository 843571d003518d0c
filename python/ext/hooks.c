/* Threads in the slow path and the end of the interpreter.
 *
 *     method or consumer ─▶ core ─▶ enter: a thread state, the GIL given up, `inside` + 1
 *                                     │  poll: signal handlers, every 30 ms
 *                                     ▼
 *                                   leave: GIL taken, state as before, `inside` - 1
 *
 * atexit sets `ending`, so that nobody enters any more and poll sends home who is inside,
 * and waits a moment for them: once finalisation has begun, taking the GIL would end the
 * thread. The state is the process's, not the module's, because streams outlive modules
 * (and only the main interpreter may import this module).
 *
 * A signal's handler that raises in a method's slow path ends the method, with its
 * exception. In a consumer's stream the exception is kept, and raised in the main thread
 * once that runs Python again, as it is where no handler was run for it: the stream goes
 * on. It fails with EINTR only if it waits on, and for Ctrl-C, which is sent again.
 *
 * A thread of another library, or the one that prefetches, has no thread state. It does
 * not take the GIL: a client may hold the GIL while it waits for that thread (nanoarrow,
 * for a scanner of pyarrow's). A source that runs Python makes a state itself. Making one
 * takes a lock of the interpreter without the GIL, and Python before 3.12 waits for that
 * lock in a forked child before it makes it anew: a fork at that moment would leave a
 * child that hangs. So there the state is made here, for the time that the thread is
 * inside, and forks wait for `making`; only the end of that state takes the GIL. */
#define _POSIX_C_SOURCE 200809L
#include "hooks.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

static atomic_bool ending;
static atomic_int inside;
static _Thread_local int this_inside; /* how often this thread is */
/* A method of ours is about to call the core, and has not entered the slow path yet. */
static _Thread_local bool method_calls;
/* The slow path that this thread is in was entered by a method of ours. */
static _Thread_local bool method_waits;

/* Debug builds assert that nobody waits, or has waited, with the GIL. It is no part of
 * the limited API, and of no use once a subinterpreter was made. */
#ifdef NDEBUG
#define assert_no_gil() ((void)0)
#else
int PyGILState_Check(void);
#define assert_no_gil() assert(atomic_load(&ending) || PyGILState_Check() == 0)
#endif

void hooks_begin_method(void) { method_calls = true; }
void hooks_end_method(void) { method_calls = false; }

enum { GIL_BITS = 8 };

static PyInterpreterState *interpreter;
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static bool forks_wait(void) { return Py_Version < 0x030C0000; }

static void lock_making(void) {
    if (forks_wait()) (void)pthread_mutex_lock(&making);
}

static void unlock_making(void) {
    if (forks_wait()) (void)pthread_mutex_unlock(&making);
}

/* What PyGILState_Ensure does for a thread that has no state, but without the GIL: the
 * PyGILState_Release that follows deletes the state. */
static PyThreadState *make_state(void) {
    lock_making();
    PyThreadState *state = PyThreadState_New(interpreter);
    unlock_making();
    return state;
}

/* The exception of a handler that is still to be raised, in the main thread, where
 * handlers run; under the GIL. */
static PyObject *kept;
static unsigned long kept_thread;
/* This thread has kept one since it entered its slow path. */
static _Thread_local bool has_kept;

static int enter(void *context, struct bc_hook_state *state) {
    (void)context;
    /* In this order, so that `end` waits for who has seen nothing yet. */
    (void)atomic_fetch_add(&inside, 1);
    if (atomic_load(&ending)) {
        (void)atomic_fetch_sub(&inside, 1);
        return ECANCELED;
    }
    intptr_t gil = (intptr_t)PyGILState_UNLOCKED;
    state->data[1] = NULL;
    if (PyGILState_GetThisThreadState() != NULL) {
        gil = (intptr_t)PyGILState_Ensure();
        state->data[1] = PyEval_SaveThread();
    } else if (forks_wait()) {
        state->data[1] = make_state();
        if (state->data[1] == NULL) {
            (void)atomic_fetch_sub(&inside, 1);
            return ENOMEM;
        }
    }
    this_inside++;
    state->data[0] = (void *)(gil | (intptr_t)method_waits << GIL_BITS);
    /* What the source calls in turn are calls of its own. */
    method_waits = method_calls;
    method_calls = false;
    has_kept = false;
    return 0;
}

static void leave(void *context, struct bc_hook_state *state) {
    (void)context;
    assert_no_gil();
    intptr_t entered = (intptr_t)state->data[0];
    /* The same call of the core may enter again. */
    method_calls = method_waits;
    method_waits = entered >> GIL_BITS != 0;
    if (state->data[1] != NULL) {
        PyEval_RestoreThread(state->data[1]);
        PyGILState_Release((PyGILState_STATE)(entered & ((1 << GIL_BITS) - 1)));
    }
    this_inside--;
    (void)atomic_fetch_sub(&inside, 1);
}

static PyObject *take_kept(void) {
    PyObject *taken = kept;
    kept = NULL;
    return taken;
}

static int raise_as_pending(void *unused) {
    (void)unused;
    return hooks_raise_kept() ? -1 : 0;
}

bool hooks_raise_kept(void) {
    if (kept == NULL || kept_thread != PyThread_get_thread_ident()) return false;
    PyObject *value = take_kept();
    PyErr_Clear();
    PyObject *traceback = PyException_GetTraceback(value);
    PyObject *type = (PyObject *)Py_TYPE(value);
    Py_INCREF(type);
    PyErr_Restore(type, value, traceback);
    return true;
}

/* Keeps the exception that is set; one that was kept before becomes its context. */
static void keep_exception(void) {
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) (void)PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    PyObject *before = take_kept();
    if (before != NULL && before != value) {
        PyException_SetContext(value, before);
    } else {
        Py_XDECREF(before);
    }
    kept = value;
    kept_thread = PyThread_get_thread_ident();
    has_kept = true;
    (void)Py_AddPendingCall(raise_as_pending, NULL);
}

/* A handler has raised while a consumer's stream is in its slow path. */
static int hand_on(void) {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt();
        return EINTR;
    }
    keep_exception();
    return 0;
}

static int poll(void *context) {
    (void)context;
    if (atomic_load(&ending)) return ECANCELED;
    assert_no_gil();
    /* Handlers run in the main thread, which has a state. */
    if (PyGILState_GetThisThreadState() == NULL) return 0;
    PyGILState_STATE gil = PyGILState_Ensure();
    /* A wait goes on: what was kept is not raised before it ends. */
    int code = has_kept ? EINTR : 0;
    if (PyErr_CheckSignals() != 0) code = method_waits ? EINTR : hand_on();
    PyGILState_Release(gil);
    return code;
}

const struct bc_hooks gil_hooks = {enter, leave, poll, NULL};

/* At most about 2 s, for sources that do not come back. */
static PyObject *end(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    atomic_store(&ending, true);
    PyThreadState *thread = PyEval_SaveThread();
    struct timespec pause = {0, 5000000};
    for (int i = 0; i < 400 && atomic_load(&inside) > 0; i++) nanosleep(&pause, NULL);
    PyEval_RestoreThread(thread);
    Py_RETURN_NONE;
}

static PyMethodDef end_method = {"_end", end, METH_NOARGS, NULL};

static void before_fork(void *unused) {
    (void)unused;
    lock_making();
}

static void in_parent(void *unused) {
    (void)unused;
    unlock_making();
}

/* A fork's child has none of the threads that were inside, but perhaps the one that
 * forked: in its source. */
static void in_child(void *unused) {
    (void)unused;
    atomic_store(&inside, this_inside);
    unlock_making();
}

static int watch_code;

static void watch_forks(void) {
    static const struct bc_fork_calls calls = {before_fork, in_parent, in_child, NULL};
    watch_code = bc_watch_forks(&calls);
}

int hooks_add(PyObject *module) {
    (void)module;
    interpreter = PyInterpreterState_Get();
    /* Once: the module may be imported again, and a fork must not lock twice. */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
    if (watch_code != 0) {
        (void)PyErr_NoMemory();
        return -1;
    }
    PyObject *function = PyCFunction_New(&end_method, NULL);
    PyObject *atexit = function == NULL ? NULL : PyImport_ImportModule("atexit");
    PyObject *done = NULL;
    if (atexit != NULL) done = PyObject_CallMethod(atexit, "register", "O", function);
    Py_XDECREF(done);
    Py_XDECREF(atexit);
    Py_XDECREF(function);
    return done == NULL ? -1 : 0;
}
