#include "signals.h"

#include <errno.h>

/* A method is about to call the core, and does not wait yet. */
static _Thread_local bool method_calls;
/* The innermost wait of this thread is a method's. */
static _Thread_local bool method_waits;

/* The deferred exception, and the thread that raises it: the main thread, because
 * handlers run there. Under the GIL. */
static PyObject *deferred;
static unsigned long deferred_thread;
/* This thread has put one off since it began to wait. */
static _Thread_local bool has_deferred;

void signals_begin_method(void) { method_calls = true; }
void signals_end_method(void) { method_calls = false; }

bool signals_begin_wait(void) {
    bool outer = method_waits;
    method_waits = method_calls;
    /* Calls that the source makes are not this method's. */
    method_calls = false;
    has_deferred = false;
    return outer;
}

void signals_end_wait(bool outer_is_method) {
    /* The same call of the core may wait again. */
    method_calls = method_waits;
    method_waits = outer_is_method;
}

static PyObject *take_deferred(void) {
    PyObject *taken = deferred;
    deferred = NULL;
    return taken;
}

static int raise_as_pending(void *unused) {
    (void)unused;
    return signals_raise_deferred() ? -1 : 0;
}

bool signals_raise_deferred(void) {
    if (deferred == NULL || deferred_thread != PyThread_get_thread_ident()) return false;
    PyObject *value = take_deferred();
    PyErr_Clear();
    PyObject *traceback = PyException_GetTraceback(value);
    PyObject *type = (PyObject *)Py_TYPE(value);
    Py_INCREF(type);
    PyErr_Restore(type, value, traceback);
    return true;
}

/* Puts off the exception that is set. An exception that was put off before becomes its
 * context. */
static void defer_exception(void) {
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) (void)PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    PyObject *before = take_deferred();
    if (before != NULL && before != value) {
        PyException_SetContext(value, before);
    } else {
        Py_XDECREF(before);
    }
    deferred = value;
    deferred_thread = PyThread_get_thread_ident();
    has_deferred = true;
    (void)Py_AddPendingCall(raise_as_pending, NULL);
}

/* A handler has raised while a consumer's stream waits. */
static int put_off(void) {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt();
        return EINTR;
    }
    defer_exception();
    return 0;
}

int signals_interrupt_wait(void) {
    /* A method raises the exception itself. */
    return method_waits ? EINTR : put_off();
}

int signals_run(void) {
    /* The thread waits on after an exception was put off: the exception comes first. */
    int code = has_deferred ? EINTR : 0;
    if (PyErr_CheckSignals() != 0) code = method_waits ? EINTR : put_off();
    return code;
}
