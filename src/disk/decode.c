#include "disk/decode.h"

#include <errno.h>
#include <string.h>

#include "arrow/metadata.h"
#include "base/alloc.h"
#include "base/check.h"
#include "disk/checksum.h"
#include "disk/codec.h"
#include "disk/scan.h"

enum { PREFIX = 8, ALIGNMENT = 64 };
/* The number that version V5 of the metadata has. */
enum { METADATA_V5 = 4 };

struct decoder {
    const struct bc_schema *schema;
    struct bc_batch *batch;
    struct bc_wire_batch wire;
    const uint8_t *body;
    const void **tables; /* next free entry of the batch's buffer tables */
    int64_t *sizes;      /* next free entry of the batch's sizes of variadic buffers */
    int32_t filled;      /* nodes of a dictionary, depth first; -1: those of a batch */
    size_t node;
    size_t buffer;
    size_t view;
    int64_t variadic_left;  /* buffers that the tables have room for */
    int64_t taken;          /* bytes of the buffer taken last */
    uint8_t *metadata_copy; /* or NULL */
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

/* Buffers may lie on each other, but not so many that to read them all takes much longer
 * than to read the body. */
enum { SHARING_MAX = 4 };

static bool fits_body(const struct bc_wire_batch *wire) {
    int64_t left = wire->body_bytes <= INT64_MAX / SHARING_MAX
                       ? wire->body_bytes * SHARING_MAX
                       : INT64_MAX;
    for (size_t i = 0; i < wire->n_buffers; i++) {
        int64_t length = wire->buffers[i].length;
        if (length < 0 || length > left) return false;
        left -= length;
    }
    return true;
}

/* A message's metadata, with what it says of the batch. `*out_copy`, for the caller to
 * free, is NULL where it stands aligned; else the copy that `out_wire` points into. */
static int read_metadata(const uint8_t *message, int64_t size, struct bc_frame *out_frame,
                         struct bc_wire_batch *out_wire, uint8_t **out_copy) {
    *out_copy = NULL;
    int code = bc__frame_parse(message, size, out_frame);
    if (code == EAGAIN) code = EINVAL;
    if (code != 0) return code;
    int64_t bytes = out_frame->metadata_size;
    if (bytes == 0 || bytes > size - out_frame->metadata) return EINVAL;
    const uint8_t *metadata = message + out_frame->metadata;
    if (((uintptr_t)metadata & 7) != 0) {
        *out_copy = bc__malloc_aligned(8, (size_t)bytes);
        if (*out_copy == NULL) return ENOMEM;
        memcpy(*out_copy, metadata, (size_t)bytes);
        metadata = *out_copy;
    }
    code = bc__metadata_read_batch(metadata, (size_t)bytes, out_wire);
    int64_t left = size - out_frame->metadata - bytes;
    if (code == 0 && (out_wire->body_bytes < 0 || out_wire->body_bytes > left ||
                      !fits_body(out_wire))) {
        code = EINVAL;
    }
    if (code != 0) {
        bc__free(*out_copy);
        *out_copy = NULL;
    }
    return code;
}

/* The raw bytes of a compressed buffer, in memory of the batch's own. */
static int decompress(struct decoder *decoder, struct bc_wire_buffer buffer,
                      int64_t bytes_min, const void **out_data) {
    struct bc_compressed compressed;
    int code =
        bc__compressed_parse(decoder->body + buffer.offset, buffer.length, &compressed);
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
        return bc__decompress(&decoder->decompressor, decoder->wire.codec, &compressed,
                              raw);
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
    memcpy(aligned, decoder->body + buffer.offset, (size_t)buffer.length);
    *out_data = aligned;
    return 0;
}

/* Takes the next buffer, which must have `bytes_min` bytes, aligned to `alignment`; an
 * empty one is NULL. */
static int take_buffer(struct decoder *decoder, int64_t bytes_min, size_t alignment,
                       const void **out_data) {
    if (decoder->buffer >= decoder->wire.n_buffers) return EINVAL;
    struct bc_wire_buffer buffer = decoder->wire.buffers[decoder->buffer++];
    if (buffer.offset < 0 || buffer.length < 0 ||
        buffer.offset > decoder->wire.body_bytes ||
        buffer.length > decoder->wire.body_bytes - buffer.offset) {
        return EINVAL;
    }
    if (decoder->wire.codec != BC_CODEC_NONE && buffer.length > 0) {
        return decompress(decoder, buffer, bytes_min, out_data);
    }
    if (buffer.length < bytes_min) return EINVAL;
    decoder->taken = buffer.length;
    *out_data = buffer.length == 0 ? NULL : decoder->body + buffer.offset;
    bool aligned = ((uintptr_t)*out_data & (alignment - 1)) == 0;
    if (buffer.length == 0 || (aligned && !COPIES_ALL)) return 0;
    return align(decoder, buffer, out_data);
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
    int code = take_buffer(decoder, bytes, field->alignment, out_data);
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
    if (decoder->view >= decoder->wire.n_variadic_counts) return EINVAL;
    int64_t n = decoder->wire.variadic_counts[decoder->view++];
    /* Somebody may change the file between the count of all and this one. */
    if (n < 0 || n > decoder->variadic_left) return EINVAL;
    decoder->variadic_left -= n;
    const void **buffers = node->buffers;
    int code = take_buffer(decoder, node->length * 16, 16, &buffers[1]);
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

/* Before metadata V5, unions had a bitmap, and Arrow C++ writes one for run ends too. */
static bool has_old_validity(const struct decoder *decoder,
                             const struct bc_field *field) {
    return decoder->wire.version < METADATA_V5 &&
           (field->kind == BC_KIND_SPARSE_UNION || field->kind == BC_KIND_DENSE_UNION ||
            field->kind == BC_KIND_RUN_END);
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
    if (decoder->node >= decoder->wire.n_nodes) return EINVAL;
    struct bc_wire_node wire = decoder->wire.nodes[decoder->node++];
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
    int code = field->has_validity ? take_validity(decoder, node, &buffers[0]) : 0;
    if (has_old_validity(decoder, field)) {
        if (wire.null_count != 0) return ENOTSUP;
        decoder->buffer++;
    }
    if (code != 0) return code;
    switch (field->kind) {
        case BC_KIND_NULL:
            return 0;
        case BC_KIND_FIXED:
            if (field->bits > 1024 && wire.length > INT64_MAX / field->bits)
                return EINVAL;
            return take_buffer(decoder, bc__bit_bytes(wire.length * field->bits),
                               field->alignment, &buffers[1]);
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
            code = take_buffer(decoder, bytes, field->alignment, &buffers[1]);
            if (code == 0) {
                code = take_buffer(decoder, bytes, field->alignment, &buffers[2]);
            }
            return code != 0 ? code : decode_children(decoder, number, 0);
        case BC_KIND_SPARSE_UNION:
            code = take_buffer(decoder, wire.length, 1, &buffers[0]);
            return code != 0 ? code : decode_children(decoder, number, wire.length);
        case BC_KIND_DENSE_UNION:
            code = take_buffer(decoder, wire.length, 1, &buffers[0]);
            if (code == 0) code = take_buffer(decoder, wire.length * 4, 4, &buffers[1]);
            return code != 0 ? code : decode_children(decoder, number, 0);
        case BC_KIND_RUN_END:
            return decode_children(decoder, number, 0);
    }
    return EINVAL;
}

/* Passes a field by, with all below it, without looking at its bytes. */
static int pass_field(struct decoder *decoder, int32_t number) {
    const struct bc_field *field = &decoder->schema->fields[number];
    size_t n_buffers = (size_t)field->n_buffers;
    if (field->kind == BC_KIND_VIEW) {
        if (decoder->view >= decoder->wire.n_variadic_counts) return EINVAL;
        /* The sizes are no buffer of the message. */
        n_buffers += (size_t)decoder->wire.variadic_counts[decoder->view++] - 1;
    }
    if (has_old_validity(decoder, field)) n_buffers++;
    decoder->node++;
    decoder->buffer += n_buffers;
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = pass_field(decoder, field->first_child + c);
        if (code != 0) return code;
    }
    return 0;
}

/* Variadic buffers in all; no more than there are buffers. */
static int count_variadic(const struct bc_wire_batch *wire, size_t *out_n) {
    size_t n = 0;
    for (size_t i = 0; i < wire->n_variadic_counts; i++) {
        int64_t count = wire->variadic_counts[i];
        if (count < 0 || (uint64_t)count > wire->n_buffers - n) return EINVAL;
        n += (size_t)count;
    }
    *out_n = n;
    return 0;
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

/* Reads the metadata and makes an empty batch with room for the nodes and all buffer
 * tables of it, or of a dictionary's values (`values` > 0). */
static int start(struct decoder *decoder, const struct bc_schema *schema, int32_t values,
                 const uint8_t *message, int64_t size) {
    *decoder = (struct decoder){.schema = schema, .filled = values > 0 ? 0 : -1};
    struct bc_wire_batch *wire = &decoder->wire;
    struct bc_frame frame;
    int code = read_metadata(message, size, &frame, wire, &decoder->metadata_copy);
    if (code != 0) return code;
    decoder->body = message + frame.metadata + frame.metadata_size;
    struct room room = {0, 0};
    add_room(schema, values, &room);
    size_t n_variadic;
    code = count_variadic(wire, &n_variadic);
    if (code != 0) {
        bc__free(decoder->metadata_copy);
        return code;
    }
    if (values == 0) room.nodes = schema->n_fields;
    size_t n_buffers = room.buffers + n_variadic;
    decoder->variadic_left = (int64_t)n_variadic;
    decoder->batch = bc__batch_alloc(
        room.nodes, n_buffers * sizeof(void *) + n_variadic * sizeof(int64_t));
    if (decoder->batch == NULL) {
        bc__free(decoder->metadata_copy);
        return ENOMEM;
    }
    decoder->tables = bc__batch_tail(decoder->batch);
    decoder->sizes = (int64_t *)(void *)(decoder->tables + n_buffers);
    return 0;
}

/* Gives the batch out, or up where `code` says that it failed. */
static int finish(struct decoder *decoder, int code, struct bc_batch **out_batch) {
    bc__decompressor_finish(&decoder->decompressor);
    bc__free(decoder->metadata_copy);
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
                       ? decode_field(decoder, number, decoder->wire.rows)
                       : pass_field(decoder, number);
        if (code != 0) return code;
        if (decoder->batch->nodes[number].length > decoder->wire.rows) return EINVAL;
    }
    return 0;
}

int bc__decode_batch(const struct bc_schema *schema,
                     const struct bc_projection *projection, const uint8_t *message,
                     int64_t size, struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start(&decoder, schema, 0, message, size);
    if (code != 0) return code;
    struct bc_node *root = &decoder.batch->nodes[0];
    root->length = decoder.wire.rows;
    root->n_buffers = 1;
    root->buffers = decoder.tables++;
    code = decoder.wire.is_dictionary ? EINVAL : decode_columns(&decoder, projection);
    return finish(&decoder, code, out_batch);
}

int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const uint8_t *message, int64_t size,
                          struct bc_batch **out_batch) {
    struct decoder decoder;
    int code = start(&decoder, schema, dictionary, message, size);
    if (code != 0) return code;
    int32_t owner = schema->fields[dictionary].parent;
    bool is_it = decoder.wire.is_dictionary &&
                 decoder.wire.dictionary_id == schema->fields[owner].dictionary_id;
    code = is_it ? decode_field(&decoder, dictionary, decoder.wire.rows) : EINVAL;
    return finish(&decoder, code, out_batch);
}

/* Checks buffers `first` to before `end` of the body, each with the padding behind it. */
static bool verify_buffers(const struct bc_wire_batch *wire, const uint8_t *body,
                           const char *digits, size_t first, size_t end) {
    if (end > wire->n_buffers) return false;
    for (size_t i = first; i < end; i++) {
        struct bc_wire_buffer buffer = wire->buffers[i];
        uint64_t expected;
        if (buffer.length == 0) continue;
        if (buffer.offset < 0 || buffer.length < 0 || buffer.offset > wire->body_bytes ||
            buffer.length > wire->body_bytes - buffer.offset) {
            return false;
        }
        int64_t padded = bc__round_up(buffer.length, ALIGNMENT);
        if (padded > wire->body_bytes - buffer.offset) return false;
        if (!bc__checksum_parse(digits + i * BC_DIGITS, &expected) ||
            bc__checksum(body + buffer.offset, (size_t)padded) != expected) {
            return false;
        }
    }
    return true;
}

static bool verify_columns(const struct bc_schema *schema, const uint64_t *wanted,
                           const struct bc_wire_batch *wire, const uint8_t *body,
                           const char *digits) {
    struct decoder decoder = {.schema = schema, .wire = *wire};
    const struct bc_field *root = &schema->fields[0];
    for (int32_t c = 0; c < root->n_children; c++) {
        size_t first = decoder.buffer;
        if (pass_field(&decoder, root->first_child + c) != 0) return false;
        bool wants = (wanted[c / 64] >> (c % 64) & 1) != 0;
        if (wants && !verify_buffers(wire, body, digits, first, decoder.buffer)) {
            return false;
        }
    }
    return true;
}

/* Checks the body's parts against `digits`; with a schema, those of some columns. */
static bool verify_body(const struct bc_schema *schema, const uint64_t *wanted,
                        const struct bc_wire_batch *wire, const uint8_t *body,
                        const char *digits) {
    uint64_t expected;
    if (wire->body_bytes == 0) return true;
    if (wire->body_bytes <= BC_SMALL_BODY_BYTES) {
        return wire->checksums_size == 2 * BC_DIGITS &&
               bc__checksum_parse(digits, &expected) &&
               bc__checksum(body, (size_t)wire->body_bytes) == expected;
    }
    if (wire->checksums_size != (wire->n_buffers + 1) * BC_DIGITS) return false;
    size_t n_variadic;
    if (count_variadic(wire, &n_variadic) != 0) return false;
    return schema == NULL ? verify_buffers(wire, body, digits, 0, wire->n_buffers)
                          : verify_columns(schema, wanted, wire, body, digits);
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

static int verify(const struct bc_schema *schema, const uint64_t *wanted,
                  const uint8_t *message, int64_t size) {
    struct bc_frame frame;
    struct bc_wire_batch wire;
    uint8_t *copy;
    int code = read_metadata(message, size, &frame, &wire, &copy);
    if (code != 0) return code == ENOMEM ? code : EBADMSG;
    bool right = false;
    /* What we write is aligned. */
    if (copy == NULL && frame.metadata == PREFIX) {
        size_t framed = (size_t)(frame.metadata + frame.metadata_size);
        right = verify_metadata(message, framed, &wire) &&
                wire.body_bytes == size - (int64_t)framed &&
                verify_body(schema, wanted, &wire, message + framed,
                            wire.checksums + BC_DIGITS);
    }
    bc__free(copy);
    return right ? 0 : EBADMSG;
}

int bc__decode_verify_columns(const struct bc_schema *schema, const uint64_t *wanted,
                              const uint8_t *message, int64_t size) {
    bc_assert(schema != NULL && wanted != NULL);
    return verify(schema, wanted, message, size);
}

int bc__decode_verify(const uint8_t *message, int64_t size) {
    return verify(NULL, NULL, message, size);
}

bool bc__decode_verify_metadata(const uint8_t *message, size_t framed) {
    struct bc_wire_batch wire;
    return framed > PREFIX &&
           bc__metadata_read_batch(message + PREFIX, framed - PREFIX, &wire) == 0 &&
           verify_metadata(message, framed, &wire);
}

int bc__decode_measure(const struct bc_schema *schema, const uint8_t *message,
                       int64_t size, int64_t *columns, enum bc_codec *out_codec) {
    struct decoder decoder = {.schema = schema};
    struct bc_frame frame;
    uint8_t *copy;
    int code = read_metadata(message, size, &frame, &decoder.wire, &copy);
    if (code != 0) return code;
    *out_codec = decoder.wire.codec;
    const struct bc_field *root = &schema->fields[0];
    for (int32_t c = 0; c < root->n_children && columns != NULL && code == 0; c++) {
        size_t first = decoder.buffer;
        code = pass_field(&decoder, root->first_child + c);
        if (code == 0 && decoder.buffer > decoder.wire.n_buffers) code = EINVAL;
        for (size_t i = first; i < decoder.buffer && code == 0; i++) {
            int64_t length = decoder.wire.buffers[i].length;
            if (length < 0 || length > decoder.wire.body_bytes) code = EINVAL;
            if (code == 0) columns[c] += length;
        }
    }
    bc__free(copy);
    return code;
}
