/* Exports a batch as an ArrowArray: one allocation, and no copy of a buffer. */
#ifndef BC_REPLAY_EXPORT_H
#define BC_REPLAY_EXPORT_H

#include "arrow/batch.h"
#include "replay/borrow.h"

/* Exports the batch with the fields of `schema`. A consumer may move children out of the
 * array, and release all arrays in any order and on any thread.
 * `fields`: for each field the index of its node in the batch; NULL means the same index.
 * `borrow_list`: the list that gets the borrow, with its lock held. NULL means that the
 * caller's reference moves into the array, on success.
 * ENOMEM: no memory. */
int bc__export_batch(const struct bc_schema *schema, const int32_t *fields,
                     struct bc_batch *batch, struct bc_borrow_list *borrow_list,
                     struct ArrowArray *out_array);

#endif
