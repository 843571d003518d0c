/* Recognises files of other formats than Arrow's, for an error's message. */
#ifndef BC_IPC_OTHER_FORMATS_H
#define BC_IPC_OTHER_FORMATS_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of a file's beginning that are compared. */
enum { BC_FORMAT_HEAD = 512 };

struct bc_other_format {
    const char *name;   /* "a Parquet file"; NULL: not recognised */
    const char *advice; /* how to record the data of such a file */
};

/* Returns the format of a file that begins with the `size` bytes of `head`. */
struct bc_other_format bc__other_format(const uint8_t *head, size_t size);

#endif
