/* The words for what is wrong with a file. Each returns the errno that it gives. */
#ifndef BC_DISK_ERRORS_H
#define BC_DISK_ERRORS_H

#include "disk/disk.h"

/* "cache file" where it is one, else "file". */
const char *bc__disk_noun(const struct bc_disk *disk);
/* A message at byte `at` could not be taken: EINVAL, it is none; EBADMSG, the footer says
 * another size; ENOTSUP, its metadata is too old; or an errno of reading. */
int bc__disk_error_scan(const struct bc_disk *disk, int code, int64_t at,
                        struct bc_error *error);
/* The system failed with `code` (or there is no memory). */
int bc__disk_error_reading(const struct bc_disk *disk, int code, struct bc_error *error);
/* What stands at a byte is no message: EBADMSG. */
int bc__disk_error_message(const struct bc_disk *disk, int64_t at,
                           struct bc_error *error);
/* Something is missing at its end: ENODATA. */
int bc__disk_error_incomplete(const struct bc_disk *disk, struct bc_error *error);
/* A part, such as "the schema", is not what its checksum says: EBADMSG. */
int bc__disk_error_checksum(const struct bc_disk *disk, const char *part,
                            struct bc_error *error);
/* Decoding batch `number` gave `code`, which may be 0. */
int bc__disk_error_batch(const struct bc_disk *disk, int code, uint64_t number,
                         struct bc_error *error);

#endif
