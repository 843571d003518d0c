/* A message opened where it stands: mapped, copied out of the file, or in the block of
 * messages that wait to be written. */
#ifndef BC_DISK_LOADED_MESSAGE_H
#define BC_DISK_LOADED_MESSAGE_H

#include "disk/disk.h"

/* A message, and what keeps it there. */
struct bc_opened {
    struct bc_region *region;
    const uint8_t *bytes;
    int64_t offset;
    int64_t size;
    struct bc_parts parts; /* none before bc__message_take_apart */
};

/* Opens the bytes [offset, offset + size) of the file, mapped or copied; their region is
 * the caller's to give up. */
int bc__message_open_part(struct bc_disk *disk, int64_t offset, int64_t size, bool copies,
                          struct bc_region **out_region, struct bc_error *error);
/* Opens a message, which the caller closes. */
int bc__message_open(struct bc_disk *disk, int64_t offset, int64_t size, bool copies,
                     struct bc_opened *out, struct bc_error *error);
void bc__message_close(struct bc_opened *message);
/* Reads the metadata of the message. With `checks` one that is none is a damaged one:
 * EBADMSG in place of EINVAL. */
int bc__message_take_apart(struct bc_opened *message, bool checks);
/* Gives `batch` the message that it was decoded from, whose region moves into it, and
 * room for `n` dictionaries, NULL yet, which go with it. ENOMEM. `out_dictionaries` may
 * be NULL. */
int bc__message_hold(struct bc_disk *disk, struct bc_batch *batch,
                     struct bc_opened *message, int32_t n,
                     struct bc_batch ***out_dictionaries);

#endif
