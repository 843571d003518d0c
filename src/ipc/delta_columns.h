/* The columns of delta values: memory that grows, and a part appended to it. */
#ifndef BC_IPC_DELTA_COLUMNS_H
#define BC_IPC_DELTA_COLUMNS_H

#include "arrow/batch.h"

/* Memory of which a beginning is used. */
struct bc_growable {
    uint8_t *data;
    int64_t used;     /* bytes; bits of a bitmap */
    int64_t capacity; /* bytes */
};

/* One node of the values. */
struct bc_delta_column {
    const struct bc_field *field;
    int32_t end; /* the columns below it are those before this number */
    int64_t length;
    int64_t null_count;
    int64_t reached;             /* of indices: values of their dictionary */
    struct bc_growable validity; /* bits, once there is a null */
    struct bc_growable values;   /* of the second buffer; the first one of unions */
    struct bc_growable more;     /* text; sizes of list views; offsets of unions */
    struct bc_growable *chunks;  /* of views: their text; only the last one grows */
    size_t n_chunks, chunks_capacity;
    int64_t last_chunk_used; /* before the part that is being appended */
};

/* All columns, depth first, and the memory that they had before. */
struct bc_delta_columns {
    struct bc_delta_column *all;
    int32_t n;
    bool is_shared; /* batches may point into the memory: it must stay */
    void **retired;
    size_t n_retired, retired_capacity;
    uint64_t bytes;  /* of all rooms, and of what is retired */
    int64_t brought; /* bytes that the parts had, their bitmaps aside */
    int64_t ones;    /* bits of bitmaps that the parts had not */
};

/* Appends the part's nodes. EINVAL, ENOMEM: the columns are as they were, but for the
 * capacity of rooms. */
int bc__delta_columns_append(struct bc_delta_columns *columns,
                             const struct bc_batch *part);
void bc__delta_columns_finish(struct bc_delta_columns *columns);

#endif
