#include <string.h>

#include "capsule.h"
#include "casting.h"
#include "errors.h"
#include "hooks.h"
#include "kept.h"
#include "module.h"

/* Wants Python.h first. */
#include <structmember.h>

PyObject *reader_object_new(struct cache_object *owner, struct bc_reader *reader,
                            PyObject *schema, int whole) {
    PyTypeObject *type = owner->state->reader_type;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct reader_object *self = (struct reader_object *)allocate(type, 0);
    if (self == NULL) {
        bc_reader_unref(reader);
        return NULL;
    }
    Py_INCREF((PyObject *)owner);
    Py_INCREF(schema);
    self->owner = owner;
    self->reader = reader;
    self->schema = schema;
    self->whole = whole;
    self->array_address = PyLong_FromVoidPtr(&self->array);
    if (self->array_address == NULL) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *refuse_used(void) {
    PyErr_SetString(PyExc_ValueError, "Reader already consumed");
    return NULL;
}

/* Of a reader that is used up, its exported stream keeps what it needs. */
static struct bc_reader *take_reader(struct reader_object *self) {
    struct bc_reader *reader = self->reader;
    self->reader = NULL;
    Py_CLEAR(self->owner);
    return reader;
}

static void give_up(struct bc_reader *reader) {
    if (reader == NULL) return;
    Py_BEGIN_ALLOW_THREADS;
    bc_reader_unref(reader);
    Py_END_ALLOW_THREADS;
}

static int reader_traverse(PyObject *object, visitproc visit, void *arg) {
    struct reader_object *self = (struct reader_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->dict);
    Py_VISIT(self->owner);
    Py_VISIT(self->schema);
    return 0;
}

static int reader_clear(PyObject *object) {
    struct reader_object *self = (struct reader_object *)object;
    Py_CLEAR(self->dict);
    return 0;
}

static void reader_dealloc(PyObject *object) {
    struct reader_object *self = (struct reader_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs(object);
    PyObject *type_set;
    PyObject *value_set;
    PyObject *traceback_set;
    PyErr_Fetch(&type_set, &value_set, &traceback_set);
    Py_CLEAR(self->dict);
    give_up(self->reader);
    Py_CLEAR(self->schema);
    Py_CLEAR(self->owner);
    PyErr_Restore(type_set, value_set, traceback_set);
    Py_CLEAR(self->array_address);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *reader_iter(PyObject *object) {
    Py_INCREF(object);
    return object;
}

/* Hands the array to pyarrow, which takes it over. */
static PyObject *import_batch(const struct cache_object *owner, struct ArrowArray *array,
                              PyObject *address, PyObject *schema) {
    PyObject *batch =
        PyObject_CallFunctionObjArgs(owner->state->import_batch, address, schema, NULL);
    if (array->release != NULL) array->release(array);
    return batch;
}

/* Gets the next batch by way of `array`. At the end NULL without an exception. Without
 * the GIL another thread may use the reader up, so `owner` is held by the caller. */
static PyObject *next_batch_of(struct reader_object *self, struct cache_object *owner,
                               struct ArrowArray *array, PyObject *address) {
    struct bc_batch_info info;
    struct bc_error error;
    struct bc_reader *reader = bc_reader_ref(self->reader);
    hooks_begin_method();
    int code = bc_reader_next(reader, array, &info, &error);
    hooks_end_method();
    if (self->reader == reader) {
        bc_reader_unref(reader);
    } else {
        give_up(reader);
    }
    if (code != 0) return raise_failure(owner, code, &error);
    if (array->release == NULL) {
        self->ended = 1;
        return NULL;
    }
    PyObject *batch = import_batch(owner, array, address, self->schema);
    if (batch != NULL && self->whole) cache_keep(owner, &info, batch);
    return batch;
}

static PyObject *next_batch(struct reader_object *self, struct ArrowArray *array,
                            PyObject *address) {
    struct cache_object *owner = self->owner;
    Py_INCREF((PyObject *)owner);
    PyObject *batch = next_batch_of(self, owner, array, address);
    Py_DECREF((PyObject *)owner);
    return batch;
}

static PyObject *reader_next(PyObject *object) {
    struct reader_object *self = (struct reader_object *)object;
    if (self->reader == NULL) return refuse_used();
    if (self->ended) return NULL;
    uint64_t position = bc_reader_position(self->reader);
    PyObject *kept = self->whole ? cache_kept(self->owner, position) : NULL;
    if (kept != NULL && bc_reader_skip(self->reader, position) == 0) {
        Py_INCREF(kept);
        return kept;
    }
    if (!self->array_taken) {
        self->array_taken = 1;
        PyObject *batch = next_batch(self, &self->array, self->array_address);
        self->array_taken = 0;
        return batch;
    }
    struct ArrowArray array;
    PyObject *address = PyLong_FromVoidPtr(&array);
    if (address == NULL) return NULL;
    PyObject *batch = next_batch(self, &array, address);
    Py_DECREF(address);
    return batch;
}

static PyObject *reader_schema(PyObject *object, void *unused) {
    (void)unused;
    const struct reader_object *self = (const struct reader_object *)object;
    if (self->reader == NULL) return refuse_used();
    Py_INCREF(self->schema);
    return self->schema;
}

static PyObject *reader_closed(PyObject *object, void *unused) {
    (void)unused;
    const struct reader_object *self = (const struct reader_object *)object;
    return PyBool_FromLong(self->reader == NULL || self->ended);
}

static PyObject *reader_repr(PyObject *object) {
    const struct reader_object *self = (const struct reader_object *)object;
    PyObject *fields = schema_text(self->schema);
    if (fields == NULL) return NULL;
    int closed = self->reader == NULL || self->ended;
    PyObject *result = PyUnicode_FromFormat("StreamCacheReader(closed=%s, schema=[%U])",
                                            closed ? "True" : "False", fields);
    Py_DECREF(fields);
    return result;
}

static PyObject *reader_stream(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct reader_object *self = (struct reader_object *)object;
    static char *names[] = {"requested_schema", NULL};
    PyObject *requested = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:__arrow_c_stream__", names,
                                     &requested)) {
        return NULL;
    }
    if (self->reader == NULL) return refuse_used();
    if (requested != Py_None) return cast_to_requested(object, requested);
    struct ArrowArrayStream stream;
    bc_reader_export(take_reader(self), &stream);
    return capsule_of_stream(&stream);
}

static PyObject *reader_c_schema(PyObject *object, PyObject *unused) {
    (void)unused;
    const struct reader_object *self = (const struct reader_object *)object;
    if (self->reader == NULL) return refuse_used();
    struct ArrowSchema schema = {0};
    struct bc_error error = {0, ""};
    int code = bc_reader_schema(self->reader, &schema, &error);
    return code != 0 ? raise_error(code, &error) : capsule_of_schema(&schema);
}

static PyObject *reader_cast(PyObject *object, PyObject *args, PyObject *kwargs) {
    const struct reader_object *self = (const struct reader_object *)object;
    static char *names[] = {"target_schema", NULL};
    PyObject *target;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:cast", names, &target)) return NULL;
    return self->reader == NULL ? refuse_used()
                                : call_cast("cast_reader", object, target);
}

static PyObject *reader_enter(PyObject *object, PyObject *unused) {
    (void)unused;
    Py_INCREF(object);
    return object;
}

static PyObject *reader_exit(PyObject *object, PyObject *args) {
    (void)args;
    struct reader_object *self = (struct reader_object *)object;
    give_up(take_reader(self));
    Py_RETURN_NONE;
}

static PyMethodDef reader_methods[] = {
    {"cast", (PyCFunction)(void (*)(void))reader_cast, METH_VARARGS | METH_KEYWORDS,
     "cast($self, target_schema)\n--\n\n"
     "Return a pyarrow.RecordBatchReader of the rest, cast; uses the reader up.\n\n"
     "Raises\n------\n"
     "ValueError\n    The field names differ, or the reader is used up.\n"
     "TypeError\n    `target_schema` is no schema, or a type cannot be cast. A failed "
     "cast\n"
     "    does not use the reader up.\n"},
    {"__arrow_c_stream__", (PyCFunction)(void (*)(void))reader_stream,
     METH_VARARGS | METH_KEYWORDS,
     "__arrow_c_stream__($self, requested_schema=None)\n--\n\n"
     "Return a PyCapsule of an Arrow stream of the rest; uses the reader up.\n"},
    {"__arrow_c_schema__", reader_c_schema, METH_NOARGS,
     "__arrow_c_schema__($self)\n--\n\nReturn a PyCapsule of the schema.\n"},
    {"__copy__", reader_enter, METH_NOARGS,
     "__copy__($self)\n--\n\nReturn the reader: a copy would be at the same position.\n"},
    {"__enter__", reader_enter, METH_NOARGS,
     "__enter__($self)\n--\n\nReturn the reader.\n"},
    {"__exit__", reader_exit, METH_VARARGS,
     "__exit__($self, *exception)\n--\n\nUse the reader up; it holds no batch back.\n"},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef reader_properties[] = {
    {"schema", reader_schema, NULL, "pyarrow.Schema of the stream.", NULL},
    {"closed", reader_closed, NULL,
     "True once the reader is used up or was iterated to its end.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMemberDef reader_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(struct reader_object, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct reader_object, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL}};

static const char reader_doc[] =
    "An independent, single-use position in a StreamCache's batches.\n\n"
    "An iterator of pyarrow.RecordBatch, and an Arrow stream itself. Made by\n"
    "StreamCache.reader. Keeps the recording alive after the cache object is gone.\n";

static PyType_Slot reader_slots[] = {{Py_tp_doc, (void *)(uintptr_t)reader_doc},
                                     {Py_tp_dealloc, reader_dealloc},
                                     {Py_tp_traverse, reader_traverse},
                                     {Py_tp_clear, reader_clear},
                                     {Py_tp_repr, reader_repr},
                                     {Py_tp_iter, reader_iter},
                                     {Py_tp_iternext, reader_next},
                                     {Py_tp_methods, reader_methods},
                                     {Py_tp_getset, reader_properties},
                                     {Py_tp_members, reader_members},
                                     {0, NULL}};

static PyType_Spec reader_spec = {
    "batchcorder.StreamCacheReader", sizeof(struct reader_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    reader_slots};

int reader_type_add(PyObject *module, struct module_state *state) {
    PyObject *type = PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    if (type == NULL) return -1;
    state->reader_type = (PyTypeObject *)type;
    return PyModule_AddType(module, state->reader_type);
}
