#include "arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse_type(PyObject *value, const char *name, const char *wanted) {
    PyObject *type = PyType_GetName(Py_TYPE(value));
    if (type == NULL) return -1;
    if (value == Py_None) {
        PyErr_Format(PyExc_TypeError, "argument '%s': 'None' is not an instance of '%s'",
                     name, wanted);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "argument '%s': '%S' object is not an instance of '%s'", name, type,
                     wanted);
    }
    Py_DECREF(type);
    return -1;
}

/* Puts the argument's name before the words of the exception, if that is a TypeError. */
static void name_argument(const char *name) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) return;
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_Format(PyExc_TypeError, "argument '%s': %S", name, value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

int argument_count(PyObject *value, const char *name, uint64_t *out_count) {
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        name_argument(name);
        return -1;
    }
    unsigned long long count = PyLong_AsUnsignedLongLong(number);
    int failed = count == (unsigned long long)-1 && PyErr_Occurred() != NULL;
    if (failed && PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyObject *zero = PyLong_FromLong(0);
        int negative = zero == NULL ? -1 : PyObject_RichCompareBool(number, zero, Py_LT);
        Py_XDECREF(zero);
        PyErr_SetString(PyExc_OverflowError,
                        negative == 1 ? "can't convert negative int to unsigned"
                                      : "int too big to convert");
    }
    Py_DECREF(number);
    if (failed) return -1;
    *out_count = count;
    return 0;
}

/* "512MB", "2 GiB", "1.5k": decimal units without an i, binary ones with it. */
static int parse_bytes(const char *text, double *out_bytes) {
    static const char prefixes[] = "kmgtp";
    char *at;
    if (strchr("0123456789.", text[0]) == NULL || text[0] == '\0') return -1;
    if (strspn(text, "0123456789.") == 0) return -1;
    double bytes = PyOS_string_to_double(text, &at, NULL);
    if (bytes == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    while (*at == ' ') at++;
    const char *prefix = *at == '\0' ? NULL : strchr(prefixes, *at | 0x20);
    if (prefix != NULL) {
        at++;
        double unit = *at == 'i' ? 1024.0 : 1000.0;
        if (*at == 'i') at++;
        for (const char *p = prefixes; p <= prefix; p++) bytes *= unit;
    }
    if (*at == 'B' || *at == 'b') at++;
    if (*at != '\0') return -1;
    *out_bytes = bytes;
    return 0;
}

int argument_bytes(PyObject *value, const char *name, uint64_t *out_bytes) {
    if (!PyUnicode_Check(value)) return argument_count(value, name, out_bytes);
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text == NULL) return -1;
    double bytes = 0;
    if ((size_t)size != strlen(text) || parse_bytes(text, &bytes) != 0) {
        PyErr_Format(
            PyExc_ValueError,
            "argument '%s': expected a number of bytes such as 1000000, '512MB' or "
            "'2GiB', got %R",
            name, value);
        return -1;
    }
    if (bytes >= 18446744073709551615.0) {
        PyErr_SetString(PyExc_OverflowError, "int too big to convert");
        return -1;
    }
    *out_bytes = (uint64_t)bytes;
    return 0;
}

/* No system call is asked, but what is said is what it would say. */
static void refuse_nul(void) {
    PyObject *arguments = Py_BuildValue(
        "(is)", EINVAL, "Failed to create cache directory: embedded null byte");
    if (arguments != NULL) PyErr_SetObject(PyExc_OSError, arguments);
    Py_XDECREF(arguments);
}

int argument_path(PyObject *value, const char *name, PyObject **out_bytes) {
    PyObject *path = PyOS_FSPath(value);
    if (path == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            return refuse_type(value, name, "str");
        }
        return -1;
    }
    PyObject *bytes = NULL;
    int converted = PyUnicode_FSConverter(path, &bytes);
    Py_DECREF(path);
    if (!converted) {
        if (PyErr_ExceptionMatches(PyExc_ValueError) &&
            !PyErr_ExceptionMatches(PyExc_UnicodeError)) {
            refuse_nul();
        }
        return -1;
    }
    if (PyBytes_Size(bytes) == 0) {
        /* As os functions of the working directory. */
        Py_DECREF(bytes);
        bytes = PyBytes_FromString(".");
        if (bytes == NULL) return -1;
    }
    *out_bytes = bytes;
    return 0;
}

/* Quoted as JSON quotes it: "a\"b". */
static int refuse_policy(PyObject *value) {
    PyObject *json = PyImport_ImportModule("json");
    PyObject *dumps = json == NULL ? NULL : PyObject_GetAttrString(json, "dumps");
    PyObject *args = dumps == NULL ? NULL : PyTuple_Pack(1, value);
    PyObject *options =
        args == NULL ? NULL : Py_BuildValue("{sO}", "ensure_ascii", Py_False);
    PyObject *quoted = options == NULL ? NULL : PyObject_Call(dumps, args, options);
    if (quoted != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "write_policy must be 'on_insertion' or 'on_eviction', got %U",
                     quoted);
    }
    Py_XDECREF(quoted);
    Py_XDECREF(options);
    Py_XDECREF(args);
    Py_XDECREF(dumps);
    Py_XDECREF(json);
    return -1;
}

int argument_text(PyObject *value, const char *name) {
    return PyUnicode_Check(value) ? 0 : refuse_type(value, name, "str");
}

int argument_policy(PyObject *value, enum bc_write_policy *out_policy) {
    if (PyUnicode_CompareWithASCIIString(value, "on_insertion") == 0) {
        *out_policy = BC_WRITE_ON_INSERTION;
    } else if (PyUnicode_CompareWithASCIIString(value, "on_eviction") == 0) {
        *out_policy = BC_WRITE_ON_EVICTION;
    } else {
        return refuse_policy(value);
    }
    return 0;
}

int argument_compression(PyObject *value, enum bc_compression *out_compression) {
    if (value == Py_None) {
        *out_compression = BC_COMPRESSION_NONE;
        return 0;
    }
    if (!PyUnicode_Check(value)) return refuse_type(value, "compression", "str or None");
    if (PyUnicode_CompareWithASCIIString(value, "lz4") == 0) {
        *out_compression = BC_COMPRESSION_LZ4;
    } else if (PyUnicode_CompareWithASCIIString(value, "zstd") == 0) {
        *out_compression = BC_COMPRESSION_ZSTD;
    } else {
        PyErr_Format(PyExc_ValueError,
                     "Unknown compression %R: expected None, 'lz4' or 'zstd'", value);
        return -1;
    }
    return 0;
}

int argument_flag(PyObject *value, const char *name, int *out_flag) {
    if (!PyBool_Check(value)) {
        /* numpy.bool_ is no int, but says what it is by its type's name. */
        PyObject *type = PyType_GetName(Py_TYPE(value));
        if (type == NULL) return -1;
        int is_numpy = PyUnicode_CompareWithASCIIString(type, "bool_") == 0 ||
                       PyUnicode_CompareWithASCIIString(type, "bool") == 0;
        Py_DECREF(type);
        if (!is_numpy) return refuse_type(value, name, "bool");
    }
    *out_flag = PyObject_IsTrue(value);
    return *out_flag < 0 ? -1 : 0;
}
