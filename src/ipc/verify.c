#include "ipc/verify.h"

#include <errno.h>

#include "base/check.h"
#include "ipc/checksum.h"
#include "ipc/message.h"

enum { PREFIX = 8, ALIGNMENT = 64 };

/* Verifies the buffers [first, end) of the body, each with its padding. */
static bool verify_buffers(const struct bc_message *message, const char *digits,
                           size_t first, size_t end) {
    const struct bc_wire_batch *wire = &message->wire;
    if (end > wire->n_buffers) return false;
    for (size_t i = first; i < end; i++) {
        struct bc_wire_buffer buffer = bc__wire_buffer(wire, i);
        uint64_t expected;
        if (buffer.length == 0) continue;
        if (!bc__message_contains(message, buffer)) return false;
        int64_t padded = bc__round_up(buffer.length, ALIGNMENT);
        if (padded > wire->body_bytes - buffer.offset) return false;
        if (!bc__checksum_parse(digits + i * BC_DIGITS, &expected) ||
            bc__checksum(message->body + buffer.offset, (size_t)padded) != expected) {
            return false;
        }
    }
    return true;
}

static bool verify_columns(struct bc_message *message, const struct bc_schema *schema,
                           const uint64_t *wanted, const char *digits) {
    const struct bc_field *root = &schema->fields[0];
    for (int32_t c = 0; c < root->n_children; c++) {
        size_t first = message->buffer;
        if (bc__message_skip_field(message, schema, root->first_child + c) != 0)
            return false;
        bool wants = (wanted[c / 64] >> (c % 64) & 1) != 0;
        if (wants && !verify_buffers(message, digits, first, message->buffer))
            return false;
    }
    return true;
}

/* Verifies the body's parts. `schema`: NULL means that all columns are wanted. */
static bool verify_body(struct bc_message *message, const struct bc_schema *schema,
                        const uint64_t *wanted) {
    const struct bc_wire_batch *wire = &message->wire;
    const char *digits = wire->checksums + BC_DIGITS;
    uint64_t expected;
    if (wire->body_bytes == 0) return true;
    if (wire->body_bytes <= BC_SMALL_BODY_BYTES) {
        return wire->checksums_size == 2 * BC_DIGITS &&
               bc__checksum_parse(digits, &expected) &&
               bc__checksum(message->body, (size_t)wire->body_bytes) == expected;
    }
    if (wire->checksums_size != (wire->n_buffers + 1) * BC_DIGITS) return false;
    size_t n_variadic;
    if (bc__message_variadic_buffers(message, &n_variadic) != 0) return false;
    return schema == NULL ? verify_buffers(message, digits, 0, wire->n_buffers)
                          : verify_columns(message, schema, wanted, digits);
}

static bool verify_metadata(const uint8_t *message, size_t framed,
                            const struct bc_wire_batch *wire) {
    uint64_t expected;
    const char *digits = wire->checksums;
    if (digits == NULL || wire->checksums_size < BC_DIGITS ||
        !bc__checksum_parse(digits, &expected)) {
        return false;
    }
    size_t at = (size_t)(digits - (const char *)message);
    return bc__checksum_message(message, framed, at) == expected;
}

static bool verify_parts(const struct bc_schema *schema, const uint64_t *wanted,
                         const struct bc_message *message) {
    struct bc_message walk = *message;
    /* A message of this library has the long prefix, and ends with its body. */
    return message->metadata == PREFIX &&
           verify_metadata(message->bytes, message->framed, &message->wire) &&
           message->wire.body_bytes == message->size - (int64_t)message->framed &&
           verify_body(&walk, schema, wanted);
}

bool bc__verify_columns(const struct bc_schema *schema, const uint64_t *wanted,
                        const struct bc_message *message) {
    bc_assert(schema != NULL && wanted != NULL);
    return verify_parts(schema, wanted, message);
}

bool bc__verify_message(const struct bc_message *message) {
    return verify_parts(NULL, NULL, message);
}

bool bc__verify_metadata(const uint8_t *message, size_t framed) {
    struct bc_wire_batch wire;
    return framed > PREFIX &&
           bc__metadata_read_batch(message + PREFIX, framed - PREFIX, &wire) == 0 &&
           verify_metadata(message, framed, &wire);
}

int bc__measure_columns(const struct bc_schema *schema, const struct bc_message *message,
                        int64_t *columns) {
    struct bc_message walk;
    int code = bc__message_walk_columns(message, schema, &walk);
    const struct bc_field *root = &schema->fields[0];
    for (int32_t c = 0; c < root->n_children && code == 0; c++) {
        size_t first = walk.buffer;
        code = bc__message_skip_field(&walk, schema, root->first_child + c);
        if (code == 0 && walk.buffer > walk.wire.n_buffers) code = EINVAL;
        for (size_t i = first; i < walk.buffer && code == 0; i++) {
            int64_t length = bc__wire_buffer(&walk.wire, i).length;
            if (length < 0 || length > walk.wire.body_bytes) code = EINVAL;
            if (code == 0) columns[c] += length;
        }
    }
    return code;
}
