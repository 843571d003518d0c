#include "module.h"

#include "cache_files.h"
#include "gil.h"
#include "interpreter.h"

static struct module_state *state_of(PyObject *module) {
    return PyModule_GetState(module);
}

/* `pyarrow.lib.CLASS.NAME`, or `pyarrow.lib.CLASS` where `name` is NULL. */
static PyObject *take(PyObject *lib, const char *class_name, const char *name) {
    PyObject *type = PyObject_GetAttrString(lib, class_name);
    if (type == NULL || name == NULL) return type;
    PyObject *attribute = PyObject_GetAttrString(type, name);
    Py_DECREF(type);
    return attribute;
}

static int import_pyarrow(struct module_state *state) {
    PyObject *lib = PyImport_ImportModule("pyarrow.lib");
    if (lib == NULL) return -1;
    state->import_batch = take(lib, "RecordBatch", "_import_from_c");
    if (state->import_batch != NULL) {
        state->import_schema = take(lib, "Schema", "_import_from_c");
    }
    Py_DECREF(lib);
    return state->import_schema == NULL ? -1 : 0;
}

PyObject *schema_object(const struct module_state *state, struct ArrowSchema *schema) {
    PyObject *address = PyLong_FromVoidPtr(schema);
    PyObject *result = NULL;
    if (address != NULL) {
        result = PyObject_CallFunctionObjArgs(state->import_schema, address, NULL);
        Py_DECREF(address);
    }
    if (schema->release != NULL) schema->release(schema);
    return result;
}

PyObject *batch_object(const struct module_state *state, struct ArrowArray *array,
                       PyObject *schema) {
    PyObject *address = PyLong_FromVoidPtr(array);
    PyObject *batch = NULL;
    if (address != NULL) {
        batch = PyObject_CallFunctionObjArgs(state->import_batch, address, schema, NULL);
        Py_DECREF(address);
    }
    if (array->release != NULL) array->release(array);
    return batch;
}

static int execute(PyObject *module) {
    struct module_state *state = state_of(module);
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(
            PyExc_ImportError,
            "batchcorder cannot be imported in a subinterpreter: its streams are "
            "used by threads that belong to the main interpreter");
        return -1;
    }
    if (import_pyarrow(state) != 0) return -1;
    gil_add();
    if (interpreter_add() != 0) return -1;
    if (cache_type_add(module, state) != 0 || reader_type_add(module, state) != 0)
        return -1;
    return PyModule_AddStringConstant(module, "__version__", PACKAGE_VERSION);
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct module_state *state = state_of(module);
    Py_VISIT(state->cache_type);
    Py_VISIT(state->reader_type);
    Py_VISIT(state->import_batch);
    Py_VISIT(state->import_schema);
    return 0;
}

static int clear(PyObject *module) {
    struct module_state *state = state_of(module);
    Py_CLEAR(state->cache_type);
    Py_CLEAR(state->reader_type);
    Py_CLEAR(state->import_batch);
    Py_CLEAR(state->import_schema);
    return 0;
}

static void release(void *module) { (void)clear(module); }

static PyMethodDef functions[] = {
    {"permutation", permutation, METH_VARARGS,
     "permutation(seed, epoch, n)\n--\n\n"
     "Return a permutation of the numbers below n, as the bytes of 64-bit numbers.\n"},
    {"discard", file_discard, METH_O,
     "discard(path)\n--\n\n"
     "Remove a recording that its writer left, and no other file.\n"},
    {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "batchcorder._core",
    .m_doc = "StreamCache and its readers, over libbatchcorder.",
    .m_size = sizeof(struct module_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
