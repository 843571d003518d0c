/* The parts of a message that some of its columns need. */
#ifndef BC_IPC_COLUMN_RANGES_H
#define BC_IPC_COLUMN_RANGES_H

#include "arrow/projection.h"
#include "ipc/message.h"

/* Lists the ranges of the body that the columns of `projection` need, in order. A range
 * includes the padding that a checksum covers. An offset counts from the start of the
 * message. The function reads only the message's metadata. A small body has one range,
 * because it has one checksum.
 *
 * `out_ranges`: the caller frees it with bc__free(); NULL if `*out_n` is 0.
 * EINVAL: the message is invalid.
 * ENOMEM. */
int bc__column_ranges(const struct bc_schema *schema,
                      const struct bc_projection *projection,
                      const struct bc_message *message, struct bc_range **out_ranges,
                      size_t *out_n);

#endif
