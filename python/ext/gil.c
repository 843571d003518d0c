#include "gil.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "interpreter.h"
#include "signals.h"

/* Debug builds assert that no thread waits, or has waited, with the GIL. The function is
 * no part of the limited API, and of no use once a subinterpreter was made. */
#ifdef NDEBUG
#define assert_no_gil() ((void)0)
#else
int PyGILState_Check(void);
#define assert_no_gil() assert(interpreter_is_ending() || PyGILState_Check() == 0)
#endif

enum { GIL_BITS = 8 };

static PyInterpreterState *interpreter;
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static bool forks_wait(void) { return Py_Version < 0x030C0000; }

void gil_add(void) { interpreter = PyInterpreterState_Get(); }

void gil_before_fork(void) {
    if (forks_wait()) (void)pthread_mutex_lock(&making);
}

void gil_after_fork(void) {
    if (forks_wait()) (void)pthread_mutex_unlock(&making);
}

/* PyGILState_Ensure for a thread without a state, but without the GIL. The matching
 * PyGILState_Release deletes the state. */
static PyThreadState *make_state(void) {
    (void)pthread_mutex_lock(&making);
    PyThreadState *state = PyThreadState_New(interpreter);
    (void)pthread_mutex_unlock(&making);
    return state;
}

int gil_take(struct gil_taken *out_taken) {
    if (!interpreter_enter()) return ECANCELED;
    if (forks_wait() && PyGILState_GetThisThreadState() == NULL) {
        PyThreadState *state = make_state();
        if (state == NULL) {
            interpreter_leave();
            return ENOMEM;
        }
        PyEval_RestoreThread(state);
        out_taken->state = PyGILState_UNLOCKED;
    } else {
        out_taken->state = (int)PyGILState_Ensure();
    }
    return 0;
}

void gil_give(struct gil_taken *taken) {
    PyGILState_Release((PyGILState_STATE)taken->state);
    interpreter_leave();
}

static int enter(void *context, struct bc_hook_state *state) {
    (void)context;
    if (!interpreter_enter()) return ECANCELED;
    intptr_t gil = (intptr_t)PyGILState_UNLOCKED;
    state->data[1] = NULL;
    if (PyGILState_GetThisThreadState() != NULL) {
        gil = (intptr_t)PyGILState_Ensure();
        state->data[1] = PyEval_SaveThread();
    } else if (forks_wait()) {
        state->data[1] = make_state();
        if (state->data[1] == NULL) {
            interpreter_leave();
            return ENOMEM;
        }
    }
    intptr_t outer_is_method = signals_begin_wait();
    state->data[0] = (void *)(gil | outer_is_method << GIL_BITS);
    return 0;
}

static void leave(void *context, struct bc_hook_state *state) {
    (void)context;
    assert_no_gil();
    intptr_t entered = (intptr_t)state->data[0];
    signals_end_wait(entered >> GIL_BITS != 0);
    if (state->data[1] != NULL) {
        PyEval_RestoreThread(state->data[1]);
        PyGILState_Release((PyGILState_STATE)(entered & ((1 << GIL_BITS) - 1)));
    }
    interpreter_leave();
}

static int poll(void *context) {
    (void)context;
    if (interpreter_is_ending()) return ECANCELED;
    assert_no_gil();
    /* Handlers run in the main thread, which has a state. */
    if (PyGILState_GetThisThreadState() == NULL) return 0;
    PyGILState_STATE gil = PyGILState_Ensure();
    int code = signals_run();
    PyGILState_Release(gil);
    return code;
}

const struct bc_hooks gil_hooks = {enter, leave, poll, NULL};
