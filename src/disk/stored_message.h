/* Messages of a file with a storage: the parts that a reader needs are read into memory.
 */
#ifndef BC_DISK_STORED_MESSAGE_H
#define BC_DISK_STORED_MESSAGE_H

#include "disk/disk.h"
#include "disk/loaded_message.h"

/* Returns the range in which the metadata of a batch's message is expected. */
struct bc_range bc__stored_head(const struct bc_disk *disk, struct bc_extent extent);
/* Reads the metadata of a message, and lists the ranges of the file that the columns of
 * the projection need, as bc__column_ranges() does.
 * EINVAL: the message is invalid, or its metadata is longer than expected. */
int bc__stored_columns(struct bc_disk *disk, struct bc_extent extent,
                       const struct bc_projection *projection,
                       struct bc_range **out_ranges, size_t *out_n);
/* Reads the message of batch `number`: its metadata, and the columns of the projection.
 * Other bytes are zeros. Starts to read ahead. The caller calls
 * bc__unload_message(). */
int bc__stored_load(struct bc_disk *disk, struct bc_extent extent, uint64_t number,
                    const struct bc_tier_read *request, struct bc_loaded_message *out,
                    struct bc_error *error);

#endif
