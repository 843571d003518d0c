/* A message opened where it stands: mapped, copied out of the file, or in the block of
 * messages that wait to be written. */
#ifndef BC_DISK_LOADED_MESSAGE_H
#define BC_DISK_LOADED_MESSAGE_H

#include "disk/disk.h"

/* A message, and what keeps it there. */
struct bc_loaded_message {
    struct bc_region *region;
    const uint8_t *bytes;
    struct bc_extent extent;
    struct bc_message parsed; /* none before bc__load_metadata */
};

/* Opens the extent of the file, mapped or copied; their region is
 * the caller's to give up. */
int bc__load_range(struct bc_disk *disk, struct bc_extent extent, bool copies,
                   struct bc_region **out_region, struct bc_error *error);
/* Opens a message, which the caller closes. */
int bc__load_message(struct bc_disk *disk, struct bc_extent extent, bool copies,
                     struct bc_loaded_message *out, struct bc_error *error);
void bc__unload_message(struct bc_loaded_message *message);
/* Reads the metadata of the message. With `checks` one that is none is a damaged one:
 * EBADMSG in place of EINVAL. */
int bc__load_metadata(struct bc_loaded_message *message, bool checks);
/* Gives `batch` the message that it was decoded from, whose region moves into it, and
 * room for `n` dictionaries, NULL yet, which go with it. ENOMEM. `out_dictionaries` may
 * be NULL. */
int bc__load_attach(struct bc_disk *disk, struct bc_batch *batch,
                    struct bc_loaded_message *message, int32_t n,
                    struct bc_batch ***out_dictionaries);

#endif
