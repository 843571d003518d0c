/* A file without an index, batch after batch: what open.c and walk.c share. */
#ifndef BC_DISK_WALK_H
#define BC_DISK_WALK_H

#include "disk/disk.h"

/* The dictionary's message that the scanner found is one of the file's. EINVAL, ENOMEM. */
int bc__walk_add_dictionary(struct bc_disk *disk, const struct bc_scan_result *result);
/* Looks at what a block of an Arrow file's footer says is a message of that kind, in a
 * file of `size` bytes. EINVAL: it is not; EBADMSG: it has another size; and as the scanner
 * fails. */
int bc__walk_look_at_block(struct bc_disk *disk, const struct bc_wire_block *block,
                           int64_t size, enum bc_scan_kind kind,
                           struct bc_scan_result *out);

#endif
