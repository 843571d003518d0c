#include <string.h>

#include "batch_objects.h"
#include "cache_init.h"
#include "capsule.h"
#include "convert.h"
#include "critical_section.h"
#include "docstrings.h"
#include "errors.h"
#include "module.h"
#include "signals.h"

/* Wants Python.h first. */
#include <structmember.h>

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
    /* A release runs foreign code, which must not see the caller's exception. */
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

static PyObject *cache_exhausted(PyObject *object, void *unused) {
    (void)unused;
    const struct cache_object *self = (const struct cache_object *)object;
    if (self->cache == NULL) return cache_not_initialised();
    struct bc_stats stats;
    get_stats(self, &stats);
    return PyBool_FromLong(stats.exhausted);
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

/* By way of the method, which a subclass may override. */
static PyObject *cache_iter(PyObject *object) {
    return PyObject_CallMethod(object, "reader", NULL);
}

static PyObject *cache_stream(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct cache_object *self = (struct cache_object *)object;
    static char *names[] = {"requested_schema", NULL};
    PyObject *requested = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:__arrow_c_stream__", names,
                                     &requested)) {
        return NULL;
    }
    if (self->cache == NULL) return cache_not_initialised();
    if (requested != Py_None) {
        return call_package("_cast", "stream_as_requested", object, requested);
    }
    struct ArrowArrayStream stream;
    struct bc_error error = {0};
    int code = bc_cache_stream(self->cache, &stream, &error);
    return code != 0 ? raise_error(code, &error) : capsule_of_stream(&stream);
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

/* The derived class in Python documents the members without a text here. */
static PyMethodDef cache_methods[] = {
    {"close", cache_close, METH_NOARGS, DOC_CACHE_CLOSE},
    {"stats", cache_stats, METH_NOARGS,
     "stats($self)\n--\n\nReturn the counters as a dict.\n"},
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
    {"schema", cache_schema, NULL, DOC_CACHE_SCHEMA, NULL},
    {"ingested_count", cache_ingested_count, NULL, DOC_CACHE_INGESTED_COUNT, NULL},
    {"memory_capacity", cache_memory_capacity, NULL,
     "Budget of the memory tier in bytes.", NULL},
    {"disk_capacity", cache_disk_capacity, NULL,
     "Budget of the cache file in bytes, or None.", NULL},
    {"path", cache_path, NULL, DOC_CACHE_PATH, NULL},
    {"max_readers", cache_max_readers, NULL, DOC_CACHE_MAX_READERS, NULL},
    {"upstream_exhausted", cache_exhausted, NULL, DOC_CACHE_UPSTREAM_EXHAUSTED, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMemberDef cache_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(struct cache_object, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct cache_object, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL}};

static const char cache_doc[] =
    "The part of batchcorder.StreamCache that is written in C.";

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
