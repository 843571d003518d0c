/* Reads the dictionaries of a batch: decodes, concatenates and caches them. */
#ifndef BC_DISK_READ_DICTIONARY_H
#define BC_DISK_READ_DICTIONARY_H

#include "disk/disk.h"

/* Reads the dictionary at `index` for the batch at `offset`, and copies its nodes into
 * `batch`. Inner dictionaries must be in `batch`. `*held` gets the reference that keeps
 * the values, on failure too, unless it stays NULL. If `*held` is not NULL, another
 * dictionary with the same id was read before. With `validates`, values with inner
 * dictionaries are validated. `reason` gets the details of an invalid value. `left`
 * limits the work; NULL: no limit.
 * EINVAL: the file has no such dictionary, or an invalid one.
 * EBADMSG: its checksum does not match.
 * ENOMEM: out of memory.
 * EAGAIN: the work exceeds `left`, or another thread holds the chain lock. */
int bc__dictionary_read(struct bc_disk *disk, int32_t index, int64_t offset,
                        bool validates, int64_t *left, struct bc_batch *batch,
                        struct bc_batch **held, struct bc_error *reason);

#endif
