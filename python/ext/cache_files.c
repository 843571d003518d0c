#include "cache_files.h"

#include "arguments.h"
#include "cache_init.h"
#include "cache_reading.h"
#include "critical_section.h"
#include "errors.h"
#include "gil.h"
#include "signals.h"

/* Makes the object, which is fresh, a cache over a file. */
PyObject *cache_open_file(PyObject *object, PyObject *args) {
    struct cache_object *self = (struct cache_object *)object;
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    PyObject *path;
    unsigned long long max_batches;
    if (!PyArg_ParseTuple(args, "SippppK:_open_file", &path, &options.file,
                          &options.verify, &options.partial, &options.read_into_memory,
                          &options.follow, &max_batches)) {
        return NULL;
    }
    options.max_batches = max_batches;
    options.hooks = &gil_hooks;
    struct bc_cache *cache = NULL;
    struct bc_error error = {0};
    const char *name = PyBytes_AsString(path);
    int code;
    signals_begin_method();
    Py_BEGIN_ALLOW_THREADS;
    code = bc_file_open(name, &options, &cache, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    if (code != 0) return raise_error(code, &error);
    if (cache_init_from(self, cache, 0) != 0) return NULL;
    Py_RETURN_NONE;
}

PyObject *cache_select(PyObject *object, PyObject *columns) {
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    Py_ssize_t n = PyTuple_Size(columns);
    int32_t *numbers = n < 0 ? NULL : column_numbers(columns, n);
    if (numbers == NULL) return NULL;
    struct bc_error error = {0};
    int code = bc_cache_select(self->cache, numbers, n, &error);
    PyMem_Free(numbers);
    if (code != 0) return raise_error(code, &error);
    PyObject *old;
    CRITICAL_SECTION_BEGIN(object);
    old = self->schema;
    self->schema = NULL;
    self->n_columns = n;
    CRITICAL_SECTION_END();
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

PyObject *cache_save(PyObject *object, PyObject *args) {
    struct cache_object *self = (struct cache_object *)object;
    PyObject *path;
    int replaces;
    int durable;
    if (!PyArg_ParseTuple(args, "Spp:_save", &path, &replaces, &durable)) return NULL;
    if (self->cache == NULL) return cache_not_initialised();
    const char *name = PyBytes_AsString(path);
    struct bc_error error = {0};
    int code;
    signals_begin_method();
    Py_BEGIN_ALLOW_THREADS;
    struct bc_save_options options = BC_SAVE_OPTIONS_INIT;
    options.overwrite = replaces;
    options.durable = durable;
    code = bc_cache_save(self->cache, name, &options, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    if (code != 0) return raise_failure(self, code, &error);
    Py_RETURN_NONE;
}

PyObject *cache_share(PyObject *object, PyObject *unused) {
    (void)unused;
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    uint64_t batches = 0;
    struct bc_error error = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_publish(self->cache, &batches, &error);
    Py_END_ALLOW_THREADS;
    if (code != 0) return raise_error(code, &error);
    return PyLong_FromUnsignedLongLong(batches);
}

PyObject *cache_has_writer(PyObject *object, PyObject *unused) {
    (void)unused;
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    int has = bc_cache_is_being_written(self->cache);
    if (has < 0) Py_RETURN_NONE;
    return PyBool_FromLong(has);
}

PyObject *cache_is_unlocked(PyObject *object, PyObject *unused) {
    (void)unused;
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    return PyBool_FromLong(bc_cache_is_unlocked(self->cache));
}

PyObject *file_discard(PyObject *module, PyObject *path) {
    (void)module;
    const char *name = PyBytes_AsString(path);
    if (name == NULL) return NULL;
    struct bc_error error = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_file_discard(name, &error);
    Py_END_ALLOW_THREADS;
    if (code != 0) return raise_error(code, &error);
    Py_RETURN_NONE;
}

/* The numbers as a list. */
static PyObject *list_of(const uint64_t *numbers, Py_ssize_t n) {
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; i < n && list != NULL; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(numbers[i]);
        if (number == NULL || PyList_SetItem(list, i, number) != 0) Py_CLEAR(list);
    }
    return list;
}

PyObject *cache_describe(PyObject *object, PyObject *unused) {
    (void)unused;
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    static const char *const kinds[] = {"memory", "cache", "recording", "stream", "file"};
    static const char *const codecs[] = {NULL, "lz4", "zstd"};
    Py_ssize_t n = self->n_columns;
    uint64_t *columns = PyMem_Malloc(((size_t)n + 1) * sizeof(*columns));
    if (columns == NULL) return PyErr_NoMemory();
    struct bc_file_info info = {.struct_size = sizeof(info)};
    struct bc_error error = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_file_info(self->cache, &info, columns, &error);
    Py_END_ALLOW_THREADS;
    PyObject *list = code != 0 ? raise_error(code, &error) : list_of(columns, n);
    PyMem_Free(columns);
    if (list == NULL) return NULL;
    return Py_BuildValue("{sssOsOszsKsKsKsN}", "kind", kinds[info.kind], "complete",
                         info.complete ? Py_True : Py_False, "checksums",
                         info.checksum ? Py_True : Py_False, "compression",
                         codecs[info.compression], "bytes", info.bytes,
                         "dictionary_batches", info.dictionary_batches,
                         "dictionary_bytes", info.dictionary_bytes, "column_bytes", list);
}

/* Bytes of `n` 64-bit numbers, to be filled in; NULL and an exception. */
static uint64_t *numbers_new(uint64_t n, PyObject **out_bytes) {
    *out_bytes =
        n > PY_SSIZE_T_MAX / sizeof(uint64_t)
            ? PyErr_NoMemory()
            : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(n * sizeof(uint64_t)));
    return *out_bytes == NULL ? NULL : (uint64_t *)(void *)PyBytes_AsString(*out_bytes);
}

/* First rows of the batches recorded, from number `start` on, and the rows in all. */
PyObject *cache_row_starts(PyObject *object, PyObject *start) {
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    uint64_t first;
    if (argument_count(start, "start", &first) != 0) return NULL;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(self->cache, &stats);
    uint64_t n = first <= stats.batches ? stats.batches - first : 0;
    PyObject *bytes;
    uint64_t *rows = numbers_new(n + 1, &bytes);
    if (rows == NULL) return NULL;
    struct bc_error error = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_row_starts(self->cache, first, n, rows, &error);
    Py_END_ALLOW_THREADS;
    if (code == 0) return bytes;
    Py_DECREF(bytes);
    return raise_error(code, &error);
}

PyObject *permutation(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *values[3];
    static const char *const names[] = {"seed", "epoch", "n"};
    uint64_t numbers[3];
    if (!PyArg_ParseTuple(args, "OOO:permutation", &values[0], &values[1], &values[2])) {
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        if (argument_count(values[i], names[i], &numbers[i]) != 0) return NULL;
    }
    PyObject *bytes;
    uint64_t *out = numbers_new(numbers[2], &bytes);
    if (out == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    bc_permutation(numbers[0], numbers[1], numbers[2], out);
    Py_END_ALLOW_THREADS;
    return bytes;
}
