/* Files of formats that are no Arrow streams or files: recognised, for an error's words.
 */
#ifndef BC_IPC_OTHER_FORMATS_H
#define BC_IPC_OTHER_FORMATS_H

#include <stddef.h>
#include <stdint.h>

/* How much of a file's beginning tells its format. */
enum { BC_FORMAT_HEAD = 512 };

struct bc_other_format {
    const char *name;   /* "a Parquet file"; NULL: not recognised */
    const char *advice; /* what to do with it */
};

/* The format of a file that begins with the `size` bytes of `head`. */
struct bc_other_format bc__other_format(const uint8_t *head, size_t size);

#endif
