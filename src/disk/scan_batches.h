/* A file without an index, batch after batch: shared by open.c and scan_batches.c. */
#ifndef BC_DISK_SCAN_BATCHES_H
#define BC_DISK_SCAN_BATCHES_H

#include "disk/disk.h"

/* The dictionary's message that the scanner found is one of the file's. EINVAL, ENOMEM.
 */
int bc__scan_add_dictionary(struct bc_disk *disk, const struct bc_scan_result *result);
/* Looks at what a block of an Arrow file's footer says is a message of that kind, in a
 * file of `size` bytes. EINVAL: it is not; EBADMSG: it has another size; and as the
 * scanner fails. */
int bc__scan_block(struct bc_disk *disk, const struct bc_wire_block *block, int64_t size,
                   enum bc_scan_kind kind, struct bc_scan_result *out);

#endif
