/* The columns of delta values: growing memory, to which each part is appended. */
#ifndef BC_IPC_DELTA_COLUMNS_H
#define BC_IPC_DELTA_COLUMNS_H

#include "arrow/batch.h"

/* Growing memory. */
struct bc_growable {
    uint8_t *data;
    int64_t used;     /* bytes; of a bitmap, bits */
    int64_t capacity; /* bytes */
};

/* One node of the values. */
struct bc_delta_column {
    const struct bc_field *field;
    int32_t end; /* the columns after this one and before `end` are below it */
    int64_t length;
    int64_t null_count;
    int64_t reached;             /* of indices: the dictionary values that they reach */
    struct bc_growable validity; /* bits; used once there is a null */
    struct bc_growable values;   /* the second buffer; of unions, the first */
    struct bc_growable more;     /* text, sizes of list views, or offsets of unions */
    struct bc_growable *chunks;  /* text of views; only the last chunk grows */
    size_t n_chunks, chunks_capacity;
    int64_t last_chunk_used; /* before the part that is being appended */
};

/* All columns, depth first, and their retired memory. */
struct bc_delta_columns {
    struct bc_delta_column *all;
    int32_t n;
    bool is_shared; /* batches may point into the memory: it must stay valid */
    void **retired; /* memory that was replaced while it was shared */
    size_t n_retired, retired_capacity;
    uint64_t bytes;     /* capacity of all memory, retired memory included */
    int64_t part_bytes; /* bytes of the parts' buffers, without bitmaps */
    int64_t ones;       /* bits that were added for omitted bitmaps of parts */
};

/* Appends the nodes of a part. After a failure, the columns have the same values as
 * before. Only their capacity may be larger.
 * EINVAL: the part is invalid, or too large for the type's offsets.
 * ENOMEM. */
int bc__delta_columns_append(struct bc_delta_columns *columns,
                             const struct bc_batch *part);
void bc__delta_columns_finish(struct bc_delta_columns *columns);

#endif
