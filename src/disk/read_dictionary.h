/* The dictionaries of a batch that is read: decoded, put together, kept. */
#ifndef BC_DISK_READ_DICTIONARY_H
#define BC_DISK_READ_DICTIONARY_H

#include "disk/disk.h"

/* Reads dictionary number `which` for the batch at `offset`: its nodes go into `batch`,
 * and the reference that keeps them to `*held`, on failure too, unless that is NULL then.
 * The dictionaries in its values are there. What is held already is what the batch has of
 * another dictionary of that id. With `validates`, values with dictionaries in them are
 * looked at; `reason` says what is wrong with them. EINVAL: the file has none, or a
 * broken one; EBADMSG: its checksum is wrong; ENOMEM; EAGAIN: there is more to do than
 * `left` says (NULL: any), or another thread is at it. */
int bc__dictionary_read(struct bc_disk *disk, int32_t index, int64_t offset,
                        bool validates, int64_t *left, struct bc_batch *batch,
                        struct bc_batch **held, struct bc_error *reason);

#endif
