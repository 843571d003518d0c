/* Validates decoded batches of damaged or hostile files.
 *
 * The decoder has checked the sizes of buffers, and the last offset of binary data. This
 * file checks the rest that a consumer relies on: null counts, offsets, views, indices,
 * type ids, run ends, lengths of children, and text. It needs one pass and no memory.
 *
 * All values of each array are checked. This includes values that only a null row, or no
 * row, of the parent reaches. An error names the field's path, and the row if there is
 * one. Rows count from 0 in the field's own array. */
#ifndef BC_ARROW_VALIDATE_H
#define BC_ARROW_VALIDATE_H

#include "arrow/batch.h"
#include "arrow/projection.h"

/* Validates the selected columns of a batch. Of the nodes of dictionaries, only the
 * lengths are read: indices must be below them.
 * `projection`: NULL means all columns. Nodes of other columns are not read.
 * EINVAL: a value is invalid. */
int bc__validate_batch(const struct bc_schema *schema,
                       const struct bc_projection *projection,
                       const struct bc_batch *batch, struct bc_error *error);

/* Validates the values of a dictionary, with all fields below them.
 *
 * `values`: index of the field of the values.
 * `batch`: has the nodes of all fields, since indices into inner dictionaries are checked
 * too. If the values are flat and not dictionary-encoded, it may have one node only.
 * EINVAL: a value is invalid. */
int bc__validate_dictionary(const struct bc_schema *schema, int32_t values,
                            const struct bc_batch *batch, struct bc_error *error);

#endif
