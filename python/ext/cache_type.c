#include <string.h>

#include "arguments.h"
#include "batch_objects.h"
#include "cache_files.h"
#include "cache_init.h"
#include "cache_reading.h"
#include "capsule.h"
#include "casting.h"
#include "critical_section.h"
#include "errors.h"
#include "module.h"
#include "signals.h"

/* Wants Python.h first. */
#include <structmember.h>

PyObject *cache_not_initialised(void) {
    PyErr_SetString(PyExc_ValueError, "StreamCache.__init__() was not called");
    return NULL;
}

static void get_stats(const struct cache_object *self, struct bc_stats *stats) {
    memset(stats, 0, sizeof(*stats));
    stats->struct_size = sizeof(*stats);
    bc_cache_stats(self->cache, stats);
}

/* The state travels in the type: its module is found from our own type, not a subclass.
 */
static PyObject *cache_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args;
    (void)kwargs;
    PyTypeObject *ours = type;
    PyObject *module = NULL;
    while (ours != NULL && (module = PyType_GetModule(ours)) == NULL) {
        PyErr_Clear();
        ours = (PyTypeObject *)PyType_GetSlot(ours, Py_tp_base);
    }
    if (module == NULL) return cache_not_initialised();
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct cache_object *self = (struct cache_object *)allocate(type, 0);
    if (self == NULL) return NULL;
    Py_INCREF(module);
    self->module = module;
    self->state = PyModule_GetState(module);
    return (PyObject *)self;
}

static int cache_traverse(PyObject *object, visitproc visit, void *arg) {
    struct cache_object *self = (struct cache_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->dict);
    Py_VISIT(self->module);
    Py_VISIT(self->schema);
    for (size_t i = 0; i < self->n_batch_objects; i++) Py_VISIT(self->batch_objects[i]);
    return 0;
}

static int cache_clear(PyObject *object) {
    struct cache_object *self = (struct cache_object *)object;
    Py_CLEAR(self->dict);
    return 0;
}

static void cache_dealloc(PyObject *object) {
    struct cache_object *self = (struct cache_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs(object);
    /* What is released runs foreign code, which must not see our caller's exception. */
    PyObject *type_set;
    PyObject *value_set;
    PyObject *traceback_set;
    PyErr_Fetch(&type_set, &value_set, &traceback_set);
    batch_objects_clear(self);
    Py_CLEAR(self->dict);
    Py_CLEAR(self->schema);
    if (self->cache != NULL) cache_unref_without_gil(self->cache);
    PyErr_Restore(type_set, value_set, traceback_set);
    Py_CLEAR(self->module);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* ---- properties ---- */

static PyObject *known_schema(struct cache_object *self) {
    PyObject *schema;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    schema = self->schema;
    Py_XINCREF(schema);
    CRITICAL_SECTION_END();
    return schema;
}

PyObject *cache_schema_object(struct cache_object *self) {
    if (self->cache == NULL) return cache_not_initialised();
    PyObject *known = known_schema(self);
    if (known != NULL) return known;
    struct ArrowSchema schema = {0};
    struct bc_error error = {0};
    int code = bc_cache_schema(self->cache, &schema, &error);
    PyObject *made =
        code != 0 ? raise_error(code, &error) : schema_object(self->state, &schema);
    if (made == NULL) return NULL;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    if (self->schema == NULL) {
        Py_INCREF(made);
        self->schema = made;
    }
    known = self->schema;
    Py_INCREF(known);
    CRITICAL_SECTION_END();
    Py_DECREF(made);
    return known;
}

static PyObject *cache_schema(PyObject *object, void *unused) {
    (void)unused;
    return cache_schema_object((struct cache_object *)object);
}

static PyObject *cache_ingested_count(PyObject *object, void *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    struct bc_stats stats;
    get_stats(self, &stats);
    return PyLong_FromUnsignedLongLong(stats.batches);
}

static PyObject *cache_memory_capacity(PyObject *object, void *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    struct bc_stats stats;
    get_stats(self, &stats);
    return PyLong_FromUnsignedLongLong(stats.memory_capacity);
}

static PyObject *cache_disk_capacity(PyObject *object, void *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    struct bc_stats stats;
    get_stats(self, &stats);
    if (bc_cache_path(self->cache) == NULL || stats.disk_capacity == BC_BYTES_DEFAULT) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLongLong(stats.disk_capacity);
}

static PyObject *cache_path(PyObject *object, void *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    const char *path = bc_cache_path(self->cache);
    if (path == NULL) Py_RETURN_NONE;
    return PyUnicode_DecodeFSDefault(path);
}

static PyObject *cache_max_readers(PyObject *object, void *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    if (self->max_readers == 0) Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(self->max_readers);
}

/* `name` is the property's. */
static int set_capacity(struct cache_object *self, PyObject *value, const char *name,
                        int (*limit)(struct bc_cache *, uint64_t, struct bc_error *)) {
    if (self->cache == NULL) {
        (void)cache_not_initialised();
        return -1;
    }
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "%s cannot be deleted", name);
        return -1;
    }
    uint64_t bytes = BC_BYTES_DEFAULT;
    if (value != Py_None && argument_bytes(value, name, &bytes) != 0) return -1;
    struct bc_error error = {0};
    int code = limit(self->cache, bytes, &error);
    if (code == 0) {
        batch_objects_make_room(self);
        return 0;
    }
    (void)raise_error(code, &error);
    return -1;
}

static int cache_set_memory_capacity(PyObject *self, PyObject *value, void *unused) {
    (void)unused;
    return set_capacity((struct cache_object *)self, value, "memory_capacity",
                        bc_cache_set_memory_capacity);
}

static int cache_set_disk_capacity(PyObject *self, PyObject *value, void *unused) {
    (void)unused;
    return set_capacity((struct cache_object *)self, value, "disk_capacity",
                        bc_cache_set_disk_capacity);
}

static PyObject *cache_exhausted(PyObject *object, void *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    struct bc_stats stats;
    get_stats(self, &stats);
    return PyBool_FromLong(stats.exhausted);
}

static Py_ssize_t cache_length(PyObject *object) {
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) {
        (void)cache_not_initialised();
        return -1;
    }
    struct bc_stats stats;
    get_stats(self, &stats);
    if (stats.state == BC_STATE_FAILED) {
        PyErr_Format(PyExc_TypeError,
                     "the number of batches is not known, since the source failed after "
                     "%llu of them: ingest_all() raises its error",
                     (unsigned long long)stats.batches);
        return -1;
    }
    if (!stats.exhausted) {
        PyErr_SetString(
            PyExc_TypeError,
            "the number of batches is not known before the source is exhausted: "
            "call ingest_all() first");
        return -1;
    }
    return (Py_ssize_t)stats.batches;
}

static int cache_bool(PyObject *object) {
    (void)object;
    return 1;
}

/* ---- methods ---- */

static PyObject *cache_c_schema(PyObject *object, PyObject *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    struct ArrowSchema schema = {0};
    struct bc_error error = {0};
    int code = bc_cache_schema(self->cache, &schema, &error);
    return code != 0 ? raise_error(code, &error) : capsule_of_schema(&schema);
}

static PyObject *cache_cast(PyObject *object, PyObject *args, PyObject *kwargs) {
    const struct cache_object *self = (const struct cache_object *)object;
    static char *names[] = {"target_schema", NULL};
    PyObject *target;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:cast", names, &target)) return NULL;
    if (self->cache == NULL) return cache_not_initialised();
    return call_cast("CastingStreamCache", object, target);
}

static PyObject *ingest_to(struct cache_object *self, uint64_t wanted) {
    if (self->cache == NULL) return cache_not_initialised();
    uint64_t batches;
    struct bc_error error = {0};
    signals_begin_method();
    int code = bc_cache_ingest_to(self->cache, wanted, &batches, &error);
    signals_end_method();
    batch_objects_make_room(self);
    return code != 0 ? raise_failure(self, code, &error)
                     : PyLong_FromUnsignedLongLong(batches);
}

static PyObject *cache_ingest_all(PyObject *object, PyObject *unused) {
    (void)unused;
    return ingest_to((struct cache_object *)object, UINT64_MAX);
}

static PyObject *cache_ingest_to(PyObject *object, PyObject *value) {
    uint64_t wanted;
    if (argument_count(value, "batches", &wanted) != 0) return NULL;
    return ingest_to((struct cache_object *)object, wanted);
}

static PyObject *cache_close(PyObject *object, PyObject *unused) {
    (void)unused;
    struct cache_object *self = (struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    Py_BEGIN_ALLOW_THREADS;
    bc_cache_close(self->cache);
    Py_END_ALLOW_THREADS;
    batch_objects_clear(self);
    Py_RETURN_NONE;
}

static PyObject *cache_enter(PyObject *object, PyObject *unused) {
    (void)unused;
    Py_INCREF(object);
    return object;
}

static PyObject *cache_exit(PyObject *object, PyObject *args) {
    (void)args;
    return cache_close(object, NULL);
}

static PyObject *cache_stats(PyObject *object, PyObject *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    static const char *const states[] = {"open", "exhausted", "failed", "closed"};
    struct bc_stats stats;
    get_stats(self, &stats);
    return Py_BuildValue(
        "{sssKsKsKsKsKsKsKsKsKsdsKsKsK}", "state", states[stats.state], "batches",
        stats.batches, "rows", stats.rows, "bytes", stats.bytes, "evicted", stats.evicted,
        "memory_bytes", stats.memory_bytes, "disk_bytes", stats.disk_bytes, "memory_hits",
        stats.memory_hits, "disk_hits", stats.disk_hits, "source_calls",
        stats.source_calls, "source_seconds", (double)stats.source_ns * 1e-9, "readers",
        stats.readers, "waiting", stats.waiting, "resumed", stats.resumed);
}

/* The documentation of the public members stands with the class that Python code makes
 * of this type; the first line is the signature that inspect reads. */
static PyMethodDef cache_methods[] = {
    {"reader", (PyCFunction)(void (*)(void))cache_reader, METH_VARARGS | METH_KEYWORDS,
     "reader($self, from_start=True)\n--\n\nReturn a new reader of all columns.\n"},
    {"cast", (PyCFunction)(void (*)(void))cache_cast, METH_VARARGS | METH_KEYWORDS,
     "cast($self, target_schema)\n--\n\n"
     "Return a replayable view whose streams are cast to `target_schema`.\n\n"
     "Parameters\n----------\n"
     "target_schema : pyarrow.Schema\n"
     "    The same field names, other types.\n\n"
     "Returns\n-------\nCastingStreamCache\n\n"
     "Raises\n------\nTypeError\n    `target_schema` is no schema.\n\n"
     "Examples\n--------\n"
     ">>> import pyarrow as pa\n"
     ">>> from batchcorder import StreamCache\n"
     ">>> view = StreamCache(pa.table({'x': [1]})).cast(pa.schema({'x': pa.int8()}))\n"
     ">>> pa.table(view).schema.field('x').type\nDataType(int8)\n"},
    {"ingest_all", cache_ingest_all, METH_NOARGS,
     "ingest_all($self)\n--\n\nRead the source to its end.\n"},
    {"close", cache_close, METH_NOARGS,
     "close($self)\n--\n\n"
     "Give back memory, file and source at once; batches handed out stay valid.\n\n"
     "May be called again. Readers that wait fail with ValueError.\n"},
    {"stats", cache_stats, METH_NOARGS,
     "stats($self)\n--\n\nReturn what the cache holds now, as a dict.\n"},
    {"_open_reader", cache_open_reader, METH_VARARGS,
     "_open_reader($self, start, stop, step, columns)\n--\n\n"
     "Return a reader of some batches and columns (a tuple of numbers, or None).\n"},
    {"_get", cache_get, METH_O,
     "_get($self, number)\n--\n\nReturn one batch, or None behind the last one.\n"},
    {"_look_at", cache_look_at, METH_O,
     "_look_at($self, number)\n--\n\nRead one batch, and give it to no consumer.\n"},
    {"_names", cache_names, METH_NOARGS,
     "_names($self)\n--\n\nReturn the names of the columns, without pyarrow.\n"},
    {"_ingest_to", cache_ingest_to, METH_O,
     "_ingest_to($self, batches)\n--\n\n"
     "Read the source until so many batches are recorded; return how many are.\n"},
    {"_open_file", cache_open_file, METH_VARARGS,
     "_open_file($self, path, file, verify, partial, copies, follow, max_batches)\n--\n\n"
     "Make a fresh object a cache over a file.\n"},
    {"_select", cache_select, METH_O,
     "_select($self, columns)\n--\n\nNarrow a fresh cache to a tuple of columns.\n"},
    {"_save", cache_save, METH_VARARGS,
     "_save($self, path, overwrite, durable)\n--\n\nSave the recording.\n"},
    {"_share", cache_share, METH_NOARGS,
     "_share($self)\n--\n\n"
     "Let other processes open the file; return how many batches it has.\n"},
    {"_has_writer", cache_has_writer, METH_NOARGS,
     "_has_writer($self)\n--\n\n"
     "Return whether another process writes the file; None where nobody can tell.\n"},
    {"_is_unlocked", cache_is_unlocked, METH_NOARGS,
     "_is_unlocked($self)\n--\n\n"
     "Return whether the system refused the lock of the cache's file.\n"},
    {"_describe", cache_describe, METH_NOARGS,
     "_describe($self)\n--\n\nReturn what the file is, as a dict.\n"},
    {"_row_starts", cache_row_starts, METH_O,
     "_row_starts($self, start)\n--\n\n"
     "Return the first row of each batch from that number on, and how many rows there\n"
     "are in all, as 64-bit numbers.\n"},
    {"__arrow_c_stream__", (PyCFunction)(void (*)(void))cache_stream,
     METH_VARARGS | METH_KEYWORDS,
     "__arrow_c_stream__($self, requested_schema=None)\n--\n\n"
     "Return a PyCapsule of a fresh Arrow stream at batch 0.\n"},
    {"__arrow_c_schema__", cache_c_schema, METH_NOARGS,
     "__arrow_c_schema__($self)\n--\n\nReturn a PyCapsule of the schema.\n"},
    {"__copy__", cache_enter, METH_NOARGS,
     "__copy__($self)\n--\n\nReturn the cache: a copy would be the same recording.\n"},
    {"__enter__", cache_enter, METH_NOARGS,
     "__enter__($self)\n--\n\nReturn the cache.\n"},
    {"__exit__", cache_exit, METH_VARARGS,
     "__exit__($self, *exception)\n--\n\nClose the cache.\n"},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef cache_properties[] = {
    {"schema", cache_schema, NULL, "pyarrow.Schema of the stream; never waits.", NULL},
    {"ingested_count", cache_ingested_count, NULL,
     "Number of batches recorded so far; never waits.", NULL},
    {"memory_capacity", cache_memory_capacity, cache_set_memory_capacity,
     "Bytes that batches may take in memory; may be set while the cache is in use.\n\n"
     "What is held stays held. An ingest that stopped for lack of room goes on with the\n"
     "next call that asks for a batch. Takes what the constructor takes.",
     NULL},
    {"disk_capacity", cache_disk_capacity, cache_set_disk_capacity,
     "Bytes that the cache file may take, None without a limit or a disk tier; may be\n"
     "set while the cache is in use, like memory_capacity.",
     NULL},
    {"path", cache_path, NULL,
     "Path of the cache file, an Arrow IPC stream, or None without a disk tier.", NULL},
    {"max_readers", cache_max_readers, NULL,
     "Number of readers that may ever be made, None without a limit.", NULL},
    {"upstream_exhausted", cache_exhausted, NULL,
     "True once the source has ended; never waits.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMemberDef cache_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(struct cache_object, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct cache_object, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL}};

static const char cache_doc[] =
    "StreamCache(reader, memory_capacity=None, disk_path=None, disk_capacity=None, "
    "write_policy='on_insertion', max_readers=None, *, checksum=True, compression=None, "
    "prefetch=None)\n--\n\n"
    "The part of batchcorder.StreamCache that is written in C.\n";

static PyType_Slot cache_slots[] = {{Py_tp_doc, (void *)(uintptr_t)cache_doc},
                                    {Py_tp_new, cache_new},
                                    {Py_tp_init, cache_init},
                                    {Py_tp_dealloc, cache_dealloc},
                                    {Py_tp_traverse, cache_traverse},
                                    {Py_tp_clear, cache_clear},
                                    {Py_tp_iter, cache_iter},
                                    {Py_tp_methods, cache_methods},
                                    {Py_tp_getset, cache_properties},
                                    {Py_tp_members, cache_members},
                                    {Py_mp_length, cache_length},
                                    {Py_nb_bool, cache_bool},
                                    {0, NULL}};

static PyType_Spec cache_spec = {
    "batchcorder._core.StreamCache", sizeof(struct cache_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, cache_slots};

int cache_type_add(PyObject *module, struct module_state *state) {
    PyObject *type = PyType_FromModuleAndSpec(module, &cache_spec, NULL);
    if (type == NULL) return -1;
    state->cache_type = (PyTypeObject *)type;
    return PyModule_AddType(module, state->cache_type);
}
