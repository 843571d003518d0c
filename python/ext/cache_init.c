#include "cache_init.h"

#include "arguments.h"
#include "batch_objects.h"
#include "capsule.h"
#include "critical_section.h"
#include "errors.h"
#include "gil.h"

static int initialised_before(void) {
    PyErr_SetString(PyExc_ValueError, "StreamCache.__init__() was called before");
    return -1;
}

struct arguments {
    struct bc_cache_options options;
    PyObject *method; /* __arrow_c_stream__ of the source, or NULL */
    PyObject *path;   /* bytes, or NULL */
    PyObject *record; /* bytes, or NULL */
};

/* Types first, in the order of the arguments, then values: as 0.1.3 does it. */
static int parse_arguments(PyObject *args, PyObject *kwargs, struct arguments *out) {
    static char *names[] = {
        "reader",      "memory_capacity", "disk_path",   "disk_capacity", "write_policy",
        "max_readers", "checksum",        "compression", "prefetch",      "record_path",
        "durable",     "resume",          NULL};
    PyObject *source;
    PyObject *memory = Py_None;
    PyObject *path = Py_None;
    PyObject *disk = Py_None;
    PyObject *policy = NULL;
    PyObject *readers = Py_None;
    PyObject *checksum = NULL;
    PyObject *compression = Py_None;
    PyObject *prefetch = Py_None;
    PyObject *record = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OOOOO$OOOOpp:StreamCache", names,
                                     &source, &memory, &path, &disk, &policy, &readers,
                                     &checksum, &compression, &prefetch, &record,
                                     &out->options.durable, &out->options.resume)) {
        return -1;
    }
    out->method = stream_method(source);
    if (out->method == NULL) return -1;
    struct bc_cache_options *options = &out->options;
    if (memory != Py_None &&
        argument_bytes(memory, names[1], &options->memory_capacity) != 0) {
        return -1;
    }
    if (path != Py_None) {
        if (argument_path(path, names[2], &out->path) != 0) return -1;
        options->disk_path = PyBytes_AsString(out->path);
    }
    if (record != Py_None) {
        if (argument_path(record, names[9], &out->record) != 0) return -1;
        options->record_path = PyBytes_AsString(out->record);
    }
    if (disk != Py_None && argument_bytes(disk, names[3], &options->disk_capacity) != 0) {
        return -1;
    }
    if (policy != NULL && argument_text(policy, names[4]) != 0) return -1;
    if (readers != Py_None) {
        if (argument_count(readers, names[5], &options->max_readers) != 0) return -1;
        if (options->max_readers == 0) {
            PyErr_SetString(PyExc_ValueError, "max_readers must be at least 1");
            return -1;
        }
    }
    if (policy != NULL && argument_policy(policy, &options->write_policy) != 0) return -1;
    if (checksum != NULL && argument_flag(checksum, names[6], &options->checksum) != 0) {
        return -1;
    }
    if (argument_compression(compression, &options->compression) != 0) return -1;
    if (prefetch != Py_None &&
        argument_count(prefetch, names[8], &options->prefetch) != 0) {
        return -1;
    }
    if ((path == Py_None) != (disk == Py_None)) {
        PyErr_SetString(
            PyExc_ValueError,
            "disk_path and disk_capacity must both be provided, or both omitted");
        return -1;
    }
    return 0;
}

Py_ssize_t count_columns(struct bc_cache *cache) {
    struct ArrowSchema schema = {0};
    struct bc_error error = {0};
    int code = bc_cache_schema(cache, &schema, &error);
    if (code != 0) {
        (void)raise_error(code, &error);
        return -1;
    }
    Py_ssize_t n = (Py_ssize_t)schema.n_children;
    schema.release(&schema);
    return n;
}

void cache_unref_without_gil(struct bc_cache *cache) {
    Py_BEGIN_ALLOW_THREADS;
    bc_cache_unref(cache);
    Py_END_ALLOW_THREADS;
}

static int init_from(struct cache_object *self, struct bc_cache *cache,
                     uint64_t max_readers) {
    Py_ssize_t columns = count_columns(cache);
    if (columns < 0) return -1;
    int failed;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    failed = self->cache != NULL;
    if (!failed) {
        self->cache = cache;
        self->n_columns = columns;
        self->max_readers = max_readers;
        self->batch_object_bytes = batch_object_size(columns);
    }
    CRITICAL_SECTION_END();
    return failed ? initialised_before() : 0;
}

/* Fills the object in at the end and at once: until then other threads, and the source,
 * see one that is not initialised. */
int cache_init_from(struct cache_object *self, struct bc_cache *cache,
                    uint64_t max_readers) {
    if (init_from(self, cache, max_readers) == 0) return 0;
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    cache_unref_without_gil(cache);
    PyErr_Restore(type, value, traceback);
    return -1;
}

static int open_cache(struct cache_object *self, PyObject *method,
                      const struct bc_cache_options *options) {
    struct ArrowArrayStream *stream;
    PyObject *capsule = capsule_from_method(method, &stream);
    if (capsule == NULL) return -1;
    struct bc_error error = {0};
    struct bc_cache *cache = NULL;
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = bc_cache_new(stream, options, &cache, &error);
    Py_END_ALLOW_THREADS;
    Py_DECREF(capsule);
    if (code != 0) {
        (void)raise_error(code, &error);
        return -1;
    }
    return cache_init_from(self, cache, options->max_readers);
}

int cache_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache != NULL) return initialised_before();
    struct arguments arguments = {BC_CACHE_OPTIONS_INIT, NULL, NULL, NULL};
    arguments.options.hooks = &gil_hooks;
    int failed = parse_arguments(args, kwargs, &arguments);
    if (!failed) failed = open_cache(self, arguments.method, &arguments.options);
    Py_XDECREF(arguments.method);
    Py_XDECREF(arguments.path);
    Py_XDECREF(arguments.record);
    return failed;
}
