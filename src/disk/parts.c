#include "disk/parts.h"

#include <errno.h>
#include <string.h>

enum { LONG_PREFIX = 8, SHORT_PREFIX = 4 };

/* The number that version V5 of the metadata has. */
enum { METADATA_V5 = 4 };

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

/* Before metadata V5, unions had a bitmap, and Arrow C++ writes one for run ends too. */
bool bc__parts_old_validity(const struct bc_parts *parts, const struct bc_field *field) {
    return parts->wire.version < METADATA_V5 &&
           (field->kind == BC_KIND_SPARSE_UNION || field->kind == BC_KIND_DENSE_UNION ||
            field->kind == BC_KIND_RUN_END);
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
    if (bc__parts_old_validity(parts, field)) n_buffers++;
    parts->node++;
    parts->buffer += n_buffers;
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = bc__parts_pass(parts, schema, field->first_child + c);
        if (code != 0) return code;
    }
    return 0;
}
