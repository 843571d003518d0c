/* The trailer of a complete recording: the index of its messages (docs/file-format.md).
 *
 *     stream | marker, zeros to 64 | n batch entries | m dictionary entries, zeros to 64
 *            E                     E + 64
 *     statistics | footer
 *                size - 128
 *
 * The marker is written last, so a trailer with its marker is whole. Each entry has its
 * own checksum. An entry of a batch is read with its batch, so many batches do not delay
 * the opening. All entries of dictionaries are read at the opening. */
#ifndef BC_DISK_TRAILER_H
#define BC_DISK_TRAILER_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/file.h"

enum {
    BC_TRAILER_MARKER = 64, /* bytes of the marker and its zeros */
    BC_TRAILER_BATCH = 32,  /* bytes of an entry */
    BC_TRAILER_DICTIONARY = 40,
    BC_TRAILER_FOOTER = 128
};

/* The contents of the footer. */
struct bc_trailer {
    int64_t end; /* the end of the stream, where the marker is */
    int64_t schema_bytes;
    int64_t batches;
    int64_t rows;
    int64_t bytes; /* bytes that the batches reference */
    int64_t dictionaries;
    uint64_t schema_checksum;
    bool checksums;
    int64_t statistics_bytes;        /* of the statistics; 0: none */
    int64_t statistics_schema_bytes; /* of their schema's message */
    uint64_t statistics_schema_checksum;
    uint64_t statistics_checksum; /* ties them to this recording */
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

/* Returns the offset of an entry in the file. */
static inline int64_t bc__trailer_batch_at(const struct bc_trailer *trailer,
                                           int64_t number) {
    return trailer->end + BC_TRAILER_MARKER + number * BC_TRAILER_BATCH;
}
static inline int64_t bc__trailer_dictionary_at(const struct bc_trailer *trailer,
                                                int64_t number) {
    return bc__trailer_batch_at(trailer, trailer->batches) +
           number * BC_TRAILER_DICTIONARY;
}
/* Returns the checksum that ties statistics to the recording of the trailer.
 * `metadata`: `size` bytes before the body of their batch. They have the checksums of the
 * body. */
uint64_t bc__trailer_tie(const struct bc_trailer *trailer, const void *metadata,
                         size_t size);
/* Returns the offset of the statistics. */
int64_t bc__trailer_statistics_at(const struct bc_trailer *trailer);
/* Returns the size of the whole file. */
int64_t bc__trailer_file_size(const struct bc_trailer *trailer);

/* Encodes an entry or the footer into `out`, which is large enough. */
void bc__trailer_put_batch(uint8_t *out, const struct bc_trailer_batch *batch,
                           int64_t number);
void bc__trailer_put_dictionary(uint8_t *out,
                                const struct bc_trailer_dictionary *dictionary,
                                int64_t number);
void bc__trailer_put_footer(uint8_t *out, const struct bc_trailer *trailer);

/* Decodes entry `number` at `bytes`. Returns false if its checksum does not match, or if
 * its extent is outside of the stream. */
bool bc__trailer_get_batch(const struct bc_trailer *trailer, const uint8_t *bytes,
                           int64_t number, struct bc_trailer_batch *out_batch);
bool bc__trailer_get_dictionary(const struct bc_trailer *trailer, const uint8_t *bytes,
                                int64_t number,
                                struct bc_trailer_dictionary *out_dictionary);

/* Reads the trailer of a file of `size` bytes. `*out_complete`: the file has a valid
 * trailer, and `*out_trailer` is set. Fails as bc__file_read() does. */
int bc__trailer_read(const struct bc_file *file, int64_t size,
                     struct bc_trailer *out_trailer, bool *out_complete,
                     struct bc_error *error);

#endif
