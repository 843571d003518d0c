#include "disk/trailer.h"

#include <string.h>

#include "base/check.h"
#include "ipc/checksum.h"

/* Version 2 has statistics. */
enum {
    VERSION = 1,
    VERSION_STATISTICS = 2,
    FLAG_CHECKSUMS = 1,
    TIE = 96,
    CHECKED = 112,
    ALIGNMENT = 64
};

static const char magic[8] = {'B', 'C', 'T', 'R', 'A', 'I', 'L', '1'};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "numbers are written as they are");

static int64_t int64_at(const uint8_t *bytes, size_t offset) {
    int64_t value;
    memcpy(&value, bytes + offset, sizeof(value));
    return value;
}

static void put_int64(uint8_t *bytes, size_t offset, int64_t value) {
    memcpy(bytes + offset, &value, sizeof(value));
}

int64_t bc__trailer_statistics_at(const struct bc_trailer *trailer) {
    return bc__round_up(bc__trailer_dictionary_at(trailer, trailer->dictionaries),
                        ALIGNMENT);
}

int64_t bc__trailer_file_size(const struct bc_trailer *trailer) {
    return bc__trailer_statistics_at(trailer) + trailer->statistics_bytes +
           BC_TRAILER_FOOTER;
}

void bc__trailer_put_batch(uint8_t *out, const struct bc_trailer_batch *batch,
                           int64_t number) {
    put_int64(out, 0, batch->offset);
    put_int64(out, 8, batch->size);
    put_int64(out, 16, batch->first_row);
    put_int64(out, 24, (int64_t)bc__checksum_seeded(out, 24, (uint64_t)number));
}

void bc__trailer_put_dictionary(uint8_t *out,
                                const struct bc_trailer_dictionary *dictionary,
                                int64_t number) {
    put_int64(out, 0, dictionary->offset);
    put_int64(out, 8, dictionary->size);
    put_int64(out, 16, dictionary->length);
    put_int64(out, 24, (int64_t)dictionary->id * 2 + (dictionary->is_delta ? 1 : 0));
    put_int64(out, 32, (int64_t)bc__checksum_seeded(out, 32, (uint64_t)number));
}

void bc__trailer_put_footer(uint8_t *out, const struct bc_trailer *trailer) {
    memset(out, 0, BC_TRAILER_FOOTER);
    const int32_t head[2] = {trailer->statistics_bytes > 0 ? VERSION_STATISTICS : VERSION,
                             trailer->checksums ? FLAG_CHECKSUMS : 0};
    memcpy(out, magic, sizeof(magic));
    memcpy(out + 8, head, sizeof(head));
    put_int64(out, 16, trailer->end);
    put_int64(out, 24, trailer->schema_bytes);
    put_int64(out, 32, trailer->batches);
    put_int64(out, 40, trailer->rows);
    put_int64(out, 48, trailer->bytes);
    put_int64(out, 56, trailer->dictionaries);
    put_int64(out, 64, (int64_t)trailer->schema_checksum);
    put_int64(out, 72, trailer->statistics_bytes);
    put_int64(out, 80, trailer->statistics_schema_bytes);
    put_int64(out, 88, (int64_t)trailer->statistics_schema_checksum);
    put_int64(out, TIE, (int64_t)trailer->statistics_checksum);
    put_int64(out, CHECKED, (int64_t)bc__checksum(out, CHECKED));
    memcpy(out + 120, magic, sizeof(magic));
}

uint64_t bc__trailer_tie(const struct bc_trailer *trailer, const void *metadata,
                         size_t size) {
    uint8_t footer[BC_TRAILER_FOOTER];
    bc__trailer_put_footer(footer, trailer);
    return bc__checksum_seeded(metadata, size, bc__checksum(footer, TIE));
}

/* Returns whether the extent is in the stream, after its schema. */
static bool is_in_stream(const struct bc_trailer *trailer, int64_t offset, int64_t size) {
    return offset >= trailer->schema_bytes && size > 0 && offset % ALIGNMENT == 0 &&
           offset <= trailer->end && size <= trailer->end - offset;
}

bool bc__trailer_get_batch(const struct bc_trailer *trailer, const uint8_t *bytes,
                           int64_t number, struct bc_trailer_batch *out_batch) {
    bc_assert(number >= 0 && number < trailer->batches);
    if ((uint64_t)int64_at(bytes, 24) !=
        bc__checksum_seeded(bytes, 24, (uint64_t)number)) {
        return false;
    }
    *out_batch = (struct bc_trailer_batch){int64_at(bytes, 0), int64_at(bytes, 8),
                                           int64_at(bytes, 16)};
    return is_in_stream(trailer, out_batch->offset, out_batch->size) &&
           out_batch->first_row >= 0 && out_batch->first_row <= trailer->rows;
}

bool bc__trailer_get_dictionary(const struct bc_trailer *trailer, const uint8_t *bytes,
                                int64_t number,
                                struct bc_trailer_dictionary *out_dictionary) {
    bc_assert(number >= 0 && number < trailer->dictionaries);
    if ((uint64_t)int64_at(bytes, 32) !=
        bc__checksum_seeded(bytes, 32, (uint64_t)number)) {
        return false;
    }
    int64_t id_and_delta = int64_at(bytes, 24);
    if (id_and_delta < 0 || id_and_delta / 2 > INT32_MAX) return false;
    *out_dictionary = (struct bc_trailer_dictionary){
        .offset = int64_at(bytes, 0),
        .size = int64_at(bytes, 8),
        .length = int64_at(bytes, 16),
        .id = (int32_t)(id_and_delta / 2),
        .is_delta = id_and_delta % 2 != 0,
    };
    return is_in_stream(trailer, out_dictionary->offset, out_dictionary->size) &&
           out_dictionary->length >= 0;
}

/* Parses a footer. Returns false if it is invalid or does not fit a file of `size` bytes.
 */
static bool parse_footer(const uint8_t *bytes, int64_t size, struct bc_trailer *out) {
    int32_t head[2];
    memcpy(head, bytes + 8, sizeof(head));
    if (memcmp(bytes, magic, sizeof(magic)) != 0 ||
        memcmp(bytes + 120, magic, sizeof(magic)) != 0 ||
        (head[0] != VERSION && head[0] != VERSION_STATISTICS) ||
        (uint64_t)int64_at(bytes, CHECKED) != bc__checksum(bytes, CHECKED)) {
        return false;
    }
    *out = (struct bc_trailer){
        .end = int64_at(bytes, 16),
        .schema_bytes = int64_at(bytes, 24),
        .batches = int64_at(bytes, 32),
        .rows = int64_at(bytes, 40),
        .bytes = int64_at(bytes, 48),
        .dictionaries = int64_at(bytes, 56),
        .schema_checksum = (uint64_t)int64_at(bytes, 64),
        .checksums = (head[1] & FLAG_CHECKSUMS) != 0,
    };
    if (head[0] == VERSION_STATISTICS) {
        out->statistics_bytes = int64_at(bytes, 72);
        out->statistics_schema_bytes = int64_at(bytes, 80);
        out->statistics_schema_checksum = (uint64_t)int64_at(bytes, 88);
        out->statistics_checksum = (uint64_t)int64_at(bytes, TIE);
    }
    int64_t statistics = out->statistics_bytes;
    if (statistics < 0 || statistics > size || statistics % ALIGNMENT != 0 ||
        out->statistics_schema_bytes < 0 || out->statistics_schema_bytes > statistics) {
        return false;
    }
    /* Sums of the numbers must not overflow. */
    if (size > INT64_MAX / 4 || (out->batches == 0 && out->rows != 0)) return false;
    return out->end > 0 && out->end < size && out->end % ALIGNMENT == 0 &&
           out->schema_bytes > 0 && out->schema_bytes <= out->end && out->batches >= 0 &&
           out->batches <= size / BC_TRAILER_BATCH && out->rows >= 0 && out->bytes >= 0 &&
           out->dictionaries >= 0 && out->dictionaries <= size / BC_TRAILER_DICTIONARY &&
           bc__trailer_file_size(out) == size;
}

int bc__trailer_read(const struct bc_file *file, int64_t size,
                     struct bc_trailer *out_trailer, bool *out_complete,
                     struct bc_error *error) {
    *out_complete = false;
    if (size < BC_TRAILER_MARKER + BC_TRAILER_FOOTER) return 0;
    uint8_t footer[BC_TRAILER_FOOTER];
    size_t got;
    int code = bc__file_read(file, footer, sizeof(footer), size - BC_TRAILER_FOOTER, &got,
                             error);
    if (code != 0) return code;
    struct bc_trailer trailer;
    if (got != sizeof(footer) || !parse_footer(footer, size, &trailer)) return 0;
    static const uint8_t end_of_stream[8] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    uint8_t marker[sizeof(end_of_stream)];
    code = bc__file_read(file, marker, sizeof(marker), trailer.end, &got, error);
    if (code != 0) return code;
    if (got != sizeof(marker) || memcmp(marker, end_of_stream, sizeof(marker)) != 0) {
        return 0;
    }
    if (!bc__file_is_whole(file, trailer.end, size)) return 0;
    *out_trailer = trailer;
    *out_complete = true;
    return 0;
}
