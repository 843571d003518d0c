#include "ipc/message.h"

#include <errno.h>
#include <string.h>

#include "ipc/codec.h"

enum { LONG_PREFIX = 8, SHORT_PREFIX = 4, NULL_EXTRAS_MAX = 2 };

int bc__frame_parse(const uint8_t *bytes, int64_t size, struct bc_frame *out_frame) {
    if (size < SHORT_PREFIX) return EAGAIN;
    int32_t words[2] = {0, 0};
    memcpy(words, bytes, SHORT_PREFIX);
    int64_t prefix = SHORT_PREFIX;
    int32_t metadata_size = words[0];
    if (words[0] == -1) {
        if (size < LONG_PREFIX) return EAGAIN;
        memcpy(words, bytes, LONG_PREFIX);
        prefix = LONG_PREFIX;
        metadata_size = words[1];
    }
    if (metadata_size < 0) return EINVAL;
    *out_frame = (struct bc_frame){prefix, metadata_size};
    return 0;
}

/* Buffers may lie on each other, but not so many that to read them all takes much longer
 * than to read the body. */
enum { SHARING_MAX = 4 };

static bool fits_body(const struct bc_wire_batch *wire) {
    int64_t left = wire->body_bytes <= INT64_MAX / SHARING_MAX
                       ? wire->body_bytes * SHARING_MAX
                       : INT64_MAX;
    for (size_t i = 0; i < wire->n_buffers; i++) {
        int64_t length = bc__wire_buffer(wire, i).length;
        if (length < 0 || length > left) return false;
        left -= length;
    }
    return true;
}

int bc__parts_open(struct bc_parts *parts, const uint8_t *message, int64_t size) {
    *parts = (struct bc_parts){.message = message, .size = size};
    struct bc_frame frame;
    int code = bc__frame_parse(message, size, &frame);
    if (code == EAGAIN) code = EINVAL;
    if (code != 0) return code;
    int64_t bytes = frame.metadata_size;
    if (bytes == 0 || bytes > size - frame.metadata) return EINVAL;
    parts->metadata = (size_t)frame.metadata;
    parts->framed = (size_t)(frame.metadata + bytes);
    parts->body = message + parts->framed;
    struct bc_wire_batch *wire = &parts->wire;
    code = bc__metadata_read_batch(message + frame.metadata, (size_t)bytes, wire);
    if (code != 0) return code;
    int64_t left = size - (int64_t)parts->framed;
    bool fits = wire->body_bytes >= 0 && wire->body_bytes <= left && fits_body(wire);
    return fits ? 0 : EINVAL;
}

bool bc__parts_holds(const struct bc_parts *parts, struct bc_wire_buffer buffer) {
    int64_t bytes = parts->wire.body_bytes;
    return buffer.offset >= 0 && buffer.length >= 0 && buffer.offset <= bytes &&
           buffer.length <= bytes - buffer.offset;
}

int bc__parts_variadic(const struct bc_parts *parts, size_t *out_n) {
    const struct bc_wire_batch *wire = &parts->wire;
    size_t n = 0;
    for (size_t i = 0; i < wire->n_variadic_counts; i++) {
        int64_t count = bc__wire_variadic_count(wire, i);
        if (count < 0 || (uint64_t)count > wire->n_buffers - n) return EINVAL;
        n += (size_t)count;
    }
    *out_n = n;
    return 0;
}

/* What fields have. */
struct tally {
    size_t buffers; /* in a message: variadic ones aside */
    size_t nulls;   /* fields of that type */
    size_t others;  /* without a bitmap: unions, run-end encoded ones */
};

static void count(const struct bc_schema *schema, int32_t number, struct tally *tally) {
    const struct bc_field *field = &schema->fields[number];
    bool is_null = field->kind == BC_KIND_NULL;
    /* The sizes of variadic buffers are no buffer of the message, and the root has no
     * bitmap there. */
    bool has_less = field->kind == BC_KIND_VIEW || number == 0;
    tally->buffers += (size_t)field->n_buffers - has_less;
    tally->nulls += is_null;
    tally->others += !is_null && !field->has_validity;
    for (int32_t c = 0; c < field->n_children; c++) {
        count(schema, field->first_child + c, tally);
    }
}

/* Unions had a bitmap before metadata V5, and Arrow C++ writes one for run ends too. Null
 * columns had two buffers in Arrow C++ up to 0.14, and one with other writers, which no
 * version tells. */
int bc__parts_fit(struct bc_parts *parts, const struct bc_schema *schema,
                  int32_t values) {
    if (schema->n_without_bitmap == 0) return 0;
    size_t n_variadic;
    int code = bc__parts_variadic(parts, &n_variadic);
    if (code != 0) return code;
    struct tally tally = {0, 0, 0};
    count(schema, values, &tally);
    size_t found = parts->wire.n_buffers;
    size_t wanted = tally.buffers + n_variadic;
    parts->union_extras = parts->wire.version < BC_METADATA_V5;
    for (size_t unions = parts->union_extras; unions <= 1; unions++) {
        for (size_t nulls = 0; nulls <= NULL_EXTRAS_MAX; nulls++) {
            if (found != wanted + unions * tally.others + nulls * tally.nulls) continue;
            parts->union_extras = unions;
            parts->null_extras = nulls;
            return 0;
        }
    }
    return 0;
}

size_t bc__parts_extras(const struct bc_parts *parts, const struct bc_field *field) {
    if (field->has_validity) return 0;
    return field->kind == BC_KIND_NULL ? parts->null_extras : parts->union_extras;
}

int bc__parts_pass(struct bc_parts *parts, const struct bc_schema *schema,
                   int32_t number) {
    const struct bc_field *field = &schema->fields[number];
    size_t n_buffers = (size_t)field->n_buffers;
    if (field->kind == BC_KIND_VIEW) {
        if (parts->view >= parts->wire.n_variadic_counts) return EINVAL;
        /* The sizes are no buffer of the message. */
        n_buffers += (size_t)bc__wire_variadic_count(&parts->wire, parts->view++) - 1;
    }
    n_buffers += bc__parts_extras(parts, field);
    parts->node++;
    parts->buffer += n_buffers;
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = bc__parts_pass(parts, schema, field->first_child + c);
        if (code != 0) return code;
    }
    return 0;
}

int64_t bc__parts_claimed(const struct bc_parts *parts, int64_t n, int64_t most) {
    int64_t claimed = 0;
    if (parts->wire.codec == BC_CODEC_NONE) return 0;
    for (size_t i = parts->buffer; n > 0 && i < parts->wire.n_buffers; i++, n--) {
        struct bc_wire_buffer buffer = bc__wire_buffer(&parts->wire, i);
        struct bc_compressed compressed;
        if (buffer.length == 0 || !bc__parts_holds(parts, buffer) ||
            bc__compressed_parse(parts->body + buffer.offset, buffer.length,
                                 &compressed) != 0) {
            continue;
        }
        if (compressed.length > most - claimed) return most + 1;
        claimed += compressed.length;
    }
    return claimed;
}
