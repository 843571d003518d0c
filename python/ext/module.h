/* Types and functions that the files of the extension share. */
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

/* A StreamCache. Its readers hold it. Arrow streams that it exported hold only the core's
 * cache, and need no interpreter. */
struct cache_object {
    PyObject_HEAD PyObject *dict;
    PyObject *weakrefs;
    PyObject *module; /* keeps the state alive */
    struct module_state *state;
    struct bc_cache *cache; /* NULL: __init__ has not succeeded */
    PyObject *schema;       /* pyarrow.Schema, or NULL: not imported yet */
    Py_ssize_t n_columns;
    uint64_t max_readers;
    int interrupted; /* the source was interrupted by Ctrl-C, and that was raised */
    /* pyarrow.RecordBatch objects of the memory tier, by batch index. Their size is
     * reserved in the cache's budget, and released when a batch needs the room. Empty
     * with max_readers: then no batch is read again. */
    PyObject **batch_objects;
    size_t n_batch_objects;
    uint64_t reserved_bytes;      /* in the budget, for several objects at a time */
    uint64_t reserved_bytes_free; /* the part that no object uses yet */
    uint64_t batch_object_bytes;  /* an estimate of the size of one object */
};

struct reader_object {
    PyObject_HEAD PyObject *dict;
    PyObject *weakrefs;
    struct cache_object *owner; /* NULL if `reader` is: a used-up reader keeps no cache */
    struct bc_reader *reader;   /* NULL: used up */
    PyObject *schema;           /* pyarrow.Schema of its batches, or NULL */
    int all_columns; /* true: the cache's batch objects are this reader's, too */
    int ended;       /* iterated to its end */
    /* The array through which batches pass to pyarrow, and its address as an int. One
     * thread uses it at a time; other threads use memory of their own. */
    struct ArrowArray array;
    PyObject *array_address;
    int array_taken;
};

int cache_type_add(PyObject *module, struct module_state *state);
int reader_type_add(PyObject *module, struct module_state *state);

/* The pyarrow.Schema of a cache, a new reference. It is imported on first use, because
 * pyarrow refuses some schemas, which the cache replays all the same. */
PyObject *cache_schema_object(struct cache_object *self);

/* A reader object; owns the reader, also on failure. `all_columns`: the reader returns
 * all columns. */
PyObject *reader_object_new(struct cache_object *owner, struct bc_reader *reader,
                            int all_columns);

#endif
