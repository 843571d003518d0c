/* The cache file: `cache.arrow`, locked, in a fresh private directory; append only.
 *
 * What is written is an Arrow IPC stream: the schema, then the batches. A message counts
 * when its append has returned 0; what a failed append left behind the end is overwritten
 * by the next one. Only the producer appends; anyone may ask for the size. */
#ifndef BC_DISK_FILE_H
#define BC_DISK_FILE_H

#include <stdatomic.h>

#include "base/sys.h"
#include "batchcorder/batchcorder.h"

struct bc_file {
    int dir;
    int file;
    char *dir_path;
    char *path;
    _Atomic int64_t size;
    uint64_t limit;
    int64_t process; /* which may remove the file */
};

/* Makes the directory and the empty file below `path`. */
int bc__file_create(struct bc_file *file, const char *path, uint64_t bytes_max,
                    struct bc_error *error);
/* Appends pieces of `size` bytes in all, at the end: `*out_offset`. ENOMEM: over the
 * limit; or the errno of the write. */
int bc__file_append(struct bc_file *file, const struct bc_piece *pieces, size_t n_pieces,
                    int64_t size, int64_t *out_offset, struct bc_error *error);
/* Cuts what a failed append left, removes the file and its directory (in the process that
 * made them), gives the descriptors back. Again, it does nothing. */
void bc__file_remove(struct bc_file *file);
/* Frees the paths too. */
void bc__file_finish(struct bc_file *file);

#endif
