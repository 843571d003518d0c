/* Arrow IPC metadata: builds and reads flatbuffers. Files and bodies are elsewhere. */
#ifndef BC_IPC_METADATA_H
#define BC_IPC_METADATA_H

#include <string.h>

#include "arrow/schema.h"

/* Structs of the format, little-endian, in the layout of flatbuffers. */
struct bc_wire_node {
    int64_t length;
    int64_t null_count;
};

struct bc_wire_buffer {
    int64_t offset; /* in the body */
    int64_t length;
};

/* The reusable state of building messages. */
struct bc_metadata_builder;

/* Makes a builder. ENOMEM. */
int bc__metadata_builder_new(struct bc_metadata_builder **out_builder);
/* Frees it; NULL is allowed. */
void bc__metadata_builder_free(struct bc_metadata_builder *builder);

/* The key of a message's checksums, in its custom_metadata. */
#define BC_CHECKSUM_KEY "batchcorder.xxh3"
/* The key of a recording's key, in the custom_metadata of the schema's message. */
#define BC_KEY_KEY "batchcorder.key"

/* The format has one list of pairs for the metadata of a field. If the field is
 * dictionary-encoded, the list also has the metadata of the dictionary's values: each key
 * after BC_VALUES_KEY and ":". A key of the field itself may have the same form, which is
 * BC_VALUES_KEY, any number of "+", and ":". Such a key is written with one "+" more. */
#define BC_VALUES_KEY "batchcorder.values"

/* Returns the number of "+" in a key of this form, or -1 for another key. */
static inline int64_t bc__values_key_level(const char *key, size_t size) {
    size_t start = sizeof(BC_VALUES_KEY) - 1;
    if (size <= start || memcmp(key, BC_VALUES_KEY, start) != 0) return -1;
    size_t end = start;
    while (end < size && key[end] == '+') end++;
    return end < size && key[end] == ':' ? (int64_t)(end - start) : -1;
}

/* Builds a Schema message. The bytes belong to the builder until its next use.
 * `checksums`: the digits under BC_CHECKSUM_KEY; NULL means none.
 * `key`: the text under BC_KEY_KEY; NULL means none.
 * `out_digits`: the offset of these digits in the bytes.
 * ENOMEM. */
int bc__metadata_build_schema(struct bc_metadata_builder *builder,
                              const struct bc_schema *schema, const char *checksums,
                              const char *key, const uint8_t **out_bytes,
                              size_t *out_size, size_t *out_digits,
                              struct bc_error *error);

/* The metadata versions that can be read, with the format's values. */
enum { BC_METADATA_V4 = 3, BC_METADATA_V5 = 4 };

/* The compression of a body. Each buffer is compressed separately. */
enum bc_codec { BC_CODEC_NONE = 0, BC_CODEC_LZ4, BC_CODEC_ZSTD };

/* A RecordBatch message, or a DictionaryBatch message. */
struct bc_wire_batch {
    bool is_dictionary;
    bool is_delta; /* the values are appended to the dictionary */
    int version;   /* of metadata that was read: BC_METADATA_V4 or _V5 */
    enum bc_codec codec;
    int64_t dictionary_id;
    int64_t rows;
    int64_t body_bytes;
    /* Unaligned in metadata that was read: bc__wire_node() and so on copy them. */
    const void *nodes; /* struct bc_wire_node */
    size_t n_nodes;
    const void *buffers; /* struct bc_wire_buffer */
    size_t n_buffers;
    const void *variadic_counts; /* int64_t: the variadic buffers of each view field */
    size_t n_variadic_counts;
    const char *checksums; /* NULL: none; `checksums_size` characters */
    size_t checksums_size;
};

/* Return element `i`, which is in range. */
static inline struct bc_wire_node bc__wire_node(const struct bc_wire_batch *batch,
                                                size_t i) {
    struct bc_wire_node node;
    memcpy(&node, (const char *)batch->nodes + i * sizeof(node), sizeof(node));
    return node;
}

static inline struct bc_wire_buffer bc__wire_buffer(const struct bc_wire_batch *batch,
                                                    size_t i) {
    struct bc_wire_buffer buffer;
    memcpy(&buffer, (const char *)batch->buffers + i * sizeof(buffer), sizeof(buffer));
    return buffer;
}

static inline int64_t bc__wire_variadic_count(const struct bc_wire_batch *batch,
                                              size_t i) {
    int64_t count;
    memcpy(&count, (const char *)batch->variadic_counts + i * sizeof(count),
           sizeof(count));
    return count;
}

/* Builds a message of a batch or dictionary. If it has the shape of the previous message,
 * it overwrites the numbers in the previous bytes.
 * `out_digits`: the offset of the checksums in the bytes.
 * ENOMEM. */
int bc__metadata_build_batch(struct bc_metadata_builder *builder,
                             const struct bc_wire_batch *batch, const uint8_t **out_bytes,
                             size_t *out_size, size_t *out_digits,
                             struct bc_error *error);

/* The most rows of a batch, and values of a node: their bits can be counted. */
#define BC_LENGTH_MAX (INT64_MAX / 1024)

/* Metadata may be hostile. Each function needs linear time and no alignment, and its
 * results are inside the `size` bytes. The numbers are not validated. On failure the
 * results are untouched. */

/* Reads a RecordBatch or DictionaryBatch message. `*out_batch` points into the bytes.
 * EINVAL: it is no valid message of these kinds, or its metadata is older than V4. */
int bc__metadata_read_batch(const uint8_t *bytes, size_t size,
                            struct bc_wire_batch *out_batch);

enum bc_wire_kind { BC_WIRE_SCHEMA, BC_WIRE_DICTIONARY, BC_WIRE_BATCH, BC_WIRE_OTHER };

/* The kind of a message, and the size of its body. */
struct bc_wire_head {
    enum bc_wire_kind kind;
    int version;        /* any: the functions that read the message refuse old versions */
    int64_t body_bytes; /* not negative */
    /* For batches and dictionaries only. */
    int64_t rows; /* from 0 to BC_LENGTH_MAX */
    int64_t dictionary_id;
    bool is_delta;
};

/* Reads the head of a message of any kind. EINVAL: it is no message. */
int bc__metadata_peek(const uint8_t *bytes, size_t size, struct bc_wire_head *out_head);

/* A text inside a message's bytes, without a terminator. `data`: NULL means no text. */
struct bc_wire_text {
    const char *data;
    size_t size;
};

/* A Schema message that was read. */
struct bc_wire_schema {
    struct bc_schema *schema;
    struct bc_wire_text checksums;
    struct bc_wire_text key;
};

/* Reads a Schema message. The caller frees the schema. Its dictionary ids are those of
 * the stream: any integers. Several fields may share an id, even with different types.
 * EINVAL: the message is invalid.
 * ENOTSUP: a version, type or feature is unknown.
 * ENOMEM. */
int bc__metadata_read_schema(const uint8_t *bytes, size_t size,
                             struct bc_wire_schema *out_schema, struct bc_error *error);

/* A struct of the format: the position of a message in an IPC file, not validated. */
struct bc_wire_block {
    int64_t offset;         /* in the file */
    int32_t metadata_bytes; /* from the offset up to the body */
    int32_t padding;
    int64_t body_bytes;
};

struct bc_wire_blocks {
    const void *blocks; /* in the bytes that were read, unaligned */
    size_t n;
};

/* Returns block `i`, which is in range. */
static inline struct bc_wire_block bc__wire_block(const struct bc_wire_blocks *blocks,
                                                  size_t i) {
    struct bc_wire_block block;
    memcpy(&block, (const char *)blocks->blocks + i * sizeof(block), sizeof(block));
    return block;
}

/* Reads the Footer of an IPC file: its schema, and the positions of its messages. It does
 * not read the footer's version: each message has one. Errors as
 * bc__metadata_read_schema(). */
int bc__metadata_read_footer(const uint8_t *bytes, size_t size,
                             struct bc_schema **out_schema,
                             struct bc_wire_blocks *out_dictionaries,
                             struct bc_wire_blocks *out_batches, struct bc_error *error);

#endif
