/* What the files of the extension share. */
#ifndef BC_EXT_MODULE_H
#define BC_EXT_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "batchcorder/batchcorder.h"

struct module_state {
    PyTypeObject *cache_type;
    PyTypeObject *reader_type;
    PyObject *import_batch;  /* pyarrow.RecordBatch._import_from_c */
    PyObject *import_schema; /* pyarrow.Schema._import_from_c */
};

/* A StreamCache. Python objects of it and its readers hold it; Arrow streams that were
 * exported hold only the core's cache, and need no interpreter any more. */
struct cache_object {
    PyObject_HEAD PyObject *dict;
    PyObject *weakrefs;
    PyObject *module; /* keeps the state alive */
    struct module_state *state;
    struct bc_cache *cache; /* NULL: __init__ has not succeeded */
    PyObject *schema;       /* pyarrow.Schema, or NULL: not asked for yet */
    Py_ssize_t n_columns;
    uint64_t max_readers;
    int interrupted; /* the source saw Ctrl-C, and that was raised */
    /* Batches of the memory tier that were made into Python objects before, by number.
     * What they take is reserved in the cache's budget, and given back when a batch
     * needs the room. Only without max_readers: else no batch is read again. */
    PyObject **kept;
    size_t n_kept;
    uint64_t kept_bytes;      /* reserved in the budget, in iovecs for many batches */
    uint64_t kept_bytes_free; /* of these, not used yet */
    uint64_t kept_bytes_each; /* an estimate of what pyarrow allocates for one */
};

struct reader_object {
    PyObject_HEAD PyObject *dict;
    PyObject *weakrefs;
    struct cache_object *owner; /* NULL where the reader is: it keeps nothing then */
    struct bc_reader *reader;   /* NULL: used up */
    PyObject *schema;           /* pyarrow.Schema of what it gives, or NULL, as there */
    int whole;                  /* all columns: what is kept of the cache will do */
    int ended;                  /* iterated to its end */
    /* Where batches pass through on their way to pyarrow, and its address as an int;
     * taken by the first thread, others use memory of their own. */
    struct ArrowArray array;
    PyObject *array_address;
    int array_taken;
};

int cache_type_add(PyObject *module, struct module_state *state);
int reader_type_add(PyObject *module, struct module_state *state);

/* The pyarrow.Schema of a cache, a new reference. It is made when it is first asked for,
 * since there are schemas that pyarrow refuses: what needs none does not ask. */
PyObject *cache_schema_object(struct cache_object *self);

/* The pyarrow.Schema of `schema`, which moves into it, also on failure. */
PyObject *schema_object(const struct module_state *state, struct ArrowSchema *schema);

/* The pyarrow.RecordBatch of `array`, which moves into it, also on failure. */
PyObject *batch_object(const struct module_state *state, struct ArrowArray *array,
                       PyObject *schema);

/* A reader object; takes the reader over, also on failure. `whole`: it gives all
 * columns. */
PyObject *reader_object_new(struct cache_object *owner, struct bc_reader *reader,
                            int whole);

#endif
