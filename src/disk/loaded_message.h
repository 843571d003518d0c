/* A message in memory: mapped, copied from the file, or in the block of waiting messages.
 */
#ifndef BC_DISK_LOADED_MESSAGE_H
#define BC_DISK_LOADED_MESSAGE_H

#include "disk/disk.h"

/* A message, and the region that keeps its bytes. */
struct bc_loaded_message {
    struct bc_region *region;
    const uint8_t *bytes;
    struct bc_extent extent;
    struct bc_message parsed; /* unset before bc__load_metadata() */
};

/* Maps or copies the extent of the file. The caller releases the region. */
int bc__load_range(struct bc_disk *disk, struct bc_extent extent, bool copies,
                   struct bc_region **out_region, struct bc_error *error);
/* Loads a message. The caller calls bc__unload_message(). */
int bc__load_message(struct bc_disk *disk, struct bc_extent extent, bool copies,
                     struct bc_loaded_message *out, struct bc_error *error);
/* Loads the message of a batch: into memory of its own if the disk is writable. */
int bc__load_batch(struct bc_disk *disk, struct bc_extent extent,
                   struct bc_loaded_message *out, struct bc_error *error);
void bc__unload_message(struct bc_loaded_message *message);
/* Loads a message, and compares its checksum.
 * EBADMSG: they differ. The error message names the message as `part`. */
int bc__load_check(struct bc_disk *disk, struct bc_extent extent, uint64_t checksum,
                   const char *part, struct bc_error *error);
/* Parses the metadata of the message. With `checks`, invalid metadata is EBADMSG instead
 * of EINVAL. */
int bc__load_metadata(struct bc_loaded_message *message, bool checks);
/* Moves the region of the message into `batch`, which was decoded from it. Adds `n`
 * entries for dictionaries, all NULL, which are released with the batch.
 * `out_dictionaries` may be NULL.
 * ENOMEM: out of memory. */
int bc__load_attach(struct bc_disk *disk, struct bc_batch *batch,
                    struct bc_loaded_message *message, int32_t n,
                    struct bc_batch ***out_dictionaries);

#endif
