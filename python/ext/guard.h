/* The state of one object of ours, changed by one thread at a time.
 *
 * With a GIL, that is so anyway between two points where it may be given up. Without one,
 * a critical section does the same: it orders the threads that enter one for the object,
 * and is left for as long as its thread waits. So what is read inside is held (a
 * reference taken) before the section ends. */
#ifndef BC_EXT_GUARD_H
#define BC_EXT_GUARD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef Py_GIL_DISABLED
#define GUARD_BEGIN(object) Py_BEGIN_CRITICAL_SECTION(object)
#define GUARD_END() Py_END_CRITICAL_SECTION()
#else
#define GUARD_BEGIN(object) {
#define GUARD_END() }
#endif

#endif
