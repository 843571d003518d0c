/* Arrow IPC metadata: flatbuffers built and read, nothing of files or bodies. */
#ifndef BC_ARROW_METADATA_H
#define BC_ARROW_METADATA_H

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

/* Builds a Schema message; `checksums` (may be NULL) goes under BC_CHECKSUM_KEY. The
 * bytes belong to the builder until its next use. ENOMEM, EINVAL for a schema that the
 * format cannot hold. */
int bc__metadata_build_schema(struct bc_metadata_builder *builder,
                              const struct bc_schema *schema, const char *checksums,
                              const uint8_t **out_bytes, size_t *out_size,
                              size_t *out_digits, struct bc_error *error);

/* How the buffers of a body are compressed, each for itself. */
enum bc_codec { BC_CODEC_NONE = 0, BC_CODEC_LZ4, BC_CODEC_ZSTD };

/* A RecordBatch message, or a DictionaryBatch message. */
struct bc_wire_batch {
    bool is_dictionary;
    bool is_delta; /* more values of the dictionary */
    enum bc_codec codec;
    int64_t dictionary_id;
    int64_t rows;
    int64_t body_bytes;
    const struct bc_wire_node *nodes;
    size_t n_nodes;
    const struct bc_wire_buffer *buffers;
    size_t n_buffers;
    const int64_t *variadic_counts; /* variadic buffers of each view field */
    size_t n_variadic_counts;
    const char *checksums; /* NULL: none; `checksums_size` characters */
    size_t checksums_size;
};

/* `*out_digits` is where the checksums are in the bytes. A message of the shape of the
 * one before takes that one's bytes with other numbers. ENOMEM. */
int bc__metadata_build_batch(struct bc_metadata_builder *builder,
                             const struct bc_wire_batch *batch, const uint8_t **out_bytes,
                             size_t *out_size, size_t *out_digits,
                             struct bc_error *error);

/* Reads a message of `size` bytes, 8-byte aligned: structure is checked, and what
 * `*out_batch` points to lies inside it. EINVAL: no valid message of those kinds. */
int bc__metadata_read_batch(const uint8_t *bytes, size_t size,
                            struct bc_wire_batch *out_batch);

#endif
