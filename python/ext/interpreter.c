#define _POSIX_C_SOURCE 200809L
#include "interpreter.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "gil.h"

static atomic_bool ending;
static atomic_int inside;
/* How many of these entries are this thread's. */
static _Thread_local int inside_here;

bool interpreter_is_ending(void) { return atomic_load(&ending); }

bool interpreter_enter(void) {
    /* In this order: the exit handler waits for a thread that has not seen `ending`. */
    (void)atomic_fetch_add(&inside, 1);
    if (atomic_load(&ending)) {
        (void)atomic_fetch_sub(&inside, 1);
        return false;
    }
    inside_here++;
    return true;
}

void interpreter_leave(void) {
    inside_here--;
    (void)atomic_fetch_sub(&inside, 1);
}

/* Waits at most about 2 s, because a source may not return. */
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
    gil_before_fork();
}

static void in_parent(void *unused) {
    (void)unused;
    gil_after_fork();
}

/* The child has only the forking thread. This thread may be inside a source. */
static void in_child(void *unused) {
    (void)unused;
    atomic_store(&inside, inside_here);
    gil_after_fork();
}

static int watch_code;

static void watch_forks(void) {
    static const struct bc_fork_calls calls = {before_fork, in_parent, in_child, NULL};
    watch_code = bc_watch_forks(&calls);
}

int interpreter_add(void) {
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
