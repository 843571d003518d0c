/* A batch as an ArrowArray for a consumer: one allocation, no buffer copied. */
#ifndef BC_REPLAY_EXPORT_H
#define BC_REPLAY_EXPORT_H

#include "arrow/batch.h"

/* Exports the batch, whose reference moves into the array on success. The array's
 * children may be moved out, and all released in any order and on any thread. ENOMEM. */
int bc__export_batch(const struct bc_schema *schema, struct bc_batch *batch,
                     struct ArrowArray *out_array);

#endif
