/* What a damaged or hostile file may have wrong in a decoded batch.
 *
 * The decoder made sure that the buffers are as large as the lengths ask for, and that
 * the last offset stays within a binary field's data. Everything else that a consumer
 * takes on trust is looked at here: null counts, offsets, views, indices, type ids, run
 * ends, the lengths of children, text. In one pass, and nothing is allocated.
 *
 * Each array is checked for itself, in all its values: also those that no row of its
 * parent reaches, or only a null one. The words of an error name the field's path and,
 * where there is one, the row: from 0, of that field's own array. */
#ifndef BC_ARROW_VALIDATE_H
#define BC_ARROW_VALIDATE_H

#include "arrow/batch.h"
#include "arrow/projection.h"

/* Checks the columns of `projection` (NULL: all; nodes of the others are not looked at).
 * Of dictionaries' nodes only the lengths are read, for the indices into them. EINVAL. */
int bc__validate_batch(const struct bc_schema *schema,
                       const struct bc_projection *projection,
                       const struct bc_batch *batch, struct bc_error *error);

/* Checks the values of one dictionary: field number `values`, which is the `dictionary`
 * of its parent, and all below it. Indices into dictionaries further in are checked, so
 * that the nodes of these must be in the batch too. Flat values without a
 * dictionary may be the batch's only node. EINVAL. */
int bc__validate_dictionary(const struct bc_schema *schema, int32_t values,
                            const struct bc_batch *batch, struct bc_error *error);

#endif
