#include "disk/decode.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "disk/codec.h"
#include "disk/endian.h"
#include "disk/parts.h"

struct decoder {
    const struct bc_schema *schema;
    struct bc_batch *batch;
    struct bc_parts parts;
    const void **tables;   /* next free entry of the batch's buffer tables */
    int64_t *sizes;        /* next free entry of the batch's sizes of variadic buffers */
    int32_t filled;        /* nodes of a dictionary, depth first; -1: those of a batch */
    int64_t variadic_left; /* buffers that the tables have room for */
    int64_t taken;         /* bytes of the buffer taken last */
    struct bc_decompressor decompressor;
};

/* A fuzzer's build copies every buffer, so that a sanitizer sees who reads beyond it. */
#ifdef BC_FUZZ
enum { COPIES_ALL = 1 };
#else
enum { COPIES_ALL = 0 };
#endif

/* No codec makes more of a byte: a larger claim is none. */
enum { EXPANSION_MAX = 1 << 16 };

/* The raw bytes of a compressed buffer, in memory of the batch's own. */
static int decompress(struct decoder *decoder, struct bc_wire_buffer buffer,
                      int64_t bytes_min, const void **out_data) {
    struct bc_compressed compressed;
    int code = bc__compressed_parse(decoder->parts.body + buffer.offset, buffer.length,
                                    &compressed);
    if (code != 0) return code;
    if (compressed.length < bytes_min ||
        compressed.length / EXPANSION_MAX > buffer.length) {
        return EINVAL;
    }
    decoder->taken = compressed.length;
    *out_data = NULL;
    if (compressed.length == 0) return 0;
    uint8_t *raw = bc__batch_buffer(decoder->batch, (size_t)compressed.length);
    if (raw == NULL) return ENOMEM;
    *out_data = raw;
    if (!compressed.raw) {
        return bc__decompress(&decoder->decompressor, decoder->parts.wire.codec,
                              &compressed, raw);
    }
    /* The payload is not aligned. */
    memcpy(raw, compressed.payload, (size_t)compressed.length);
    return 0;
}

/* A buffer that others left unaligned, in memory of the batch's own. */
static int align(struct decoder *decoder, struct bc_wire_buffer buffer,
                 const void **out_data) {
    uint8_t *aligned = bc__batch_buffer(decoder->batch, (size_t)buffer.length);
    if (aligned == NULL) return ENOMEM;
    memcpy(aligned, decoder->parts.body + buffer.offset, (size_t)buffer.length);
    *out_data = aligned;
    return 0;
}

/* Takes the next buffer, which must have `bytes_min` bytes, aligned to `alignment`; an
 * empty one is NULL. */
static int take_buffer(struct decoder *decoder, int64_t bytes_min, size_t alignment,
                       const void **out_data) {
    struct bc_parts *parts = &decoder->parts;
    if (parts->buffer >= parts->wire.n_buffers) return EINVAL;
    struct bc_wire_buffer buffer = bc__wire_buffer(&parts->wire, parts->buffer++);
    if (!bc__parts_holds(parts, buffer)) return EINVAL;
    if (parts->wire.codec != BC_CODEC_NONE && buffer.length > 0) {
        return decompress(decoder, buffer, bytes_min, out_data);
    }
    if (buffer.length < bytes_min) return EINVAL;
    decoder->taken = buffer.length;
    *out_data = buffer.length == 0 ? NULL : parts->body + buffer.offset;
    bool aligned = ((uintptr_t)*out_data & (alignment - 1)) == 0;
    if (buffer.length == 0 || (aligned && !COPIES_ALL)) return 0;
    return align(decoder, buffer, out_data);
}

/* Values of the other byte order become this machine's, in memory of the batch's own. */
static int turn(struct decoder *decoder, enum bc_unit unit, int64_t bytes,
                const void **data) {
    const struct bc_parts *parts = &decoder->parts;
    uintptr_t at = (uintptr_t)*data - (uintptr_t)parts->body;
    bool is_own = at >= (uintptr_t)parts->wire.body_bytes;
    void *out = is_own ? (void *)(uintptr_t)*data
                       : bc__batch_buffer(decoder->batch, (size_t)bytes);
    if (out == NULL) return ENOMEM;
    bc__turn(unit, out, *data, bytes);
    *data = out;
    return 0;
}

/* Takes the next buffer, which has `bytes` bytes of numbers or views. */
static int take_values(struct decoder *decoder, int64_t bytes, size_t alignment,
                       enum bc_unit unit, const void **out_data) {
    int code = take_buffer(decoder, bytes, alignment, out_data);
    bool is_native = !decoder->schema->is_big_endian || unit == BC_UNIT_BYTE;
    if (code != 0 || is_native || bytes == 0) return code;
    return turn(decoder, unit, bytes, out_data);
}

static int take_validity(struct decoder *decoder, struct bc_node *node,
                         const void **out_data) {
    int64_t bytes = node->null_count == 0 ? 0 : bc__bit_bytes(node->length);
    int code = take_buffer(decoder, bytes, 1, out_data);
    if (node->null_count == 0) *out_data = NULL;
    return code;
}

/* Offsets, then what they point to must reach: the last offset, in elements. */
static int take_offsets(struct decoder *decoder, const struct bc_field *field,
                        int64_t length, const void **out_data, int64_t *out_reach) {
    static const int64_t none;
    int64_t bytes = length == 0 ? 0 : (length + 1) * (field->bits / 8);
    enum bc_unit unit = bc__unit_of_bits(field->bits);
    int code = take_values(decoder, bytes, field->alignment, unit, out_data);
    if (code != 0) return code;
    *out_reach = 0;
    if (length == 0) {
        /* Consumers may look at the one offset that an empty array has. */
        *out_data = &none;
        return 0;
    }
    const uint8_t *last = (const uint8_t *)*out_data + length * (field->bits / 8);
    if (field->bits == 32) {
        int32_t value;
        memcpy(&value, last, sizeof(value));
        *out_reach = value;
    } else {
        memcpy(out_reach, last, sizeof(*out_reach));
    }
    return *out_reach < 0 ? EINVAL : 0;
}

/* Views, then their variadic buffers, whose sizes make the last buffer. */
static int take_views(struct decoder *decoder, struct bc_node *node) {
    if (decoder->parts.view >= decoder->parts.wire.n_variadic_counts) return EINVAL;
    int64_t n = bc__wire_variadic_count(&decoder->parts.wire, decoder->parts.view++);
    /* Somebody may change the file between the count of all and this one. */
    if (n < 0 || n > decoder->variadic_left) return EINVAL;
    decoder->variadic_left -= n;
    const void **buffers = node->buffers;
    int code = take_values(decoder, node->length * 16, 16, BC_UNIT_VIEW, &buffers[1]);
    for (int64_t i = 0; i < n && code == 0; i++) {
        code = take_buffer(decoder, 0, 1, &buffers[2 + i]);
        decoder->sizes[i] = decoder->taken;
    }
    buffers[2 + n] = decoder->sizes;
    node->n_buffers = 3 + n;
    decoder->sizes += n;
    decoder->tables += n;
    return code;
}

static int decode_field(struct decoder *decoder, int32_t number, int64_t length_min);

static int decode_children(struct decoder *decoder, int32_t number, int64_t length_min) {
    const struct bc_field *field = &decoder->schema->fields[number];
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = decode_field(decoder, field->first_child + c, length_min);
        if (code != 0) return code;
    }
    return 0;
}

static int decode_field(struct decoder *decoder, int32_t number, int64_t length_min) {
    const struct bc_field *field = &decoder->schema->fields[number];
    int32_t place = decoder->filled < 0 ? number : decoder->filled++;
    struct bc_node *node = &decoder->batch->nodes[place];
    if (decoder->parts.node >= decoder->parts.wire.n_nodes) return EINVAL;
    struct bc_wire_node wire = bc__wire_node(&decoder->parts.wire, decoder->parts.node++);
    if (wire.length < length_min || wire.length > BC_LENGTH_MAX || wire.null_count < 0 ||
        wire.null_count > wire.length) {
        return EINVAL;
    }
    const void **buffers = decoder->tables;
    decoder->tables += field->n_buffers;
    node->length = wire.length;
    node->null_count = bc__null_count(field, wire.length, wire.null_count);
    node->n_buffers = field->n_buffers;
    node->buffers = buffers;
    int64_t reach = wire.length;
    int64_t bytes;
    enum bc_unit unit = bc__unit_of_values(field);
    int code = field->has_validity ? take_validity(decoder, node, &buffers[0]) : 0;
    if (bc__parts_old_validity(&decoder->parts, field)) {
        if (wire.null_count != 0) return ENOTSUP;
        decoder->parts.buffer++;
    }
    if (code != 0) return code;
    switch (field->kind) {
        case BC_KIND_NULL:
            return 0;
        case BC_KIND_FIXED:
            if (field->bits > 1024 && wire.length > INT64_MAX / field->bits)
                return EINVAL;
            bytes = bc__bit_bytes(wire.length * field->bits);
            return take_values(decoder, bytes, field->alignment, unit, &buffers[1]);
        case BC_KIND_BINARY:
            code = take_offsets(decoder, field, wire.length, &buffers[1], &reach);
            return code != 0 ? code : take_buffer(decoder, reach, 1, &buffers[2]);
        case BC_KIND_LIST:
            code = take_offsets(decoder, field, wire.length, &buffers[1], &reach);
            return code != 0 ? code : decode_children(decoder, number, reach);
        case BC_KIND_FIXED_LIST:
            if (__builtin_mul_overflow(wire.length, (int64_t)field->list_size, &reach)) {
                return EINVAL;
            }
            return decode_children(decoder, number, reach);
        case BC_KIND_STRUCT:
            return decode_children(decoder, number, wire.length);
        case BC_KIND_VIEW:
            return take_views(decoder, node);
        case BC_KIND_LIST_VIEW:
            bytes = wire.length * (field->bits / 8);
            code = take_values(decoder, bytes, field->alignment, unit, &buffers[1]);
            if (code == 0) {
                code = take_values(decoder, bytes, field->alignment, unit, &buffers[2]);
            }
            return code != 0 ? code : decode_children(decoder, number, 0);
        case BC_KIND_SPARSE_UNION:
            code = take_buffer(decoder, wire.length, 1, &buffers[0]);
            return code != 0 ? code : decode_children(decoder, number, wire.length);
        case BC_KIND_DENSE_UNION:
            code = take_buffer(decoder, wire.length, 1, &buffers[0]);
            bytes = wire.length * 4;
            if (code == 0) {
                code = take_values(decoder, bytes, 4, BC_UNIT_4, &buffers[1]);
            }
            return code != 0 ? code : decode_children(decoder, number, 0);
        case BC_KIND_RUN_END:
            return decode_children(decoder, number, 0);
    }
    return EINVAL;
}

/* What a batch has room for. */
struct room {
    int32_t nodes;
    size_t buffers;
};

/* For a field and all below it. */
static void add_room(const struct bc_schema *schema, int32_t number, struct room *room) {
    const struct bc_field *field = &schema->fields[number];
    room->nodes++;
    room->buffers += (size_t)field->n_buffers;
    for (int32_t c = 0; c < field->n_children; c++) {
        add_room(schema, field->first_child + c, room);
    }
}

/* Makes an empty batch with room for the nodes and all buffer tables of the message, or
 * of a dictionary's values (`values` > 0). */
static int start(struct decoder *decoder, const struct bc_schema *schema, int32_t values,
                 const struct bc_parts *parts) {
    *decoder = (struct decoder){
        .schema = schema, .parts = *parts, .filled = values > 0 ? 0 : -1};
    struct room room = {0, 0};
    add_room(schema, values, &room);
    size_t n_variadic;
    int code = bc__parts_variadic(parts, &n_variadic);
    /* Or a small message takes as long as the schema is wide. The root has no node. */
    size_t n_nodes = (size_t)room.nodes - (values == 0);
    if (parts->wire.n_nodes < n_nodes) code = EINVAL;
    if (code != 0) return code;
    if (values == 0) room.nodes = schema->n_fields;
    size_t n_buffers = room.buffers + n_variadic;
    decoder->variadic_left = (int64_t)n_variadic;
    decoder->batch = bc__batch_alloc(
        room.nodes, n_buffers * sizeof(void *) + n_variadic * sizeof(int64_t));
    if (decoder->batch == NULL) return ENOMEM;
    decoder->tables = bc__batch_tail(decoder->batch);
    decoder->sizes = (int64_t *)(void *)(decoder->tables + n_buffers);
    return 0;
}

/* Gives the batch out, or up where `code` says that it failed. */
static int finish(struct decoder *decoder, int code, struct bc_batch **out_batch) {
    bc__decompressor_finish(&decoder->decompressor);
    if (code == 0) {
        *out_batch = decoder->batch;
    } else {
        bc__batch_unref(decoder->batch);
    }
    return code;
}

static int decode_columns(struct decoder *decoder,
                          const struct bc_projection *projection) {
    const struct bc_field *root = &decoder->schema->fields[0];
    for (int32_t c = 0; c < root->n_children; c++) {
        int32_t number = root->first_child + c;
        int code = bc__projection_has(projection, c)
                       ? decode_field(decoder, number, decoder->parts.wire.rows)
                       : bc__parts_pass(&decoder->parts, decoder->schema, number);
        if (code != 0) return code;
        if (decoder->batch->nodes[number].length > decoder->parts.wire.rows)
            return EINVAL;
    }
    return 0;
}

int bc__decode_batch(const struct bc_schema *schema,
                     const struct bc_projection *projection, const struct bc_parts *parts,
                     struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start(&decoder, schema, 0, parts);
    if (code != 0) return code;
    struct bc_node *root = &decoder.batch->nodes[0];
    root->length = decoder.parts.wire.rows;
    root->n_buffers = 1;
    root->buffers = decoder.tables++;
    code =
        decoder.parts.wire.is_dictionary ? EINVAL : decode_columns(&decoder, projection);
    return finish(&decoder, code, out_batch);
}

int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const struct bc_parts *parts, struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start(&decoder, schema, dictionary, parts);
    if (code != 0) return code;
    int32_t owner = schema->fields[dictionary].parent;
    bool is_it = decoder.parts.wire.is_dictionary &&
                 decoder.parts.wire.dictionary_id == schema->fields[owner].dictionary_id;
    code = is_it ? decode_field(&decoder, dictionary, decoder.parts.wire.rows) : EINVAL;
    return finish(&decoder, code, out_batch);
}
