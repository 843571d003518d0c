/* The trailer of a complete recording: where its messages are (docs/file-format.md).
 *
 *     stream | marker, zeros to 64 | n batch entries | m dictionary entries | footer
 *            E                     E + 64                                   size - 128
 *
 * The marker is written last, so a trailer whose marker stands is whole. Entries carry
 * their own checksums and are read one at a time: opening takes no longer for many. */
#ifndef BC_DISK_TRAILER_H
#define BC_DISK_TRAILER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sys.h"

enum {
    BC_TRAILER_MARKER = 64, /* bytes of the marker and the zeros behind it */
    BC_TRAILER_BATCH = 32,  /* bytes of an entry */
    BC_TRAILER_DICTIONARY = 40,
    BC_TRAILER_FOOTER = 128
};

/* What the footer says. */
struct bc_trailer {
    int64_t end; /* of the stream: where the marker is */
    int64_t schema_bytes;
    int64_t batches;
    int64_t rows;
    int64_t bytes; /* that the batches reference */
    int64_t dictionaries;
    uint64_t schema_checksum;
    bool checksums;
};

struct bc_trailer_batch {
    int64_t offset;
    int64_t size;
    int64_t first_row;
};

struct bc_trailer_dictionary {
    int64_t offset;
    int64_t size;
    int64_t length;
    int32_t id;
    bool is_delta;
};

/* Where an entry is in the file. */
static inline int64_t bc__trailer_batch_at(const struct bc_trailer *trailer,
                                           int64_t number) {
    return trailer->end + BC_TRAILER_MARKER + number * BC_TRAILER_BATCH;
}
static inline int64_t bc__trailer_dictionary_at(const struct bc_trailer *trailer,
                                                int64_t number) {
    return bc__trailer_batch_at(trailer, trailer->batches) +
           number * BC_TRAILER_DICTIONARY;
}
/* Of the whole file. */
int64_t bc__trailer_file_size(const struct bc_trailer *trailer);

/* The bytes of entries and footer; `out` has room for them. */
void bc__trailer_put_batch(uint8_t *out, const struct bc_trailer_batch *batch,
                           int64_t number);
void bc__trailer_put_dictionary(uint8_t *out,
                                const struct bc_trailer_dictionary *dictionary,
                                int64_t number);
void bc__trailer_put_footer(uint8_t *out, const struct bc_trailer *trailer);

/* Reads entry `number` at `bytes`: false where it is not what was written, or points
 * outside of the stream. */
bool bc__trailer_get_batch(const struct bc_trailer *trailer, const uint8_t *bytes,
                           int64_t number, struct bc_trailer_batch *out_batch);
bool bc__trailer_get_dictionary(const struct bc_trailer *trailer, const uint8_t *bytes,
                                int64_t number,
                                struct bc_trailer_dictionary *out_dictionary);

/* Looks for a trailer in a file of `size` bytes: `*out_complete`, and what it says. An
 * errno is one of reading. */
int bc__trailer_read(int file, int64_t size, struct bc_trailer *out_trailer,
                     bool *out_complete);

#endif
