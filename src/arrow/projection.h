/* Selected columns of a stream: their schema, and the index of each of its fields among
 * the stream's fields. A projection is immutable, and one reader owns it. */
#ifndef BC_ARROW_PROJECTION_H
#define BC_ARROW_PROJECTION_H

#include "arrow/schema.h"

struct bc_projection {
    struct bc_schema *schema;
    int32_t *fields;   /* for each field of `schema`: its index in the stream's schema */
    uint64_t *columns; /* a bit for each of the stream's columns: is it selected? */
    size_t n_words;    /* of `columns` */
    int32_t n_columns; /* of the stream */
};

/* Makes a projection.
 *
 * `columns`: indices of `n_columns` columns, in the order of the new schema. An index may
 * occur twice.
 * EINVAL: an index is out of range.
 * ENOMEM. */
int bc__projection_new(const struct bc_schema *schema, const int32_t *columns,
                       int64_t n_columns, struct bc_projection **out_projection,
                       struct bc_error *error);
/* Frees it; NULL is allowed. */
void bc__projection_free(struct bc_projection *projection);

/* Returns whether it has the column. `projection`: NULL means all columns. */
static inline bool bc__projection_has(const struct bc_projection *projection,
                                      int32_t column) {
    return projection == NULL || (projection->columns[column / 64] >> (column % 64) & 1);
}

#endif
