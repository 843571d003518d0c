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
    const void **tables; /* next free entry of the batch's buffer tables */
    int64_t *sizes;      /* next free entry of the batch's variadic buffer sizes */
    int32_t filled;      /* of a dictionary: nodes so far, depth first; of a batch: -1 */
    int64_t variadic_left; /* free entries for variadic buffers in the tables */
    int64_t taken;         /* bytes of the last buffer */
    int64_t spare; /* bytes that may be decompressed although no row reaches them */
    int64_t *left; /* bytes that may be decompressed in all; NULL: any */
    struct bc_decompressor decompressor;
};

/* A fuzzing build copies every buffer, so that a sanitizer detects reads past its end. */
#ifdef BC_FUZZ
enum { COPIES_ALL = 1 };
#else
enum { COPIES_ALL = 0 };
#endif

/* No codec expands one byte to more bytes than this. A larger length is invalid. */
enum { EXPANSION_MAX = 1 << 16 };

/* Some writers write more bytes than an array needs. The excess of all buffers of a
 * message is at most SPARE_TIMES its body, and SPARE_MIN. */
enum { SPARE_TIMES = 3, SPARE_MIN = 1 << 16 };

static bool is_compressed(const struct decoder *decoder) {
    return decoder->message.wire.codec != BC_CODEC_NONE;
}

/* Subtracts bytes that no row reaches from the spare bytes. It returns false, and changes
 * nothing, if fewer are left. */
static bool spend_spare(struct decoder *decoder, int64_t bytes) {
    if (bytes > decoder->spare) return false;
    if (bytes > 0) decoder->spare -= bytes;
    return true;
}

/* Decompresses a buffer into memory of the batch. If the spare bytes do not suffice, it
 * decompresses only `bytes_max` bytes. */
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
    uint8_t *raw = bc__batch_buffer(decoder->batch, (uint64_t)bytes);
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

/* Copies `bytes` bytes of an unaligned buffer into memory of the batch. */
static int copy_aligned(struct decoder *decoder, struct bc_wire_buffer buffer,
                        int64_t bytes, const void **out_data) {
    *out_data = NULL;
    if (bytes == 0) return 0;
    uint8_t *aligned = bc__batch_buffer(decoder->batch, (uint64_t)bytes);
    if (aligned == NULL) return ENOMEM;
    memcpy(aligned, decoder->message.body + buffer.offset, (size_t)bytes);
    *out_data = aligned;
    return 0;
}

/* Moves to the next buffer, and gives its aligned bytes; NULL means an empty buffer.
 * `bytes_max`: bytes after these are not needed.
 * EINVAL: it has fewer than `bytes_min` bytes, or is not inside the body.
 * EAGAIN, ENOMEM. */
static int next_buffer(struct decoder *decoder, int64_t bytes_min, int64_t bytes_max,
                       size_t alignment, const void **out_data) {
    struct bc_message *message = &decoder->message;
    if (message->buffer >= message->wire.n_buffers) return EINVAL;
    struct bc_wire_buffer buffer = bc__wire_buffer(&message->wire, message->buffer++);
    decoder->taken = 0;
    *out_data = NULL;
    /* The offset of an empty buffer is arbitrary. */
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
    return copy_aligned(decoder, buffer, bytes, out_data);
}

/* The same for a buffer of `bytes` bytes. */
static int take_buffer(struct decoder *decoder, int64_t bytes, size_t alignment,
                       const void **out_data) {
    return next_buffer(decoder, bytes, bytes, alignment, out_data);
}

/* Converts values to this machine's byte order, in memory of the batch. */
static int swap_values(struct decoder *decoder, enum bc_unit unit, int64_t bytes,
                       const void **data) {
    const struct bc_message *message = &decoder->message;
    uintptr_t at = (uintptr_t)*data - (uintptr_t)message->body;
    bool is_own = at >= (uintptr_t)message->wire.body_bytes;
    void *out = is_own ? (void *)(uintptr_t)*data
                       : bc__batch_buffer(decoder->batch, (uint64_t)bytes);
    if (out == NULL) return ENOMEM;
    bc__swap_bytes(unit, out, *data, bytes);
    *data = out;
    return 0;
}

/* Returns the unit of the field's values if they have another byte order. */
static enum bc_unit unit_of(const struct decoder *decoder, const struct bc_field *field) {
    return decoder->schema->is_big_endian ? bc__unit_of_values(field) : BC_UNIT_BYTE;
}

/* Moves to the next buffer, which has `bytes` bytes of numbers or views. */
static int take_values(struct decoder *decoder, int64_t bytes, size_t alignment,
                       enum bc_unit unit, const void **out_data) {
    int code = take_buffer(decoder, bytes, alignment, out_data);
    bool is_turned = decoder->schema->is_big_endian && unit != BC_UNIT_BYTE;
    if (code != 0 || !is_turned || bytes == 0) return code;
    return swap_values(decoder, unit, bytes, out_data);
}

/* Moves past the validity bitmap. If there is no null, the bitmap is not read. If the
 * writer did not count the nulls (-1), they are counted here. Without a bitmap there are
 * none. */
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

/* Moves to the next buffer, of offsets. `*out_reach`: the last offset, in elements. The
 * child or the data must reach it. */
static int take_offsets(struct decoder *decoder, const struct bc_field *field,
                        int64_t length, const void **out_data, int64_t *out_reach) {
    static const int64_t none;
    int64_t bytes = length == 0 ? 0 : (length + 1) * (field->bits / 8);
    enum bc_unit unit = field->bits == 32 ? BC_UNIT_4 : BC_UNIT_8;
    int code = take_values(decoder, bytes, field->alignment, unit, out_data);
    if (code != 0) return code;
    *out_reach = 0;
    if (length == 0) {
        /* Consumers may read the one offset of an empty array. */
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

/* Writes to `sizes` the bytes of each of `n` variadic buffers that the views reach. If
 * the spare bytes suffice for whole buffers, it writes INT64_MAX. */
static void measure_views(struct decoder *decoder, const struct bc_node *node,
                          int64_t n) {
    /* Text is seldom much larger than its views, which are already decompressed. */
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

/* Moves past the views and their variadic buffers. The node's last buffer is the variadic
 * buffers' sizes. */
static int take_views(struct decoder *decoder, struct bc_node *node) {
    if (decoder->message.view >= decoder->message.wire.n_variadic_counts) return EINVAL;
    int64_t n = bc__wire_variadic_count(&decoder->message.wire, decoder->message.view++);
    /* The file may have been changed since all variadic buffers were counted. */
    if (n < 0 || n > decoder->variadic_left) return EINVAL;
    decoder->variadic_left -= n;
    const void **buffers = node->buffers;
    int code = take_values(decoder, node->length * 16, 16, BC_UNIT_VIEW, &buffers[1]);
    if (code == 0) measure_views(decoder, node, n);
    for (int64_t i = 0; i < n && code == 0; i++) {
        code = next_buffer(decoder, 0, decoder->sizes[i], 1, &buffers[2 + i]);
        decoder->sizes[i] = decoder->taken;
    }
    buffers[2 + n] = decoder->sizes;
    node->n_buffers = 3 + n;
    decoder->sizes += n;
    decoder->tables += n;
    return code;
}

/* The values of a field: how many its parent requires, and how many it can reach. */
struct need {
    int64_t min;
    int64_t max;
};

/* Values that are not compressed are in the file, so only compressed ones are limited. */
static struct need need_of(const struct decoder *decoder, int64_t min, int64_t max) {
    return (struct need){min, is_compressed(decoder) ? max : INT64_MAX};
}

static int decode_field(struct decoder *decoder, int32_t index, struct need need);

static int decode_children(struct decoder *decoder, int32_t index, int64_t min,
                           int64_t max) {
    const struct bc_field *field = &decoder->schema->fields[index];
    struct need need = need_of(decoder, min, max);
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = decode_field(decoder, field->first_child + c, need);
        if (code != 0) return code;
    }
    return 0;
}

static int decode_list(struct decoder *decoder, int32_t index,
                       const struct bc_node *node) {
    int64_t reach;
    int code = take_offsets(decoder, &decoder->schema->fields[index], node->length,
                            &node->buffers[1], &reach);
    return code != 0 ? code : decode_children(decoder, index, reach, reach);
}

static int decode_list_view(struct decoder *decoder, int32_t index,
                            const struct bc_node *node) {
    const struct bc_field *field = &decoder->schema->fields[index];
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
    return decode_children(decoder, index, 0, reach);
}

static int decode_dense_union(struct decoder *decoder, int32_t index,
                              const struct bc_node *node) {
    const struct bc_field *field = &decoder->schema->fields[index];
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

/* Decodes the buffers of a node after its validity bitmap, and its children. */
static int decode_node_values(struct decoder *decoder, int32_t index,
                              struct bc_node *node) {
    const struct bc_field *field = &decoder->schema->fields[index];
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
            return decode_list(decoder, index, node);
        case BC_LAYOUT_FIXED_LIST:
            if (__builtin_mul_overflow(length, (int64_t)field->list_size, &reach)) {
                return EINVAL;
            }
            return decode_children(decoder, index, reach, reach);
        case BC_LAYOUT_STRUCT:
            return decode_children(decoder, index, length, length);
        case BC_LAYOUT_VIEW:
            return take_views(decoder, node);
        case BC_LAYOUT_LIST_VIEW:
            return decode_list_view(decoder, index, node);
        case BC_LAYOUT_SPARSE_UNION:
            code = take_buffer(decoder, length, 1, &node->buffers[0]);
            return code != 0 ? code : decode_children(decoder, index, length, length);
        case BC_LAYOUT_DENSE_UNION:
            return decode_dense_union(decoder, index, node);
        case BC_LAYOUT_RUN_END:
            /* Each run has at least one row. */
            return decode_children(decoder, index, 0, length);
    }
    return EINVAL;
}

static int decode_field(struct decoder *decoder, int32_t index, struct need need) {
    const struct bc_field *field = &decoder->schema->fields[index];
    int32_t position = decoder->filled < 0 ? index : decoder->filled++;
    struct bc_node *node = &decoder->batch->nodes[position];
    if (decoder->message.node >= decoder->message.wire.n_nodes) return EINVAL;
    struct bc_wire_node wire =
        bc__wire_node(&decoder->message.wire, decoder->message.node++);
    if (wire.length < need.min || wire.length > BC_LENGTH_MAX || wire.null_count < -1 ||
        wire.null_count > wire.length) {
        return EINVAL;
    }
    if (wire.length > need.max) {
        /* The nulls among the remaining values are not counted. */
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
    return code != 0 ? code : decode_node_values(decoder, index, node);
}

/* The number of nodes and of buffer table entries of a batch. */
struct table_size {
    int32_t nodes;
    size_t buffers;
};

/* Adds those of a field and all fields below it. */
static void add_table_size(const struct bc_schema *schema, int32_t index,
                           struct table_size *table_size) {
    const struct bc_field *field = &schema->fields[index];
    table_size->nodes++;
    table_size->buffers += (size_t)field->n_buffers;
    for (int32_t c = 0; c < field->n_children; c++) {
        add_table_size(schema, field->first_child + c, table_size);
    }
}

/* Initialises the decoder with an empty batch, which has room for all nodes and buffer
 * tables. `values`: the field of a dictionary's values, or 0 for a batch. */
static int start_decoder(struct decoder *decoder, const struct bc_schema *schema,
                         int32_t values, const struct bc_message *message,
                         int64_t *left) {
    *decoder = (struct decoder){.schema = schema,
                                .message = *message,
                                .filled = values > 0 ? 0 : -1,
                                .left = left};
    decoder->spare = SPARE_TIMES * message->wire.body_bytes + SPARE_MIN;
    struct table_size table_size = {0, 0};
    add_table_size(schema, values, &table_size);
    size_t n_variadic;
    int code = bc__message_variadic_buffers(message, &n_variadic);
    if (code == 0) code = bc__message_find_extras(&decoder->message, schema, values);
    /* Reject early: a small message must not cost time proportional to the schema. The
     * root has no node in the message. */
    size_t n_nodes = (size_t)table_size.nodes - (values == 0);
    if (message->wire.n_nodes < n_nodes) code = EINVAL;
    if (code != 0) return code;
    if (values == 0) table_size.nodes = schema->n_fields;
    size_t n_buffers = table_size.buffers + n_variadic;
    decoder->variadic_left = (int64_t)n_variadic;
    decoder->batch = bc__batch_alloc(
        table_size.nodes, n_buffers * sizeof(void *) + n_variadic * sizeof(int64_t));
    if (decoder->batch == NULL) return ENOMEM;
    decoder->tables = bc__batch_tail(decoder->batch);
    decoder->sizes = (int64_t *)(void *)(decoder->tables + n_buffers);
    return 0;
}

/* Releases the decoder. It gives out the batch, or drops it if `code` is an error. */
static int finish_decoder(struct decoder *decoder, int code,
                          struct bc_batch **out_batch) {
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
        int32_t index = root->first_child + c;
        if (!bc__projection_has(projection, c)) {
            int code = bc__message_skip_field(&decoder->message, decoder->schema, index);
            if (code != 0) return code;
            continue;
        }
        const struct bc_wire_batch *wire = &decoder->message.wire;
        size_t node = decoder->message.node;
        if (node >= wire->n_nodes || bc__wire_node(wire, node).length != wire->rows) {
            return EINVAL;
        }
        int code = decode_field(decoder, index, need_of(decoder, wire->rows, wire->rows));
        if (code != 0) return code;
    }
    return 0;
}

int bc__decode_batch(const struct bc_schema *schema,
                     const struct bc_projection *projection,
                     const struct bc_message *message, int64_t *left,
                     struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start_decoder(&decoder, schema, 0, message, left);
    if (code != 0) return code;
    struct bc_node *root = &decoder.batch->nodes[0];
    root->length = decoder.message.wire.rows;
    root->n_buffers = 1;
    root->buffers = decoder.tables++;
    code = decoder.message.wire.is_dictionary ? EINVAL
                                              : decode_columns(&decoder, projection);
    return finish_decoder(&decoder, code, out_batch);
}

int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const struct bc_message *message, int64_t *left,
                          struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start_decoder(&decoder, schema, dictionary, message, left);
    if (code != 0) return code;
    int32_t owner = schema->fields[dictionary].parent;
    bool is_right =
        decoder.message.wire.is_dictionary &&
        decoder.message.wire.dictionary_id == schema->fields[owner].dictionary_id;
    int64_t rows = decoder.message.wire.rows;
    code = is_right ? decode_field(&decoder, dictionary, need_of(&decoder, rows, rows))
                    : EINVAL;
    return finish_decoder(&decoder, code, out_batch);
}
