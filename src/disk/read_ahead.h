/* Reads ahead of readers that read a storage in order.
 *
 * A reader of all columns needs one range after the other. A reader of some columns
 * needs the metadata of a batch before its columns can be found:
 *
 *     batches     number   ...   columns_to   ...   metadata_to
 *                 read now   columns started    metadata started
 *
 * A few readers are remembered, each by the batch that it needs next. */
#ifndef BC_DISK_READ_AHEAD_H
#define BC_DISK_READ_AHEAD_H

#include "disk/disk.h"

/* ENOMEM. */
int bc__read_ahead_new(struct bc_read_ahead **out_ahead);
/* NULL is accepted. */
void bc__read_ahead_free(struct bc_read_ahead *ahead);

/* Starts to read the batches after batch `number`, up to the request's `stop`. A reader
 * reads batch `number` at `extent` now. If it reads in another order, does nothing. Does
 * not wait.
 * Failures are ignored: the data is read when it is needed. */
void bc__read_ahead(struct bc_disk *disk, uint64_t number, struct bc_extent extent,
                    const struct bc_tier_read *request);

#endif
