#include "module.h"

#include "cache_files.h"
#include "cache_readers.h"
#include "cache_statistics.h"
#include "cache_take.h"
#include "gil.h"
#include "interpreter.h"
#include "takeover.h"

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

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

/* The calls of the core that the package makes: functions, so that a subclass overrides
 * none by accident. _core.pyi has their types. Python checks the arguments. */
static PyMethodDef functions[] = {
    {"open_reader", FAST(open_reader),
     "open_reader(cache, start=0, stop=-1, step=1, columns=None)\n--\n\n"
     "Return a reader; `columns` is a tuple of indices, or None for all.\n"},
    {"get_batch", FAST(get_batch),
     "get_batch(cache, index)\n--\n\n"
     "Return one batch, or None past the end of the stream.\n"},
    {"check_batch", check_batch, METH_VARARGS,
     "check_batch(cache, index)\n--\n\n"
     "Read and verify one batch, without making an object of it.\n"},
    {"ingest_to", ingest_to, METH_VARARGS,
     "ingest_to(cache, batches)\n--\n\n"
     "Read the source until so many batches are recorded; return how many are.\n"},
    {"column_names", column_names, METH_O,
     "column_names(cache)\n--\n\nReturn the names of the columns, without pyarrow.\n"},
    {"set_memory_limit", set_memory_limit, METH_VARARGS,
     "set_memory_limit(cache, bytes)\n--\n\nSet the budget of the memory tier.\n"},
    {"set_disk_limit", set_disk_limit, METH_VARARGS,
     "set_disk_limit(cache, bytes)\n--\n\nSet the budget of the cache file.\n"},
    {"open_file", open_file, METH_VARARGS,
     "open_file(cache, path, file, verify, partial, copies, writable, follow, "
     "max_batches, storage)\n--\n\n"
     "Make a fresh object a cache over a file.\n\n"
     "`storage` reads the file, if it is not None.\n"},
    {"allow_takeover", allow_takeover, METH_VARARGS,
     "allow_takeover(cache, begin)\n--\n\n"
     "Let a follower call `begin` if its writer died.\n\n"
     "`begin` returns the cache that goes on, or None to look again. It must not refer\n"
     "to the follower.\n"},
    {"select_columns", select_columns, METH_VARARGS,
     "select_columns(cache, columns)\n--\n\n"
     "Narrow a fresh cache to a tuple of column indices.\n"},
    {"save", save, METH_VARARGS,
     "save(cache, path, overwrite, durable)\n--\n\nSave the recording.\n"},
    {"publish", publish, METH_O,
     "publish(cache)\n--\n\n"
     "Write all batches to the file for other processes; return their number.\n"},
    {"is_being_written", is_being_written, METH_O,
     "is_being_written(cache)\n--\n\n"
     "Return whether a process writes the file; None if locks do not tell.\n"},
    {"is_unlocked", is_unlocked, METH_O,
     "is_unlocked(cache)\n--\n\n"
     "Return whether the system refused the lock of the cache's file.\n"},
    {"recording_key", recording_key, METH_O,
     "recording_key(cache)\n--\n\nReturn the recording's key as bytes, or None.\n"},
    {"file_info", file_info, METH_VARARGS,
     "file_info(cache, measures)\n--\n\nReturn a description of the file as a dict.\n\n"
     "Without measures, only the metadata of the first batch is read.\n"},
    {"statistics", statistics, METH_VARARGS,
     "statistics(cache, columns)\n--\n\n"
     "Return the statistics of a tuple of column indices, or of all for None.\n"},
    {"verify_statistics", verify_statistics, METH_O,
     "verify_statistics(cache)\n--\n\n"
     "Verify the statistics in the cache's file, if it has any.\n"},
    {"take", take_rows, METH_VARARGS,
     "take(cache, rows, columns)\n--\n\n"
     "Return rows of columns of a fixed width, by 64-bit row indices.\n"},
    {"take_values", take_values, METH_VARARGS,
     "take_values(cache, rows, columns, bits)\n--\n\n"
     "Return rows of columns of numbers as a bytearray, column after column, or None if\n"
     "there is a null. `bits`: bits of a row of each column; a bit becomes a byte.\n"},
    {"row_starts", row_starts, METH_VARARGS,
     "row_starts(cache, start)\n--\n\n"
     "Return the first row of each batch from that index on, and the total number of\n"
     "rows, as 64-bit numbers.\n"},
    {"permutation", permutation, METH_VARARGS,
     "permutation(seed, epoch, n)\n--\n\n"
     "Return a permutation of the numbers below n, as 64-bit numbers.\n"},
    {"discard", discard, METH_O,
     "discard(path)\n--\n\n"
     "Remove a recording that its writer left incomplete, and no other file.\n"},
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
