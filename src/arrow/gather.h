/* Rows of several arrays, copied into one batch.
 *
 * Only layouts of a fixed width are copied: numbers, booleans, binaries of fixed size,
 * and structs and fixed-size lists of such values. The place of each row is known before
 * any row is copied. The arrays may therefore come in any order.
 *
 * Row r of an array has, in the array of one of its fields, the `scale` values from index
 * r * scale + shift on. The scale is a product of list sizes, and the shift is made of
 * the offsets of arrays. */
#ifndef BC_ARROW_GATHER_H
#define BC_ARROW_GATHER_H

#include "arrow/batch.h"

/* A row to copy. */
struct bc_gather_row {
    int64_t row;   /* index in its array */
    int64_t place; /* index in the new batch */
};

/* Returns the first column that has no fixed width, or -1. */
int32_t bc__gather_refused(const struct bc_schema *schema);

/* Makes a batch of `n` rows of the schema, of which bc__gather_refused refuses no column.
 * ENOMEM. */
int bc__gather_new(const struct bc_schema *schema, int64_t n,
                   struct bc_batch **out_batch);

/* Copies rows of a struct array of the schema to their places. */
void bc__gather_add(const struct bc_schema *schema, const struct ArrowArray *array,
                    const struct bc_gather_row *rows, int64_t n, struct bc_batch *batch);

/* Counts the nulls, once all rows are copied. */
void bc__gather_end(const struct bc_schema *schema, struct bc_batch *batch);

#endif
