/* Scans the batches of a file without an index. open.c uses the parts declared here. */
#ifndef BC_DISK_SCAN_BATCHES_H
#define BC_DISK_SCAN_BATCHES_H

#include "disk/disk.h"

/* Adds the dictionary's message at the scanner's position. EINVAL, ENOMEM. */
int bc__scan_add_dictionary(struct bc_disk *disk, const struct bc_scan_result *result);
/* Scans the message that a block of an Arrow file's footer lists, in a file of `size`
 * bytes.
 * EINVAL: no message of this kind.
 * EBADMSG: the message has another size.
 * Other errnos: as bc__scanner_peek(). */
int bc__scan_block(struct bc_disk *disk, const struct bc_wire_block *block, int64_t size,
                   enum bc_scan_kind kind, struct bc_scan_result *out,
                   struct bc_error *error);

#endif
