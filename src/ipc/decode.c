#include "ipc/decode.h"

#include <errno.h>
#include <string.h>

#include "arrow/bits.h"
#include "arrow/values.h"
#include "base/check.h"
#include "ipc/codec.h"
#include "ipc/endian.h"
#include "ipc/message.h"

struct decoder {
    const struct bc_schema *schema;
    struct bc_batch *batch;
    struct bc_message message;
    const void **tables;   /* next free entry of the batch's buffer tables */
    int64_t *sizes;        /* next free entry of the batch's sizes of variadic buffers */
    int32_t filled;        /* nodes of a dictionary, depth first; -1: those of a batch */
    int64_t variadic_left; /* buffers that the tables have room for */
    int64_t taken;         /* bytes of the buffer taken last */
    int64_t spare;         /* bytes that may be decompressed beyond what rows reach */
    int64_t *left;         /* bytes that may be decompressed at all; NULL: any */
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

/* Some writers leave more in a buffer than its array has. All buffers of a message may
 * have so many times the bytes of the body of it, and this. */
enum { SPARE_TIMES = 3, SPARE_MIN = 1 << 16 };

static bool is_compressed(const struct decoder *decoder) {
    return decoder->message.wire.codec != BC_CODEC_NONE;
}

/* Takes bytes that no row reaches out of the spare ones. False: there are not as many. */
static bool spend_spare(struct decoder *decoder, int64_t bytes) {
    if (bytes > decoder->spare) return false;
    if (bytes > 0) decoder->spare -= bytes;
    return true;
}

/* The raw bytes of a compressed buffer, in memory of the batch's own; those beyond
 * `bytes_max` only as long as there are spare ones. */
static int decompress(struct decoder *decoder, struct bc_wire_buffer buffer,
                      int64_t bytes_min, int64_t bytes_max, const void **out_data) {
    struct bc_compressed compressed;
    int code = bc__compressed_parse(decoder->message.body + buffer.offset, buffer.length,
                                    &compressed);
    if (code != 0) return code;
    if (compressed.length < bytes_min ||
        compressed.length / EXPANSION_MAX > buffer.length) {
        return EINVAL;
    }
    bool whole = spend_spare(decoder, compressed.length - bytes_max);
    int64_t bytes = whole ? compressed.length : bytes_max;
    decoder->taken = bytes;
    *out_data = NULL;
    if (bytes == 0) return 0;
    if (bc__work_spend(decoder->left, bytes) != 0) return EAGAIN;
    uint8_t *raw = bc__batch_buffer(decoder->batch, (size_t)bytes);
    if (raw == NULL) return ENOMEM;
    *out_data = raw;
    if (compressed.raw) {
        /* The payload is not aligned. */
        memcpy(raw, compressed.payload, (size_t)bytes);
        return 0;
    }
    enum bc_codec codec = decoder->message.wire.codec;
    return whole ? bc__decompress(&decoder->decompressor, codec, &compressed, raw)
                 : bc__decompress_start(&decoder->decompressor, codec, &compressed, raw,
                                        (size_t)bytes);
}

/* `bytes` of a buffer that others left unaligned, in memory of the batch's own. */
static int align(struct decoder *decoder, struct bc_wire_buffer buffer, int64_t bytes,
                 const void **out_data) {
    *out_data = NULL;
    if (bytes == 0) return 0;
    uint8_t *aligned = bc__batch_buffer(decoder->batch, (size_t)bytes);
    if (aligned == NULL) return ENOMEM;
    memcpy(aligned, decoder->message.body + buffer.offset, (size_t)bytes);
    *out_data = aligned;
    return 0;
}

/* Takes the next buffer, which must have `bytes_min` bytes, aligned to `alignment`; an
 * empty one is NULL. What is behind `bytes_max` bytes is not wanted. */
static int take(struct decoder *decoder, int64_t bytes_min, int64_t bytes_max,
                size_t alignment, const void **out_data) {
    struct bc_message *message = &decoder->message;
    if (message->buffer >= message->wire.n_buffers) return EINVAL;
    struct bc_wire_buffer buffer = bc__wire_buffer(&message->wire, message->buffer++);
    decoder->taken = 0;
    *out_data = NULL;
    /* The offset of an empty buffer means nothing. */
    if (buffer.length == 0) return bytes_min == 0 ? 0 : EINVAL;
    if (!bc__message_contains(message, buffer)) return EINVAL;
    if (is_compressed(decoder)) {
        return decompress(decoder, buffer, bytes_min, bytes_max, out_data);
    }
    if (buffer.length < bytes_min) return EINVAL;
    decoder->taken = buffer.length;
    *out_data = message->body + buffer.offset;
    bool aligned = ((uintptr_t)*out_data & (alignment - 1)) == 0;
    if (aligned && !COPIES_ALL) return 0;
    int64_t bytes = buffer.length < bytes_max ? buffer.length : bytes_max;
    decoder->taken = bytes;
    return align(decoder, buffer, bytes, out_data);
}

/* The same for a buffer of which `bytes` are wanted. */
static int take_buffer(struct decoder *decoder, int64_t bytes, size_t alignment,
                       const void **out_data) {
    return take(decoder, bytes, bytes, alignment, out_data);
}

/* Values of the other byte order become this machine's, in memory of the batch's own. */
static int turn(struct decoder *decoder, enum bc_unit unit, int64_t bytes,
                const void **data) {
    const struct bc_message *message = &decoder->message;
    uintptr_t at = (uintptr_t)*data - (uintptr_t)message->body;
    bool is_own = at >= (uintptr_t)message->wire.body_bytes;
    void *out = is_own ? (void *)(uintptr_t)*data
                       : bc__batch_buffer(decoder->batch, (size_t)bytes);
    if (out == NULL) return ENOMEM;
    bc__swap_bytes(unit, out, *data, bytes);
    *data = out;
    return 0;
}

/* The unit of the field's values, where that matters. */
static enum bc_unit unit_of(const struct decoder *decoder, const struct bc_field *field) {
    return decoder->schema->is_big_endian ? bc__unit_of_values(field) : BC_UNIT_BYTE;
}

/* Takes the next buffer, which has `bytes` bytes of numbers or views. */
static int take_values(struct decoder *decoder, int64_t bytes, size_t alignment,
                       enum bc_unit unit, const void **out_data) {
    int code = take_buffer(decoder, bytes, alignment, out_data);
    bool is_turned = decoder->schema->is_big_endian && unit != BC_UNIT_BYTE;
    if (code != 0 || !is_turned || bytes == 0) return code;
    return turn(decoder, unit, bytes, out_data);
}

/* A bitmap without a null is passed by unread. Nulls that the writer did not count, -1,
 * are counted here; there are none where there is no bitmap. */
static int take_validity(struct decoder *decoder, struct bc_node *node,
                         const void **out_data) {
    struct bc_message *message = &decoder->message;
    if (message->buffer >= message->wire.n_buffers) return EINVAL;
    bool is_counted = node->null_count >= 0;
    bool is_empty = bc__wire_buffer(&message->wire, message->buffer).length == 0;
    if (!is_counted && (is_empty || node->length == 0)) node->null_count = 0;
    if (node->null_count == 0) {
        message->buffer++;
        return 0;
    }
    int code = take_buffer(decoder, bc__bit_bytes(node->length), 1, out_data);
    if (code != 0 || is_counted) return code;
    node->null_count = node->length - bc__bits_count(*out_data, 0, node->length);
    return 0;
}

/* Offsets, then what they point to must reach: the last offset, in elements. */
static int take_offsets(struct decoder *decoder, const struct bc_field *field,
                        int64_t length, const void **out_data, int64_t *out_reach) {
    static const int64_t none;
    int64_t bytes = length == 0 ? 0 : (length + 1) * (field->bits / 8);
    enum bc_unit unit = field->bits == 32 ? BC_UNIT_4 : BC_UNIT_8;
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

/* How much of each of `n` variadic buffers the views want: goes where their sizes will
 * stand. All of it, where that is little. */
static void measure_views(struct decoder *decoder, const struct bc_node *node,
                          int64_t n) {
    /* Text seldom takes much more than its views, which are there. */
    decoder->spare += node->length * (int64_t)sizeof(struct bc_view);
    int64_t claimed = bc__message_claimed_bytes(&decoder->message, n, decoder->spare);
    if (spend_spare(decoder, claimed)) {
        for (int64_t i = 0; i < n; i++) decoder->sizes[i] = INT64_MAX;
        return;
    }
    memset(decoder->sizes, 0, (size_t)n * sizeof(decoder->sizes[0]));
    const uint8_t *validity = node->null_count == 0 ? NULL : node->buffers[0];
    const uint8_t *at = node->buffers[1];
    for (int64_t i = 0; i < node->length; i++, at += sizeof(struct bc_view)) {
        struct bc_view view;
        memcpy(&view, at, sizeof(view));
        if (view.length <= BC_VIEW_INLINE_MAX || view.buffer < 0 || view.buffer >= n ||
            view.offset < 0 || !bc__is_valid(validity, i)) {
            continue;
        }
        int64_t end = (int64_t)view.offset + view.length;
        if (end > decoder->sizes[view.buffer]) decoder->sizes[view.buffer] = end;
    }
}

/* Views, then their variadic buffers, whose sizes make the last buffer. */
static int take_views(struct decoder *decoder, struct bc_node *node) {
    if (decoder->message.view >= decoder->message.wire.n_variadic_counts) return EINVAL;
    int64_t n = bc__wire_variadic_count(&decoder->message.wire, decoder->message.view++);
    /* Somebody may change the file between the count of all and this one. */
    if (n < 0 || n > decoder->variadic_left) return EINVAL;
    decoder->variadic_left -= n;
    const void **buffers = node->buffers;
    int code = take_values(decoder, node->length * 16, 16, BC_UNIT_VIEW, &buffers[1]);
    if (code == 0) measure_views(decoder, node, n);
    for (int64_t i = 0; i < n && code == 0; i++) {
        code = take(decoder, 0, decoder->sizes[i], 1, &buffers[2 + i]);
        decoder->sizes[i] = decoder->taken;
    }
    buffers[2 + n] = decoder->sizes;
    node->n_buffers = 3 + n;
    decoder->sizes += n;
    decoder->tables += n;
    return code;
}

/* How many values a field has for its parent, and how many any of these can reach. */
struct need {
    int64_t min;
    int64_t max;
};

/* What its values take is in the file; but a compressed one may say that it has many. */
static struct need need_of(const struct decoder *decoder, int64_t min, int64_t max) {
    return (struct need){min, is_compressed(decoder) ? max : INT64_MAX};
}

static int decode_field(struct decoder *decoder, int32_t number, struct need need);

static int decode_children(struct decoder *decoder, int32_t number, int64_t min,
                           int64_t max) {
    const struct bc_field *field = &decoder->schema->fields[number];
    struct need need = need_of(decoder, min, max);
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = decode_field(decoder, field->first_child + c, need);
        if (code != 0) return code;
    }
    return 0;
}

static int decode_list(struct decoder *decoder, int32_t number,
                       const struct bc_node *node) {
    int64_t reach;
    int code = take_offsets(decoder, &decoder->schema->fields[number], node->length,
                            &node->buffers[1], &reach);
    return code != 0 ? code : decode_children(decoder, number, reach, reach);
}

static int decode_list_view(struct decoder *decoder, int32_t number,
                            const struct bc_node *node) {
    const struct bc_field *field = &decoder->schema->fields[number];
    const void **buffers = node->buffers;
    enum bc_unit unit = unit_of(decoder, field);
    int64_t bytes = node->length * (field->bits / 8);
    int code = take_values(decoder, bytes, field->alignment, unit, &buffers[1]);
    if (code == 0) {
        code = take_values(decoder, bytes, field->alignment, unit, &buffers[2]);
    }
    if (code != 0) return code;
    int64_t reach = 0;
    for (int64_t i = 0; i < node->length && is_compressed(decoder); i++) {
        int64_t end;
        if (!__builtin_add_overflow(bc__integer_at(buffers[1], field->bits, i),
                                    bc__integer_at(buffers[2], field->bits, i), &end) &&
            end > reach) {
            reach = end;
        }
    }
    return decode_children(decoder, number, 0, reach);
}

static int decode_dense_union(struct decoder *decoder, int32_t number,
                              const struct bc_node *node) {
    const struct bc_field *field = &decoder->schema->fields[number];
    const void **buffers = node->buffers;
    int code = take_buffer(decoder, node->length, 1, &buffers[0]);
    if (code == 0) {
        code = take_values(decoder, node->length * 4, 4, BC_UNIT_4, &buffers[1]);
    }
    if (code != 0) return code;
    int64_t reach[128] = {0};
    const int8_t *ids = buffers[0];
    for (int64_t i = 0; i < node->length && is_compressed(decoder); i++) {
        int child = ids[i] < 0 ? -1 : field->union_children[ids[i]];
        int64_t end = bc__integer_at(buffers[1], 32, i) + 1;
        if (child >= 0 && end > reach[child]) reach[child] = end;
    }
    for (int32_t c = 0; c < field->n_children && code == 0; c++) {
        struct need need = need_of(decoder, 0, reach[c]);
        code = decode_field(decoder, field->first_child + c, need);
    }
    return code;
}

/* The buffers of a node behind its validity, and its children. */
static int decode_values(struct decoder *decoder, int32_t number, struct bc_node *node) {
    const struct bc_field *field = &decoder->schema->fields[number];
    int64_t length = node->length;
    int64_t reach;
    int code;
    switch (field->kind) {
        case BC_LAYOUT_NULL:
            return 0;
        case BC_LAYOUT_FIXED:
            if (field->bits > 1024 && length > INT64_MAX / field->bits) return EINVAL;
            return take_values(decoder, bc__bit_bytes(length * field->bits),
                               field->alignment, unit_of(decoder, field),
                               &node->buffers[1]);
        case BC_LAYOUT_BINARY:
            code = take_offsets(decoder, field, length, &node->buffers[1], &reach);
            return code != 0 ? code : take_buffer(decoder, reach, 1, &node->buffers[2]);
        case BC_LAYOUT_LIST:
            return decode_list(decoder, number, node);
        case BC_LAYOUT_FIXED_LIST:
            if (__builtin_mul_overflow(length, (int64_t)field->list_size, &reach)) {
                return EINVAL;
            }
            return decode_children(decoder, number, reach, reach);
        case BC_LAYOUT_STRUCT:
            return decode_children(decoder, number, length, length);
        case BC_LAYOUT_VIEW:
            return take_views(decoder, node);
        case BC_LAYOUT_LIST_VIEW:
            return decode_list_view(decoder, number, node);
        case BC_LAYOUT_SPARSE_UNION:
            code = take_buffer(decoder, length, 1, &node->buffers[0]);
            return code != 0 ? code : decode_children(decoder, number, length, length);
        case BC_LAYOUT_DENSE_UNION:
            return decode_dense_union(decoder, number, node);
        case BC_LAYOUT_RUN_END:
            /* Each run has a row at least. */
            return decode_children(decoder, number, 0, length);
    }
    return EINVAL;
}

static int decode_field(struct decoder *decoder, int32_t number, struct need need) {
    const struct bc_field *field = &decoder->schema->fields[number];
    int32_t place = decoder->filled < 0 ? number : decoder->filled++;
    struct bc_node *node = &decoder->batch->nodes[place];
    if (decoder->message.node >= decoder->message.wire.n_nodes) return EINVAL;
    struct bc_wire_node wire =
        bc__wire_node(&decoder->message.wire, decoder->message.node++);
    if (wire.length < need.min || wire.length > BC_LENGTH_MAX || wire.null_count < -1 ||
        wire.null_count > wire.length) {
        return EINVAL;
    }
    if (wire.length > need.max) {
        /* Which of the nulls are left, nobody knows. */
        wire.length = need.max;
        if (wire.null_count != 0) wire.null_count = -1;
    }
    const void **buffers = decoder->tables;
    decoder->tables += field->n_buffers;
    node->length = wire.length;
    node->null_count = bc__null_count(field, wire.length, wire.null_count);
    node->n_buffers = field->n_buffers;
    node->buffers = buffers;
    int code = field->has_validity ? take_validity(decoder, node, &buffers[0]) : 0;
    if (code == 0 && field->is_required && node->null_count > 0) return EINVAL;
    size_t extras = bc__message_extras(&decoder->message, field);
    if (extras > 0 && field->kind != BC_LAYOUT_NULL && wire.null_count != 0)
        return ENOTSUP;
    decoder->message.buffer += extras;
    return code != 0 ? code : decode_values(decoder, number, node);
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
                 const struct bc_message *message, int64_t *left) {
    *decoder = (struct decoder){.schema = schema,
                                .message = *message,
                                .filled = values > 0 ? 0 : -1,
                                .left = left};
    decoder->spare = SPARE_TIMES * message->wire.body_bytes + SPARE_MIN;
    struct room room = {0, 0};
    add_room(schema, values, &room);
    size_t n_variadic;
    int code = bc__message_variadic_buffers(message, &n_variadic);
    if (code == 0) code = bc__message_find_extras(&decoder->message, schema, values);
    /* Or a small message takes as long as the schema is wide. The root has no node. */
    size_t n_nodes = (size_t)room.nodes - (values == 0);
    if (message->wire.n_nodes < n_nodes) code = EINVAL;
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
        if (!bc__projection_has(projection, c)) {
            int code = bc__message_skip_field(&decoder->message, decoder->schema, number);
            if (code != 0) return code;
            continue;
        }
        const struct bc_wire_batch *wire = &decoder->message.wire;
        size_t node = decoder->message.node;
        if (node >= wire->n_nodes || bc__wire_node(wire, node).length != wire->rows) {
            return EINVAL;
        }
        int code =
            decode_field(decoder, number, need_of(decoder, wire->rows, wire->rows));
        if (code != 0) return code;
    }
    return 0;
}

int bc__decode_batch(const struct bc_schema *schema,
                     const struct bc_projection *projection,
                     const struct bc_message *message, int64_t *left,
                     struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start(&decoder, schema, 0, message, left);
    if (code != 0) return code;
    struct bc_node *root = &decoder.batch->nodes[0];
    root->length = decoder.message.wire.rows;
    root->n_buffers = 1;
    root->buffers = decoder.tables++;
    code = decoder.message.wire.is_dictionary ? EINVAL
                                              : decode_columns(&decoder, projection);
    return finish(&decoder, code, out_batch);
}

int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const struct bc_message *message, int64_t *left,
                          struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start(&decoder, schema, dictionary, message, left);
    if (code != 0) return code;
    int32_t owner = schema->fields[dictionary].parent;
    bool is_it =
        decoder.message.wire.is_dictionary &&
        decoder.message.wire.dictionary_id == schema->fields[owner].dictionary_id;
    int64_t rows = decoder.message.wire.rows;
    code = is_it ? decode_field(&decoder, dictionary, need_of(&decoder, rows, rows))
                 : EINVAL;
    return finish(&decoder, code, out_batch);
}
