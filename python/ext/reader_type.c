#include <errno.h>
#include <string.h>

#include "batch_objects.h"
#include "capsule.h"
#include "convert.h"
#include "critical_section.h"
#include "docstrings.h"
#include "errors.h"
#include "module.h"
#include "signals.h"

/* Wants Python.h first. */
#include <structmember.h>

PyObject *reader_object_new(struct cache_object *owner, struct bc_reader *reader,
                            int all_columns) {
    PyTypeObject *type = owner->state->reader_type;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct reader_object *self = (struct reader_object *)allocate(type, 0);
    if (self == NULL) {
        bc_reader_unref(reader);
        return NULL;
    }
    Py_INCREF((PyObject *)owner);
    self->owner = owner;
    self->reader = reader;
    self->all_columns = all_columns;
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

/* The pyarrow.Schema of the reader's batches, a new reference. For a used-up reader, the
 * schema imported before, or NULL. */
static PyObject *schema_of(struct reader_object *self, struct bc_reader *reader,
                           struct cache_object *owner) {
    PyObject *schema;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    schema = self->schema;
    Py_XINCREF(schema);
    CRITICAL_SECTION_END();
    if (schema != NULL || reader == NULL) return schema;
    if (self->all_columns) {
        schema = cache_schema_object(owner);
    } else {
        struct ArrowSchema own = {0};
        struct bc_error error = {0};
        int code = bc_reader_schema(reader, &own, &error);
        schema =
            code != 0 ? raise_error(code, &error) : schema_object(owner->state, &own);
    }
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    if (self->schema == NULL) {
        Py_XINCREF(schema);
        self->schema = schema;
    }
    CRITICAL_SECTION_END();
    return schema;
}

/* References to the reader and its cache, or neither where it is used up. */
static void hold_both(struct reader_object *self, struct bc_reader **out_reader,
                      struct cache_object **out_owner) {
    *out_reader = NULL;
    *out_owner = NULL;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    if (self->reader != NULL) {
        *out_reader = bc_reader_ref(self->reader);
        *out_owner = self->owner;
        Py_INCREF((PyObject *)self->owner);
    }
    CRITICAL_SECTION_END();
}

/* Uses the reader up, and returns it to the caller; NULL if it was used up before. An
 * exported stream has its own references. */
static struct bc_reader *take_reader(struct reader_object *self) {
    struct bc_reader *reader;
    struct cache_object *owner;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    reader = self->reader;
    owner = self->owner;
    self->reader = NULL;
    self->owner = NULL;
    CRITICAL_SECTION_END();
    /* For its repr. */
    if (reader != NULL) {
        Py_XDECREF(schema_of(self, reader, owner));
        PyErr_Clear();
    }
    Py_XDECREF((PyObject *)owner);
    return reader;
}

/* A reference to the reader, or NULL where it is used up. */
static struct bc_reader *hold_reader(struct reader_object *self) {
    struct bc_reader *reader = NULL;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    if (self->reader != NULL) reader = bc_reader_ref(self->reader);
    CRITICAL_SECTION_END();
    return reader;
}

/* At its end, or used up. */
static int is_closed(struct reader_object *self) {
    int closed;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    closed = self->reader == NULL || self->ended;
    CRITICAL_SECTION_END();
    return closed;
}

static int is_used_up(struct reader_object *self) {
    int used;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    used = self->reader == NULL;
    CRITICAL_SECTION_END();
    return used;
}

static void reader_unref_without_gil(struct bc_reader *reader) {
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
    reader_unref_without_gil(self->reader);
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

/* One call of next, with its own references: another thread may use the reader up. */
struct next_call {
    struct bc_reader *reader;
    struct cache_object *owner;
    struct ArrowArray *array; /* the reader's own, or `mine` */
    PyObject *address;
    struct ArrowArray mine;
};

/* 1: the call has begun. 0: `*out_batch` is its result; if that is NULL, an exception is
 * set or the reader is at its end. Runs inside the reader's critical section. */
static int begin_next_call(struct reader_object *self, struct next_call *call,
                           PyObject **out_batch) {
    if (self->reader == NULL) (void)refuse_used();
    if (self->reader == NULL || self->ended) return 0;
    if (self->all_columns) {
        uint64_t position = bc_reader_position(self->reader);
        *out_batch = batch_object_of(self->owner, position);
        if (*out_batch != NULL) {
            if (bc_reader_skip(self->reader, position) == 0) return 0;
            Py_CLEAR(*out_batch);
        }
    }
    if (self->array_taken) {
        call->array = &call->mine;
        call->address = PyLong_FromVoidPtr(call->array);
        if (call->address == NULL) return 0;
    } else {
        self->array_taken = 1;
        call->array = &self->array;
        call->address = self->array_address;
        Py_INCREF(call->address);
    }
    call->reader = bc_reader_ref(self->reader);
    call->owner = self->owner;
    Py_INCREF((PyObject *)call->owner);
    return 1;
}

/* Returns the array. True: the call's reference to the reader may be the last one. Runs
 * inside the reader's critical section. */
static int end_next_call(struct reader_object *self, const struct next_call *call,
                         int ended) {
    if (call->array == &self->array) self->array_taken = 0;
    if (ended) self->ended = 1;
    return self->reader != call->reader;
}

/* The next batch. At the end NULL without an exception, and `*out_ended`. */
static PyObject *read_next(struct reader_object *self, struct next_call *call,
                           int *out_ended) {
    struct bc_batch_info info;
    struct bc_error error;
    PyObject *schema = schema_of(self, call->reader, call->owner);
    if (schema == NULL) return NULL;
    signals_begin_method();
    int code = bc_reader_next_quick(call->reader, call->array, &info, &error);
    if (code == EAGAIN) {
        Py_BEGIN_ALLOW_THREADS;
        code = bc_reader_next(call->reader, call->array, &info, &error);
        Py_END_ALLOW_THREADS;
    }
    signals_end_method();
    PyObject *batch = NULL;
    if (code != 0) {
        (void)raise_failure(call->owner, code, &error);
    } else if (call->array->release == NULL) {
        *out_ended = 1;
    } else {
        batch = PyObject_CallFunctionObjArgs(call->owner->state->import_batch,
                                             call->address, schema, NULL);
    }
    Py_DECREF(schema);
    if (code != 0 || *out_ended) return NULL;
    if (call->array->release != NULL) call->array->release(call->array);
    if (batch != NULL && self->all_columns) batch_object_keep(call->owner, &info, batch);
    return batch;
}

static PyObject *reader_next(PyObject *object) {
    struct reader_object *self = (struct reader_object *)object;
    struct next_call call;
    PyObject *batch = NULL;
    int taken;
    CRITICAL_SECTION_BEGIN(object);
    taken = begin_next_call(self, &call, &batch);
    CRITICAL_SECTION_END();
    if (!taken) return batch;
    int ended = 0;
    int is_last;
    batch = read_next(self, &call, &ended);
    CRITICAL_SECTION_BEGIN(object);
    is_last = end_next_call(self, &call, ended);
    CRITICAL_SECTION_END();
    if (is_last) {
        reader_unref_without_gil(call.reader);
    } else {
        bc_reader_unref(call.reader);
    }
    Py_DECREF(call.address);
    Py_DECREF((PyObject *)call.owner);
    return batch;
}

static PyObject *reader_schema(PyObject *object, void *unused) {
    (void)unused;
    struct reader_object *self = (struct reader_object *)object;
    struct bc_reader *reader;
    struct cache_object *owner;
    hold_both(self, &reader, &owner);
    if (reader == NULL) return refuse_used();
    PyObject *schema = schema_of(self, reader, owner);
    reader_unref_without_gil(reader);
    Py_DECREF((PyObject *)owner);
    return schema;
}

static PyObject *reader_closed(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(is_closed((struct reader_object *)object));
}

static PyObject *reader_repr(PyObject *object) {
    struct reader_object *self = (struct reader_object *)object;
    struct bc_reader *reader;
    struct cache_object *owner;
    hold_both(self, &reader, &owner);
    PyObject *schema = schema_of(self, reader, owner);
    reader_unref_without_gil(reader);
    Py_XDECREF((PyObject *)owner);
    if (schema == NULL) {
        /* pyarrow refuses it. */
        PyErr_Clear();
        schema = Py_None;
        Py_INCREF(schema);
    }
    PyObject *closed = is_closed(self) ? Py_True : Py_False;
    PyObject *text = call_package("_display", "reader_text", closed, schema);
    Py_DECREF(schema);
    return text;
}

static PyObject *reader_stream(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct reader_object *self = (struct reader_object *)object;
    static char *names[] = {"requested_schema", NULL};
    PyObject *requested = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:__arrow_c_stream__", names,
                                     &requested)) {
        return NULL;
    }
    if (requested != Py_None) {
        return is_used_up(self)
                   ? refuse_used()
                   : call_package("_cast", "stream_as_requested", object, requested);
    }
    struct bc_reader *reader = take_reader(self);
    if (reader == NULL) return refuse_used();
    struct ArrowArrayStream stream;
    bc_reader_export(reader, &stream);
    return capsule_of_stream(&stream);
}

static PyObject *reader_c_schema(PyObject *object, PyObject *unused) {
    (void)unused;
    struct bc_reader *reader = hold_reader((struct reader_object *)object);
    if (reader == NULL) return refuse_used();
    struct ArrowSchema schema = {0};
    struct bc_error error = {0};
    int code = bc_reader_schema(reader, &schema, &error);
    reader_unref_without_gil(reader);
    return code != 0 ? raise_error(code, &error) : capsule_of_schema(&schema);
}

static PyObject *reader_cast(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"target_schema", NULL};
    PyObject *target;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:cast", names, &target)) return NULL;
    return is_used_up((struct reader_object *)object)
               ? refuse_used()
               : call_package("_cast", "cast_reader", object, target);
}

static PyObject *reader_enter(PyObject *object, PyObject *unused) {
    (void)unused;
    Py_INCREF(object);
    return object;
}

static PyObject *reader_exit(PyObject *object, PyObject *args) {
    (void)args;
    struct reader_object *self = (struct reader_object *)object;
    reader_unref_without_gil(take_reader(self));
    Py_RETURN_NONE;
}

static PyObject *reader_close(PyObject *object, PyObject *unused) {
    (void)unused;
    return reader_exit(object, NULL);
}

static PyObject *reader_read_next_batch(PyObject *object, PyObject *unused) {
    (void)unused;
    PyObject *batch = reader_next(object);
    if (batch == NULL && !PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
    return batch;
}

/* The table is made from the reader's own iteration: threads that share the reader get
 * different batches. */
static PyObject *reader_read_all(PyObject *object, PyObject *unused) {
    (void)unused;
    PyObject *schema = reader_schema(object, NULL);
    PyObject *pyarrow = schema == NULL ? NULL : PyImport_ImportModule("pyarrow");
    PyObject *type = pyarrow == NULL ? NULL : PyObject_GetAttrString(pyarrow, "Table");
    PyObject *table = NULL;
    if (type != NULL)
        table = PyObject_CallMethod(type, "from_batches", "OO", object, schema);
    Py_XDECREF(type);
    Py_XDECREF(pyarrow);
    Py_XDECREF(schema);
    return table;
}

static PyMethodDef reader_methods[] = {
    {"read_next_batch", reader_read_next_batch, METH_NOARGS, DOC_READER_READ_NEXT_BATCH},
    {"read_all", reader_read_all, METH_NOARGS, DOC_READER_READ_ALL},
    {"close", reader_close, METH_NOARGS, DOC_READER_CLOSE},
    {"cast", (PyCFunction)(void (*)(void))reader_cast, METH_VARARGS | METH_KEYWORDS,
     DOC_READER_CAST},
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
    {"schema", reader_schema, NULL, DOC_READER_SCHEMA, NULL},
    {"closed", reader_closed, NULL, DOC_READER_CLOSED, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMemberDef reader_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(struct reader_object, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct reader_object, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL}};

static const char reader_doc[] = DOC_READER;

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
