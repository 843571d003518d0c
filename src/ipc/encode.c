#include "ipc/encode.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "ipc/checksum.h"

enum { PREFIX = 8 };

int bc__encoder_init(struct bc_encoder *encoder, const struct bc_schema *schema,
                     bool checksums, enum bc_codec codec, struct bc_error *error) {
    bc_assert(encoder != NULL && schema != NULL);
    memset(encoder, 0, sizeof(*encoder));
    for (int32_t i = 0; i < schema->n_fields; i++) {
        const struct bc_field *field = &schema->fields[i];
        if (field->dictionary < 0 || schema->fields[field->dictionary].dictionary < 0) {
            continue;
        }
        char path[256];
        bc__schema_field_path(schema, i, path, sizeof(path));
        return bc__error_set(
            error, ENOTSUP,
            "Field '%s' is a dictionary of dictionaries. The Arrow IPC format "
            "cannot hold it: record it in memory, or cast it first",
            path);
    }
    encoder->schema = schema;
    encoder->checksums = checksums;
    encoder->body.codec = codec;
    if (bc__metadata_builder_new(&encoder->metadata) != 0) return bc__error_memory(error);
    return 0;
}

void bc__encoder_finish(struct bc_encoder *encoder) {
    bc__metadata_builder_free(encoder->metadata);
    bc__body_finish(&encoder->body);
    bc__free(encoder->digits);
    memset(encoder, 0, sizeof(*encoder));
}

/* Writes the digits of the body's parts. The digits of the metadata stay '0'. */
static int fill_digits(struct bc_encoder *encoder, size_t *out_size) {
    const struct bc_body *body = &encoder->body;
    size_t size = BC_DIGITS * (body->n_buffers + 2);
    if (bc__grow((void **)&encoder->digits, &encoder->digits_capacity, size, 1) != 0) {
        return ENOMEM;
    }
    memset(encoder->digits, '0', BC_DIGITS);
    char *out = encoder->digits + BC_DIGITS;
    const struct bc_iovec *iovec = body->iovecs + 1;
    if (body->bytes > 0 && body->bytes <= BC_SMALL_BODY_BYTES) {
        bc__checksum_print(out, bc__checksum(iovec->data, iovec->size));
        out += BC_DIGITS;
    } else if (body->bytes > 0) {
        for (size_t i = 0; i < body->n_buffers; i++, out += BC_DIGITS) {
            int64_t bytes = body->buffers[i].length;
            uint64_t checksum = 0;
            if (bytes > 0) {
                int64_t padding = bc__round_up(bytes, BC_BODY_ALIGNMENT) - bytes;
                bc_assert(iovec->size == (size_t)bytes);
                checksum =
                    bc__checksum_padded(iovec->data, (size_t)bytes, (size_t)padding);
                iovec += padding > 0 ? 2 : 1;
            }
            bc__checksum_print(out, checksum);
        }
    }
    *out_size = (size_t)(out - encoder->digits);
    return 0;
}

/* Makes iovecs[0]: the prefix, a copy of the flatbuffer, and padding. It fills in the
 * metadata's checksum. `digits`: offset of the digits in the flatbuffer. */
static int frame(struct bc_encoder *encoder, const uint8_t *flatbuffer, size_t size,
                 size_t digits) {
    size_t framed = (size_t)bc__round_up((int64_t)(PREFIX + size), BC_BODY_ALIGNMENT);
    if (framed > INT32_MAX) return EFBIG;
    uint8_t *message = bc__arena_take(&encoder->body.arena, framed);
    if (message == NULL) return ENOMEM;
    uint32_t prefix[2] = {UINT32_MAX, (uint32_t)(framed - PREFIX)};
    memcpy(message, prefix, sizeof(prefix));
    memcpy(message + PREFIX, flatbuffer, size);
    memset(message + PREFIX + size, 0, framed - PREFIX - size);
    if (encoder->checksums) {
        char *own = (char *)message + PREFIX + digits;
        bc__checksum_print(own, bc__checksum(message, framed));
    }
    encoder->body.iovecs[0] = (struct bc_iovec){message, framed};
    return 0;
}

static int encode_error(int code, struct bc_error *error) {
    if (code == ENOMEM) return bc__error_memory(error);
    return bc__error_set(error, code, "The batch's metadata cannot be written: %s",
                         strerror(code));
}

static struct bc_encoded_message message_of(const struct bc_body *body) {
    return (struct bc_encoded_message){body->iovecs, body->n_iovecs,
                                       (int64_t)body->iovecs[0].size + body->bytes};
}

int bc__encode_schema(struct bc_encoder *encoder, struct bc_encoded_message *out_message,
                      struct bc_error *error) {
    if (bc__body_reset(&encoder->body) != 0) return bc__error_memory(error);
    const uint8_t *bytes;
    size_t size;
    size_t at;
    char digits[BC_DIGITS + 1];
    memset(digits, '0', BC_DIGITS);
    digits[BC_DIGITS] = '\0';
    int code = bc__metadata_build_schema(encoder->metadata, encoder->schema,
                                         encoder->checksums ? digits : NULL, encoder->key,
                                         &bytes, &size, &at, error);
    if (code != 0) return code;
    code = frame(encoder, bytes, size, at);
    if (code != 0) return encode_error(code, error);
    *out_message = message_of(&encoder->body);
    return 0;
}

/* Lays out the body, completes `wire`, and frames the message. */
static int encode_body(struct bc_encoder *encoder, const struct bc_batch *batch,
                       const struct bc_buffer_ranges *ranges, struct bc_wire_batch *wire,
                       struct bc_encoded_message *out_message, struct bc_error *error) {
    struct bc_body *body = &encoder->body;
    size_t n_digits = 0;
    if (bc__body_reset(body) != 0) return bc__error_memory(error);
    int code = bc__body_lay_out(body, encoder->schema, batch, ranges, error);
    if (code != 0) return code;
    if (body->bytes <= BC_SMALL_BODY_BYTES) code = bc__body_gather(body);
    if (code == 0 && encoder->checksums) code = fill_digits(encoder, &n_digits);
    if (code != 0) return encode_error(code, error);
    wire->codec = body->codec;
    wire->body_bytes = body->bytes;
    wire->nodes = body->nodes;
    wire->n_nodes = body->n_nodes;
    wire->buffers = body->buffers;
    wire->n_buffers = body->n_buffers;
    wire->variadic_counts = body->variadic_counts;
    wire->n_variadic_counts = body->n_variadic_counts;
    wire->checksums = encoder->checksums ? encoder->digits : NULL;
    wire->checksums_size = n_digits;
    const uint8_t *bytes;
    size_t size;
    size_t at;
    code = bc__metadata_build_batch(encoder->metadata, wire, &bytes, &size, &at, error);
    if (code != 0) return code;
    code = frame(encoder, bytes, size, at);
    if (code != 0) return encode_error(code, error);
    *out_message = message_of(body);
    return 0;
}

int bc__encode_batch(struct bc_encoder *encoder, const struct bc_batch *batch,
                     const struct bc_buffer_ranges *ranges,
                     struct bc_encoded_message *out_message, struct bc_error *error) {
    bc_assert(batch->n_nodes == encoder->schema->n_fields);
    struct bc_wire_batch wire = {.rows = batch->nodes[0].length};
    return encode_body(encoder, batch, ranges, &wire, out_message, error);
}

int bc__encode_dictionary(struct bc_encoder *encoder, const struct bc_batch *batch,
                          int32_t dictionary, bool is_delta,
                          const struct bc_buffer_ranges *ranges,
                          struct bc_content *out_content,
                          struct bc_encoded_message *out_message,
                          struct bc_error *error) {
    const struct bc_field *values = &encoder->schema->fields[dictionary];
    bc_assert(encoder->schema->fields[values->parent].dictionary == dictionary);
    struct bc_wire_batch wire = {
        .is_dictionary = true,
        .is_delta = is_delta,
        .dictionary_id = encoder->schema->fields[values->parent].dictionary_id,
        .rows = ranges->nodes[0].length,
    };
    int code = encode_body(encoder, batch, ranges, &wire, out_message, error);
    if (code != 0) return code;
    const struct bc_body *body = &encoder->body;
    *out_content = bc__checksum_content(
        body->nodes, body->n_nodes * sizeof(body->nodes[0]), body->buffers,
        body->n_buffers * sizeof(body->buffers[0]), body->iovecs + 1, body->n_iovecs - 1);
    return 0;
}
