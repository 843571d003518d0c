/* The state of one object, changed by one thread at a time.
 *
 * With a GIL, this holds between two points where the thread may release the GIL. Without
 * one, a critical section does the same: it orders the threads that enter it for an
 * object, and is suspended while its thread waits. Code that needs a value after the
 * section therefore takes a reference inside it. */
#ifndef BC_EXT_CRITICAL_SECTION_H
#define BC_EXT_CRITICAL_SECTION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef Py_GIL_DISABLED
#define CRITICAL_SECTION_BEGIN(object) Py_BEGIN_CRITICAL_SECTION(object)
#define CRITICAL_SECTION_END() Py_END_CRITICAL_SECTION()
#else
#define CRITICAL_SECTION_BEGIN(object) {
#define CRITICAL_SECTION_END() }
#endif

#endif
