#include "cache_files.h"

#include "cache_init.h"
#include "convert.h"
#include "critical_section.h"
#include "errors.h"
#include "gil.h"
#include "signals.h"
#include "storage.h"

PyObject *open_file(PyObject *module, PyObject *args) {
    PyObject *object;
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    PyObject *path;
    unsigned long long max_batches;
    PyObject *storage_object;
    if (!PyArg_ParseTuple(args, "OSipppppKO:open_file", &object, &path, &options.file,
                          &options.verify, &options.partial, &options.read_into_memory,
                          &options.writable, &options.follow, &max_batches,
                          &storage_object)) {
        return NULL;
    }
    struct cache_object *self = fresh_cache_of(module, object);
    if (self == NULL) return NULL;
    options.max_batches = max_batches;
    options.hooks = &gil_hooks;
    struct bc_storage storage = {0};
    if (storage_object != Py_None) {
        if (storage_init(&storage, storage_object) != 0) return NULL;
        options.storage = &storage;
    }
    struct bc_cache *cache = NULL;
    struct bc_error error = {0};
    const char *name = PyBytes_AsString(path);
    int code;
    signals_begin_method();
    Py_BEGIN_ALLOW_THREADS;
    code = bc_file_open(name, &options, &cache, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    if (code != 0) {
        if (storage.release != NULL) storage.release(storage.context);
        return raise_error(code, &error);
    }
    if (cache_init_from(self, cache, 0) != 0) return NULL;
    Py_RETURN_NONE;
}

PyObject *select_columns(PyObject *module, PyObject *args) {
    PyObject *object;
    PyObject *columns;
    if (!PyArg_ParseTuple(args, "OO:select_columns", &object, &columns)) return NULL;
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
    Py_ssize_t n = PyTuple_Size(columns);
    int32_t *numbers = n < 0 ? NULL : column_indices(columns, n);
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

PyObject *save(PyObject *module, PyObject *args) {
    PyObject *object;
    PyObject *path;
    int overwrite;
    int durable;
    if (!PyArg_ParseTuple(args, "OSpp:save", &object, &path, &overwrite, &durable)) {
        return NULL;
    }
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
    const char *name = PyBytes_AsString(path);
    struct bc_error error = {0};
    int code;
    signals_begin_method();
    Py_BEGIN_ALLOW_THREADS;
    struct bc_save_options options = BC_SAVE_OPTIONS_INIT;
    options.overwrite = overwrite;
    options.durable = durable;
    code = bc_cache_save(self->cache, name, &options, &error);
    Py_END_ALLOW_THREADS;
    signals_end_method();
    if (code != 0) return raise_failure(self, code, &error);
    Py_RETURN_NONE;
}

PyObject *publish(PyObject *module, PyObject *cache) {
    struct cache_object *self = cache_of(module, cache);
    if (self == NULL) return NULL;
    uint64_t batches = 0;
    struct bc_error error = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_publish(self->cache, &batches, &error);
    Py_END_ALLOW_THREADS;
    if (code != 0) return raise_error(code, &error);
    return PyLong_FromUnsignedLongLong(batches);
}

PyObject *is_being_written(PyObject *module, PyObject *cache) {
    struct cache_object *self = cache_of(module, cache);
    if (self == NULL) return NULL;
    int has = bc_cache_is_being_written(self->cache);
    if (has < 0) Py_RETURN_NONE;
    return PyBool_FromLong(has);
}

PyObject *is_unlocked(PyObject *module, PyObject *cache) {
    struct cache_object *self = cache_of(module, cache);
    if (self == NULL) return NULL;
    return PyBool_FromLong(bc_cache_is_unlocked(self->cache));
}

PyObject *recording_key(PyObject *module, PyObject *cache) {
    struct cache_object *self = cache_of(module, cache);
    if (self == NULL) return NULL;
    const char *key = bc_cache_key(self->cache);
    if (key == NULL) Py_RETURN_NONE;
    return PyBytes_FromString(key);
}

PyObject *discard(PyObject *module, PyObject *path) {
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

PyObject *file_info(PyObject *module, PyObject *args) {
    PyObject *object;
    int measures;
    if (!PyArg_ParseTuple(args, "Op:file_info", &object, &measures)) return NULL;
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
    static const char *const kinds[] = {"memory", "cache", "recording", "stream", "file"};
    static const char *const codecs[] = {NULL, "lz4", "zstd"};
    Py_ssize_t n = measures ? self->n_columns : 0;
    uint64_t *columns = PyMem_Malloc(((size_t)n + 1) * sizeof(*columns));
    if (columns == NULL) return PyErr_NoMemory();
    struct bc_file_info info = {.struct_size = sizeof(info)};
    struct bc_error error = {0};
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_file_info(self->cache, &info, measures ? columns : NULL, &error);
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

/* A bytes object for `n` 64-bit numbers, and its memory; NULL and an exception. */
static uint64_t *numbers_new(uint64_t n, PyObject **out_bytes) {
    *out_bytes =
        n > PY_SSIZE_T_MAX / sizeof(uint64_t)
            ? PyErr_NoMemory()
            : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(n * sizeof(uint64_t)));
    return *out_bytes == NULL ? NULL : (uint64_t *)(void *)PyBytes_AsString(*out_bytes);
}

PyObject *row_starts(PyObject *module, PyObject *args) {
    PyObject *object;
    unsigned long long first;
    if (!PyArg_ParseTuple(args, "OK:row_starts", &object, &first)) return NULL;
    struct cache_object *self = cache_of(module, object);
    if (self == NULL) return NULL;
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
    unsigned long long seed;
    unsigned long long epoch;
    unsigned long long n;
    if (!PyArg_ParseTuple(args, "KKK:permutation", &seed, &epoch, &n)) return NULL;
    PyObject *bytes;
    uint64_t *out = numbers_new(n, &bytes);
    if (out == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    bc_permutation(seed, epoch, n, out);
    Py_END_ALLOW_THREADS;
    return bytes;
}
