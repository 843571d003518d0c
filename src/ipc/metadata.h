/* Arrow IPC metadata: flatbuffers built and read, nothing of files or bodies. */
#ifndef BC_IPC_METADATA_H
#define BC_IPC_METADATA_H

#include <string.h>

#include "arrow/schema.h"

/* Wire structs of the format, little endian, as flatbuffers lays them out. */
struct bc_wire_node {
    int64_t length;
    int64_t null_count;
};

struct bc_wire_buffer {
    int64_t offset; /* in the body */
    int64_t length;
};

/* Reusable state of the builder. */
struct bc_metadata_builder;

int bc__metadata_builder_new(struct bc_metadata_builder **out_builder);
void bc__metadata_builder_free(struct bc_metadata_builder *builder);

/* The key under which a message carries its checksums. */
#define BC_CHECKSUM_KEY "batchcorder.xxh3"

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

/* Builds a Schema message; `checksums` (may be NULL) goes under BC_CHECKSUM_KEY. The
 * bytes belong to the builder until its next use. ENOMEM, EINVAL for a schema that the
 * format cannot hold. */
int bc__metadata_build_schema(struct bc_metadata_builder *builder,
                              const struct bc_schema *schema, const char *checksums,
                              const uint8_t **out_bytes, size_t *out_size,
                              size_t *out_digits, struct bc_error *error);

/* The versions of the metadata that are read, as the format numbers them. */
enum { BC_METADATA_V4 = 3, BC_METADATA_V5 = 4 };

/* How the buffers of a body are compressed, each for itself. */
enum bc_codec { BC_CODEC_NONE = 0, BC_CODEC_LZ4, BC_CODEC_ZSTD };

/* A RecordBatch message, or a DictionaryBatch message. */
struct bc_wire_batch {
    bool is_dictionary;
    bool is_delta; /* more values of the dictionary */
    int version;   /* of the metadata, when it is read: V4 is 3, V5 is 4 */
    enum bc_codec codec;
    int64_t dictionary_id;
    int64_t rows;
    int64_t body_bytes;
    /* These are aligned to nothing where they were read: bc__wire_node and so on. */
    const void *nodes; /* struct bc_wire_node */
    size_t n_nodes;
    const void *buffers; /* struct bc_wire_buffer */
    size_t n_buffers;
    const void *variadic_counts; /* int64_t: variadic buffers of each view field */
    size_t n_variadic_counts;
    const char *checksums; /* NULL: none; `checksums_size` characters */
    size_t checksums_size;
};

/* Element `i`, which there is. */
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

/* `*out_digits` is where the checksums are in the bytes. A message of the shape of the
 * one before takes that one's bytes with other numbers. ENOMEM. */
int bc__metadata_build_batch(struct bc_metadata_builder *builder,
                             const struct bc_wire_batch *batch, const uint8_t **out_bytes,
                             size_t *out_size, size_t *out_digits,
                             struct bc_error *error);

/* Rows, and values of a node, that are taken for a number: so many bits can be counted.
 */
#define BC_LENGTH_MAX (INT64_MAX / 1024)

/* What is read may be anybody's, and hostile: all that is given out was checked to lie
 * inside the `size` bytes, which need no alignment, and the time is linear in the size.
 * The numbers in it are as they were found. Results are untouched on failure. */

/* Reads a RecordBatch or DictionaryBatch message; what `*out_batch` points to lies in the
 * bytes. EINVAL: no valid message of those kinds, or of metadata before V4. */
int bc__metadata_read_batch(const uint8_t *bytes, size_t size,
                            struct bc_wire_batch *out_batch);

enum bc_wire_kind { BC_WIRE_SCHEMA, BC_WIRE_DICTIONARY, BC_WIRE_BATCH, BC_WIRE_OTHER };

/* What a message is, and how long its body. */
struct bc_wire_head {
    enum bc_wire_kind kind;
    int version;        /* whatever it is: who reads on refuses what is too old */
    int64_t body_bytes; /* not negative */
    /* Of a batch and of a dictionary. */
    int64_t rows; /* from 0 to BC_LENGTH_MAX */
    int64_t dictionary_id;
    bool is_delta;
};

/* Looks at any message. EINVAL: it is none. */
int bc__metadata_peek(const uint8_t *bytes, size_t size, struct bc_wire_head *out_head);

/* Reads a Schema message. The fields have the dictionary ids of the stream, any numbers,
 * which several may share; nothing says that these are of one type. The checksums lie in
 * the bytes, NULL and 0 where there are none. EINVAL, ENOMEM; ENOTSUP: versions,
 * types and features that are not known. The caller frees the schema. */
int bc__metadata_read_schema(const uint8_t *bytes, size_t size,
                             struct bc_schema **out_schema, const char **out_checksums,
                             size_t *out_checksums_size, struct bc_error *error);

/* Where a message of an IPC file is: a wire struct, its numbers as they were found. */
struct bc_wire_block {
    int64_t offset;         /* in the file */
    int32_t metadata_bytes; /* from there to the body */
    int32_t padding;
    int64_t body_bytes;
};

struct bc_wire_blocks {
    const void *blocks; /* in the bytes that were read, aligned to nothing */
    size_t n;
};

/* Block `i`, which there is. */
static inline struct bc_wire_block bc__wire_block(const struct bc_wire_blocks *blocks,
                                                  size_t i) {
    struct bc_wire_block block;
    memcpy(&block, (const char *)blocks->blocks + i * sizeof(block), sizeof(block));
    return block;
}

/* Reads the Footer of an IPC file: its schema as of a message, and where its messages
 * are. Fails as bc__metadata_read_schema does. The version is that of the messages. */
int bc__metadata_read_footer(const uint8_t *bytes, size_t size,
                             struct bc_schema **out_schema,
                             struct bc_wire_blocks *out_dictionaries,
                             struct bc_wire_blocks *out_batches, struct bc_error *error);

#endif
