/* A valid recording with some bytes changed, whose checksums are then made right again,
 * so that what they hide is reached.
 *
 * The input:
 *
 *     byte 0   which recording
 *     byte 1   flags, below
 *     then, 6 bytes each: part, offset (2), what to do, value (2)
 *
 * A part is the head or the body of a message, all entries of the trailer, or its footer.
 * The messages of the statistics come last. Part and offset count modulo their counts. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consume.h"
#include "disk/trailer.h"
#include "ipc/checksum.h"
#include "ipc/message.h"
#include "read.h"
#include "sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FLAGS_LEAVE = 7,    /* all three bits: the checksums are not corrected */
    FLAG_STREAM = 8,    /* the trailer is removed */
    FLAG_UNCHECKED = 16 /* the key of the checksums is renamed */
};
enum { EDIT = 6, PARTS_MAX = 256, EDITS_MAX = 64 };

struct part {
    size_t offset;
    size_t size;
};

/* A recording and its parts, in the order of the file. Only the footer comes before the
 * statistics. */
struct original {
    uint8_t *bytes;
    size_t size;
    struct bc_trailer trailer;
    struct part messages[PARTS_MAX];
    size_t n_messages;
    struct part parts[PARTS_MAX];
    size_t n_parts;
};

static struct original originals[SAMPLES];

static void add_part(struct original *original, size_t offset, size_t size) {
    FUZZ_CHECK(original->n_parts < PARTS_MAX && offset + size <= original->size);
    if (size > 0) original->parts[original->n_parts++] = (struct part){offset, size};
}

static void add_message(struct original *original, size_t offset, size_t *out_end) {
    struct bc_frame frame;
    struct bc_wire_head head;
    const uint8_t *message = original->bytes + offset;
    FUZZ_CHECK(bc__frame_parse(message, 8, &frame) == 0);
    FUZZ_CHECK(bc__metadata_peek(message + frame.metadata, (size_t)frame.metadata_size,
                                 &head) == 0);
    size_t before = (size_t)(frame.metadata + frame.metadata_size);
    size_t body = (size_t)head.body_bytes;
    FUZZ_CHECK(original->n_messages < PARTS_MAX);
    original->messages[original->n_messages++] = (struct part){offset, before + body};
    add_part(original, offset, before);
    add_part(original, offset + before, body);
    *out_end = offset + before + body;
}

static void look_at(struct original *original, int number) {
    original->bytes = fuzz_sample(number, &original->size);
    const uint8_t *footer = original->bytes + original->size - BC_TRAILER_FOOTER;
    int64_t numbers[9];
    memcpy(numbers, footer + 16, sizeof(numbers));
    original->trailer = (struct bc_trailer){
        .end = numbers[0],
        .schema_bytes = numbers[1],
        .batches = numbers[2],
        .dictionaries = numbers[5],
        .statistics_bytes = numbers[7],
        .statistics_schema_bytes = numbers[8],
    };
    size_t end = (size_t)original->trailer.end;
    for (size_t at = 0; at < end;) add_message(original, at, &at);
    size_t entries = end + BC_TRAILER_MARKER;
    size_t statistics = (size_t)bc__trailer_statistics_at(&original->trailer);
    add_part(original, entries, statistics - entries);
    size_t at_footer = original->size - BC_TRAILER_FOOTER;
    add_part(original, at_footer, BC_TRAILER_FOOTER);
    for (size_t at = statistics; at < at_footer;) add_message(original, at, &at);
}

/* ---- damage ---- */

static void put(uint8_t *part, size_t size, size_t at, const void *value, size_t width) {
    at -= at % width;
    if (at + width <= size) memcpy(part + at, value, width);
}

static void edit(const struct original *original, uint8_t *bytes, const uint8_t *with) {
    static const int64_t special[] = {0,         1,         -1,        2,       3,
                                      INT32_MAX, INT32_MIN, INT64_MAX, 1 << 20, INT64_MIN,
                                      4,         8,         64,        7,       16};
    const struct part *part = &original->parts[with[0] % original->n_parts];
    uint8_t *to = bytes + part->offset;
    uint16_t place;
    uint16_t value;
    memcpy(&place, with + 1, sizeof(place));
    memcpy(&value, with + 4, sizeof(value));
    size_t at = place % part->size;
    int64_t number = special[value % (sizeof(special) / sizeof(special[0]))];
    const int32_t small = (int32_t)number;
    switch (with[3] % 8) {
        case 0:
            to[at] ^= (uint8_t)value;
            return;
        case 1:
            to[at] = (uint8_t)value;
            return;
        case 2:
            put(to, part->size, at, &small, sizeof(small));
            return;
        case 3:
            put(to, part->size, at, &number, sizeof(number));
            return;
        case 4:
            number = value;
            put(to, part->size, at, &number, sizeof(number));
            return;
        case 5:
            put(to, part->size, at, &value, sizeof(value));
            return;
        case 6:
            /* Copies bytes from another offset of the part. */
            memcpy(&number, to + (size_t)value % part->size / 8 * 8,
                   part->size < 8 ? 0 : sizeof(number));
            put(to, part->size, at, &number, sizeof(number));
            return;
        default:
            if (at + value % 64 <= part->size) memset(to + at, with[5], value % 64);
    }
}

/* ---- checksums ---- */

static void print(const char *digits, uint64_t checksum) {
    bc__checksum_print((char *)(uintptr_t)digits, checksum);
}

static void seal_body(const struct bc_wire_batch *wire, const uint8_t *body) {
    const char *digits = wire->checksums + BC_DIGITS;
    size_t n = wire->checksums_size / BC_DIGITS - 1;
    if (wire->body_bytes <= BC_SMALL_BODY_BYTES) {
        if (n > 0) print(digits, bc__checksum(body, (size_t)wire->body_bytes));
        return;
    }
    for (size_t i = 0; i < n && i < wire->n_buffers; i++) {
        struct bc_wire_buffer buffer = bc__wire_buffer(wire, i);
        if (buffer.offset < 0 || buffer.length < 0 || buffer.length > wire->body_bytes) {
            continue;
        }
        size_t padded = ((size_t)buffer.length + 63) & ~(size_t)63;
        if (buffer.offset > wire->body_bytes - (int64_t)padded) continue;
        print(digits + i * BC_DIGITS, bc__checksum(body + buffer.offset, padded));
    }
}

/* Corrects the checksums of a message, if it can be parsed. */
static void seal_message(uint8_t *message, size_t size) {
    struct bc_frame frame;
    struct bc_wire_batch wire;
    if (bc__frame_parse(message, (int64_t)size, &frame) != 0 || frame.metadata != 8 ||
        frame.metadata_size > (int64_t)size - frame.metadata ||
        bc__metadata_read_batch(message + frame.metadata, (size_t)frame.metadata_size,
                                &wire) != 0 ||
        wire.checksums == NULL || wire.checksums_size < BC_DIGITS) {
        return;
    }
    size_t framed = (size_t)(frame.metadata + frame.metadata_size);
    if (wire.body_bytes <= (int64_t)(size - framed)) seal_body(&wire, message + framed);
    size_t at = (size_t)(wire.checksums - (const char *)message);
    print(wire.checksums, bc__checksum_message(message, framed, at));
}

/* Ties the statistics to the recording, after their messages were corrected. */
static void seal_statistics(const struct bc_trailer *trailer, uint8_t *bytes,
                            uint8_t *footer) {
    if (trailer->statistics_bytes == 0) return;
    size_t schema_bytes = (size_t)trailer->statistics_schema_bytes;
    const uint8_t *schema = bytes + bc__trailer_statistics_at(trailer);
    uint64_t checksum = bc__checksum(schema, schema_bytes);
    memcpy(footer + 88, &checksum, sizeof(checksum));
    const uint8_t *batch = schema + schema_bytes;
    int64_t batch_bytes = trailer->statistics_bytes - trailer->statistics_schema_bytes;
    struct bc_frame frame;
    if (bc__frame_parse(batch, batch_bytes, &frame) != 0 ||
        frame.metadata_size > batch_bytes - frame.metadata) {
        return;
    }
    size_t framed = (size_t)(frame.metadata + frame.metadata_size);
    checksum = bc__checksum_seeded(batch, framed, bc__checksum(footer, 96));
    memcpy(footer + 96, &checksum, sizeof(checksum));
}

static void seal(const struct original *original, uint8_t *bytes) {
    for (size_t i = 0; i < original->n_messages; i++) {
        seal_message(bytes + original->messages[i].offset, original->messages[i].size);
    }
    const struct bc_trailer *trailer = &original->trailer;
    for (int64_t i = 0; i < trailer->batches; i++) {
        uint8_t *entry = bytes + bc__trailer_batch_at(trailer, i);
        uint64_t checksum = bc__checksum_seeded(entry, 24, (uint64_t)i);
        memcpy(entry + 24, &checksum, sizeof(checksum));
    }
    for (int64_t i = 0; i < trailer->dictionaries; i++) {
        uint8_t *entry = bytes + bc__trailer_dictionary_at(trailer, i);
        uint64_t checksum = bc__checksum_seeded(entry, 32, (uint64_t)i);
        memcpy(entry + 32, &checksum, sizeof(checksum));
    }
    uint8_t *footer = bytes + original->size - BC_TRAILER_FOOTER;
    int64_t schema_bytes;
    memcpy(&schema_bytes, footer + 24, sizeof(schema_bytes));
    if (schema_bytes > 0 && schema_bytes < trailer->end) {
        uint64_t checksum = bc__checksum(bytes, (size_t)schema_bytes);
        memcpy(footer + 64, &checksum, sizeof(checksum));
    }
    seal_statistics(trailer, bytes, footer);
    uint64_t checksum = bc__checksum(footer, 112);
    memcpy(footer + 112, &checksum, sizeof(checksum));
}

/* Renames the key of the checksums in every message. */
static void uncheck(const struct original *original, uint8_t *bytes) {
    static const char key[] = BC_CHECKSUM_KEY;
    size_t end = (size_t)original->trailer.end;
    for (size_t at = 0; at + sizeof(key) <= end; at++) {
        if (memcmp(bytes + at, key, sizeof(key) - 1) == 0) bytes[at] = 'B';
    }
    int32_t flags = 0;
    memcpy(bytes + original->size - BC_TRAILER_FOOTER + 12, &flags, sizeof(flags));
}

/* Writes the file to the path in the environment, as an input for the other target. */
static void dump(const uint8_t *bytes, size_t size) {
    const char *path = getenv("BC_FUZZ_DUMP");
    if (path == NULL) return;
    FILE *file = fopen(path, "wb");
    FUZZ_CHECK(file != NULL && fwrite(bytes, 1, size, file) == size);
    FUZZ_CHECK(fclose(file) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (originals[0].bytes == NULL) {
        for (int i = 0; i < SAMPLES; i++) look_at(&originals[i], i);
    }
    if (size < 2) return 0;
    const struct original *original = &originals[data[0] % SAMPLES];
    uint8_t flags = data[1];
    uint8_t *bytes = malloc(original->size);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, original->bytes, original->size);
    if ((flags & FLAG_UNCHECKED) != 0) uncheck(original, bytes);
    for (size_t at = 2; at + EDIT <= size && at < 2 + EDITS_MAX * EDIT; at += EDIT) {
        edit(original, bytes, data + at);
    }
    if ((flags & FLAGS_LEAVE) != FLAGS_LEAVE) seal(original, bytes);
    bool stream = (flags & FLAG_STREAM) != 0;
    size_t n = stream ? (size_t)original->trailer.end + 8 : original->size;
    dump(bytes, n);
    fuzz_read(bytes, n);
    free(bytes);
    return 0;
}
