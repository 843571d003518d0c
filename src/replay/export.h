/* A batch as an ArrowArray for a consumer: one allocation, no buffer copied. */
#ifndef BC_REPLAY_EXPORT_H
#define BC_REPLAY_EXPORT_H

#include "arrow/batch.h"
#include "replay/borrow.h"

/* Exports the batch as `schema` has it, whose field i is the batch's node `fields[i]`
 * (NULL: node i). With a borrow_list, whose lock is held, it is lent; without one the
 * caller's reference moves into the array, on success. The array's children may be moved
 * out, and all released in any order and on any thread. ENOMEM. */
int bc__export_batch(const struct bc_schema *schema, const int32_t *fields,
                     struct bc_batch *batch, struct bc_borrow_list *borrow_list,
                     struct ArrowArray *out_array);

#endif
