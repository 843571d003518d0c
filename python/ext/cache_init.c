#include "cache_init.h"

#include "batch_objects.h"
#include "capsule.h"
#include "critical_section.h"
#include "errors.h"
#include "gil.h"

static int initialised_before(void) {
    PyErr_SetString(PyExc_ValueError, "StreamCache.__init__() was called before");
    return -1;
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

/* Initialises the object last and at once: until then other threads, and the source, see
 * an object that is not initialised. */
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

static const char *bytes_or_null(PyObject *object) {
    return object == Py_None ? NULL : PyBytes_AsString(object);
}

/* Fills the options from the tuple that `batchcorder._arguments` makes, with all values
 * checked: 0, or -1 and an exception. */
static int read_options(PyObject *args, PyObject **out_method,
                        struct bc_cache_options *out) {
    PyObject *disk_path;
    PyObject *record_path;
    unsigned long long memory;
    unsigned long long disk;
    unsigned long long readers;
    unsigned long long prefetch;
    int on_eviction;
    const char *compression;
    PyObject *key = Py_None;
    if (!PyArg_ParseTuple(args, "OKOKpKpzKOppi|O:StreamCache", out_method, &memory,
                          &disk_path, &disk, &on_eviction, &readers, &out->checksum,
                          &compression, &prefetch, &record_path, &out->durable,
                          &out->resume, &out->statistics, &key)) {
        return -1;
    }
    out->memory_capacity = memory;
    out->disk_path = bytes_or_null(disk_path);
    out->disk_capacity = disk;
    out->write_policy = on_eviction ? BC_WRITE_ON_EVICTION : BC_WRITE_ON_INSERTION;
    out->max_readers = readers;
    out->prefetch = prefetch;
    out->record_path = bytes_or_null(record_path);
    out->key = bytes_or_null(key);
    if (compression != NULL) {
        out->compression =
            compression[0] == 'l' ? BC_COMPRESSION_LZ4 : BC_COMPRESSION_ZSTD;
    }
    return PyErr_Occurred() ? -1 : 0;
}

int cache_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache != NULL) return initialised_before();
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.hooks = &gil_hooks;
    PyObject *method;
    if (read_options(args, &method, &options) != 0) return -1;
    return open_cache(self, method, &options);
}
