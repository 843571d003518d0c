#include "disk/encode.h"

#include <string.h>

#include "arrow/bits.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/checksum.h"

enum { ALIGNMENT = 64, PREFIX = 8 };

static const uint8_t zeros[ALIGNMENT];

static bool can_write(const struct bc_field *field) {
    switch (field->kind) {
        case BC_KIND_NULL:
        case BC_KIND_FIXED:
        case BC_KIND_BINARY:
        case BC_KIND_LIST:
        case BC_KIND_FIXED_LIST:
        case BC_KIND_STRUCT:
            return field->dictionary < 0;
        default:
            return false;
    }
}

int bc__encoder_init(struct bc_encoder *encoder, const struct bc_schema *schema,
                     struct bc_error *error) {
    bc_assert(encoder != NULL && schema != NULL);
    memset(encoder, 0, sizeof(*encoder));
    for (int32_t i = 0; i < schema->n_fields; i++) {
        if (can_write(&schema->fields[i])) continue;
        char path[256];
        bc__schema_field_path(schema, i, path, sizeof(path));
        bool dictionary = schema->fields[i].dictionary >= 0;
        return bc__error_set(error, ENOTSUP,
                             "Field '%s' has a type that the disk tier cannot write yet "
                             "(%s, format '%s'); record it in memory, or cast it first",
                             path, dictionary ? "dictionary" : "no dictionary",
                             schema->fields[i].schema->format);
    }
    encoder->schema = schema;
    if (bc__metadata_builder_new(&encoder->metadata) != 0) return bc__error_memory(error);
    return 0;
}

void bc__encoder_finish(struct bc_encoder *encoder) {
    bc__metadata_builder_free(encoder->metadata);
    bc__arena_finish(&encoder->arena);
    bc__free(encoder->nodes);
    bc__free(encoder->buffers);
    bc__free(encoder->pieces);
    bc__free(encoder->digits);
    memset(encoder, 0, sizeof(*encoder));
}

static void reset(struct bc_encoder *encoder) {
    bc__arena_reset(&encoder->arena);
    encoder->n_nodes = 0;
    encoder->n_buffers = 0;
    encoder->n_pieces = 0;
}

static int add_piece(struct bc_encoder *encoder, const void *data, size_t size) {
    if (size == 0) return 0;
    if (bc__grow((void **)&encoder->pieces, &encoder->pieces_capacity,
                 encoder->n_pieces + 1, sizeof(encoder->pieces[0])) != 0) {
        return ENOMEM;
    }
    encoder->pieces[encoder->n_pieces++] = (struct bc_piece){data, size};
    return 0;
}

/* The bytes that stand in the file for an extent; NULL without memory. */
static const uint8_t *wire_bytes(struct bc_encoder *encoder,
                                 const struct bc_extent *extent, int64_t values) {
    size_t size = (size_t)extent->bytes;
    if (extent->kind == BC_EXTENT_BITS && (extent->bit_offset != 0 || values % 8 != 0)) {
        uint8_t *copy = bc__arena_take(&encoder->arena, size);
        if (copy != NULL) bc__bits_copy(copy, extent->data, extent->bit_offset, values);
        return copy;
    }
    if (extent->base == 0) return extent->data;
    if (extent->kind == BC_EXTENT_OFFSETS32) {
        int32_t *copy = bc__arena_take(&encoder->arena, size);
        if (copy == NULL) return NULL;
        const int32_t *offsets = (const int32_t *)(const void *)extent->data;
        for (size_t i = 0; i < size / 4; i++)
            copy[i] = offsets[i] - (int32_t)extent->base;
        return (const uint8_t *)copy;
    }
    bc_assert(extent->kind == BC_EXTENT_OFFSETS64);
    int64_t *copy = bc__arena_take(&encoder->arena, size);
    if (copy == NULL) return NULL;
    const int64_t *offsets = (const int64_t *)(const void *)extent->data;
    for (size_t i = 0; i < size / 8; i++) copy[i] = offsets[i] - extent->base;
    return (const uint8_t *)copy;
}

/* Appends a buffer; `*body` is the size of the body so far. */
static int add_buffer(struct bc_encoder *encoder, const struct bc_extent *extent,
                      int64_t values, int64_t *body) {
    if (bc__grow((void **)&encoder->buffers, &encoder->buffers_capacity,
                 encoder->n_buffers + 1, sizeof(encoder->buffers[0])) != 0) {
        return ENOMEM;
    }
    int64_t bytes = extent == NULL ? 0 : extent->bytes;
    encoder->buffers[encoder->n_buffers++] = (struct bc_wire_buffer){*body, bytes};
    if (bytes == 0) return 0;
    const uint8_t *data = wire_bytes(encoder, extent, values);
    if (data == NULL) return ENOMEM;
    int64_t padded = bc__round_up(bytes, ALIGNMENT);
    *body += padded;
    int code = add_piece(encoder, data, (size_t)bytes);
    return code != 0 ? code : add_piece(encoder, zeros, (size_t)(padded - bytes));
}

static int64_t count_nulls(const struct bc_extent_node *node,
                           const struct bc_extent *validity) {
    if (node->null_count >= 0 || validity->bytes == 0) {
        return node->null_count < 0 ? 0 : node->null_count;
    }
    return node->length -
           bc__bits_count(validity->data, validity->bit_offset, node->length);
}

/* How many extents the walk gives for a node. */
static size_t extents_of(const struct bc_field *field) {
    switch (field->kind) {
        case BC_KIND_NULL:
            return 0;
        case BC_KIND_FIXED_LIST:
        case BC_KIND_STRUCT:
            return 1;
        case BC_KIND_BINARY:
            return 3;
        default:
            return 2;
    }
}

/* Lays out nodes, buffers and pieces of the body. */
static int add_body(struct bc_encoder *encoder, const struct bc_extents *extents,
                    int64_t *out_body) {
    int64_t body = 0;
    const struct bc_extent *extent = extents->extents;
    for (size_t i = 0; i < extents->n_nodes; i++) {
        const struct bc_extent_node *node = &extents->nodes[i];
        const struct bc_field *field = &encoder->schema->fields[node->field];
        int64_t nulls =
            field->has_validity ? count_nulls(node, extent) : node->null_count;
        if (bc__grow((void **)&encoder->nodes, &encoder->nodes_capacity,
                     encoder->n_nodes + 1, sizeof(encoder->nodes[0])) != 0) {
            return ENOMEM;
        }
        encoder->nodes[encoder->n_nodes++] = (struct bc_wire_node){node->length, nulls};
        for (size_t e = 0; e < extents_of(field); e++, extent++) {
            bool unneeded = e == 0 && field->has_validity && nulls == 0;
            int code = add_buffer(encoder, unneeded ? NULL : extent, node->length, &body);
            if (code != 0) return code;
        }
    }
    bc_assert(extent == extents->extents + extents->n_extents);
    *out_body = body;
    return 0;
}

/* Gathers a small body into one piece. */
static int gather(struct bc_encoder *encoder, size_t first_piece, int64_t body) {
    uint8_t *bytes = bc__arena_take(&encoder->arena, (size_t)body);
    if (bytes == NULL) return ENOMEM;
    size_t at = 0;
    for (size_t i = first_piece; i < encoder->n_pieces; i++) {
        memcpy(bytes + at, encoder->pieces[i].data, encoder->pieces[i].size);
        at += encoder->pieces[i].size;
    }
    bc_assert(at == (size_t)body);
    encoder->n_pieces = first_piece;
    return add_piece(encoder, bytes, (size_t)body);
}

/* Fills the digits of the body's parts; those of the metadata stay '0'. */
static int fill_digits(struct bc_encoder *encoder, size_t first_piece, int64_t body,
                       size_t *out_size) {
    size_t size = BC_DIGITS * (encoder->n_buffers + 2);
    if (bc__grow((void **)&encoder->digits, &encoder->digits_capacity, size, 1) != 0) {
        return ENOMEM;
    }
    memset(encoder->digits, '0', BC_DIGITS);
    char *out = encoder->digits + BC_DIGITS;
    if (body > 0 && body <= BC_SMALL_BODY_BYTES) {
        bc__checksum_print(out,
                           bc__checksum(encoder->pieces[first_piece].data, (size_t)body));
        out += BC_DIGITS;
    } else {
        const struct bc_piece *piece = encoder->pieces + first_piece;
        for (size_t i = 0; i < encoder->n_buffers && body > 0; i++, out += BC_DIGITS) {
            size_t bytes = (size_t)encoder->buffers[i].length;
            if (bytes == 0) {
                bc__checksum_print(out, 0);
                continue;
            }
            size_t padding = (size_t)bc__round_up((int64_t)bytes, ALIGNMENT) - bytes;
            bc_assert(piece->size == bytes);
            bc__checksum_print(out, bc__checksum_padded(piece->data, bytes, padding));
            piece += padding > 0 ? 2 : 1;
        }
    }
    *out_size = (size_t)(out - encoder->digits);
    return 0;
}

/* Frames a flatbuffer: prefix and padding around a copy of it, its checksum filled in.
 * The message goes before the pieces of the body, into pieces[0]. */
static int frame(struct bc_encoder *encoder, const uint8_t *flatbuffer, size_t size) {
    size_t framed = (size_t)bc__round_up((int64_t)(PREFIX + size), ALIGNMENT);
    if (framed > INT32_MAX) return EFBIG;
    uint8_t *message = bc__arena_take(&encoder->arena, framed);
    if (message == NULL) return ENOMEM;
    uint32_t prefix[2] = {UINT32_MAX, (uint32_t)(framed - PREFIX)};
    memcpy(message, prefix, sizeof(prefix));
    memcpy(message + PREFIX, flatbuffer, size);
    memset(message + PREFIX + size, 0, framed - PREFIX - size);
    const char *digits;
    size_t n_digits;
    int code = bc__metadata_read_checksums(message + PREFIX, size, &digits, &n_digits);
    if (code != 0) return code;
    bc_assert(digits != NULL && n_digits >= BC_DIGITS);
    size_t at = (size_t)(digits - (const char *)message);
    bc__checksum_print((char *)message + at, bc__checksum_message(message, framed, at));
    encoder->pieces[0] = (struct bc_piece){message, framed};
    return 0;
}

static int fail(int code, struct bc_error *error) {
    if (code == ENOMEM) return bc__error_memory(error);
    return bc__error_set(error, code, "The batch's metadata cannot be written: %s",
                         strerror(code));
}

int bc__encode_schema(struct bc_encoder *encoder, struct bc_message *out_message,
                      struct bc_error *error) {
    reset(encoder);
    const uint8_t *bytes;
    size_t size;
    char digits[BC_DIGITS + 1];
    memset(digits, '0', BC_DIGITS);
    digits[BC_DIGITS] = '\0';
    int code = bc__metadata_build_schema(encoder->metadata, encoder->schema, digits,
                                         &bytes, &size, error);
    if (code != 0) return code;
    code = add_piece(encoder, zeros, 1);
    if (code == 0) code = frame(encoder, bytes, size);
    if (code != 0) return fail(code, error);
    *out_message =
        (struct bc_message){encoder->pieces, 1, (int64_t)encoder->pieces[0].size};
    return 0;
}

int bc__encode_batch(struct bc_encoder *encoder, const struct bc_batch *batch,
                     const struct bc_extents *extents, struct bc_message *out_message,
                     struct bc_error *error) {
    bc_assert(batch->n_nodes == encoder->schema->n_fields);
    reset(encoder);
    int64_t body = 0;
    size_t n_digits = 0;
    /* pieces[0] is kept for the metadata, which comes last. */
    int code = add_piece(encoder, zeros, 1);
    if (code == 0) code = add_body(encoder, extents, &body);
    if (code == 0 && body > 0 && body <= BC_SMALL_BODY_BYTES)
        code = gather(encoder, 1, body);
    if (code == 0) code = fill_digits(encoder, 1, body, &n_digits);
    if (code != 0) return fail(code, error);
    struct bc_wire_batch wire = {
        .rows = batch->nodes[0].length,
        .body_bytes = body,
        .nodes = encoder->nodes,
        .n_nodes = encoder->n_nodes,
        .buffers = encoder->buffers,
        .n_buffers = encoder->n_buffers,
        .checksums = encoder->digits,
        .checksums_size = n_digits,
    };
    const uint8_t *bytes;
    size_t size;
    code = bc__metadata_build_batch(encoder->metadata, &wire, &bytes, &size, error);
    if (code != 0) return code;
    code = frame(encoder, bytes, size);
    if (code != 0) return fail(code, error);
    *out_message = (struct bc_message){encoder->pieces, encoder->n_pieces,
                                       (int64_t)encoder->pieces[0].size + body};
    return 0;
}
