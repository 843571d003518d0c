/* Some of a stream's columns: the schema that they make, and where each of its fields is
 * among those of the stream. Immutable; counted by nobody: its reader owns it. */
#ifndef BC_ARROW_PROJECTION_H
#define BC_ARROW_PROJECTION_H

#include "arrow/schema.h"

struct bc_projection {
    struct bc_schema *schema;
    int32_t *fields;   /* for each field of `schema`, its number in the stream's */
    uint64_t *columns; /* which of the stream's columns are wanted: a bit each */
    size_t n_words;    /* of `columns` */
    int32_t n_columns; /* of the stream */
};

/* Of columns number `columns[0..n_columns)`, in that order; one may stand there twice.
 * EINVAL: a number that is none, said in words; ENOMEM. */
int bc__projection_new(const struct bc_schema *schema, const int32_t *columns,
                       int64_t n_columns, struct bc_projection **out_projection,
                       struct bc_error *error);
/* NULL is accepted. */
void bc__projection_free(struct bc_projection *projection);

/* `projection` NULL: all columns. */
static inline bool bc__projection_has(const struct bc_projection *projection,
                                      int32_t column) {
    return projection == NULL || (projection->columns[column / 64] >> (column % 64) & 1);
}

#endif
