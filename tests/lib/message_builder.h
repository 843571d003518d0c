/* The metadata of messages, built by the core. The caller frees it. */
#ifndef BC_TESTS_LIB_MESSAGE_BUILDER_H
#define BC_TESTS_LIB_MESSAGE_BUILDER_H

#include <stdio.h>

#include "flatbuffer_builder.h"
#include "ipc/metadata.h"

static inline struct flatbuffer build_keyed_schema(const struct bc_schema *schema,
                                                   const char *checksums,
                                                   const char *key) {
    struct bc_metadata_builder *builder;
    const uint8_t *bytes;
    size_t size;
    size_t digits;
    CHECK(bc__metadata_builder_new(&builder) == 0);
    CHECK(bc__metadata_build_schema(builder, schema, checksums, key, &bytes, &size,
                                    &digits, NULL) == 0);
    struct flatbuffer flatbuffer = flatbuffer_copy(bytes, size);
    bc__metadata_builder_free(builder);
    return flatbuffer;
}

static inline struct flatbuffer build_schema_message(const struct bc_schema *schema,
                                                     const char *checksums) {
    return build_keyed_schema(schema, checksums, NULL);
}

static inline struct flatbuffer build_batch_message(const struct bc_wire_batch *batch) {
    struct bc_metadata_builder *builder;
    const uint8_t *bytes;
    size_t size;
    size_t digits;
    CHECK(bc__metadata_builder_new(&builder) == 0);
    CHECK(bc__metadata_build_batch(builder, batch, &bytes, &size, &digits, NULL) == 0);
    struct flatbuffer flatbuffer = flatbuffer_copy(bytes, size);
    bc__metadata_builder_free(builder);
    return flatbuffer;
}

/* Returns a message of `wire` with a body of `body_bytes` zeros, freed by the caller. */
static inline uint8_t *build_message(const struct bc_wire_batch *wire,
                                     int64_t *out_size) {
    struct flatbuffer metadata = build_batch_message(wire);
    *out_size = (int64_t)(8 + metadata.size) + wire->body_bytes;
    uint8_t *message = aligned_alloc(64, ((size_t)*out_size + 63) / 64 * 64);
    const int32_t prefix[2] = {-1, (int32_t)metadata.size};
    memcpy(message, prefix, sizeof(prefix));
    memcpy(message + 8, metadata.bytes, metadata.size);
    memset(message + 8 + metadata.size, 0, (size_t)wire->body_bytes);
    free(metadata.bytes);
    return message;
}

/* Writes a message and frees its metadata. `body`: NULL means zeros. */
static inline void write_message(FILE *file, struct flatbuffer metadata, const void *body,
                                 size_t body_bytes) {
    const int32_t prefix[2] = {-1, (int32_t)metadata.size};
    CHECK(fwrite(prefix, sizeof(prefix), 1, file) == 1);
    CHECK(fwrite(metadata.bytes, metadata.size, 1, file) == 1);
    free(metadata.bytes);
    if (body_bytes == 0) return;
    void *zeros = body == NULL ? calloc(1, body_bytes) : NULL;
    CHECK(fwrite(body == NULL ? zeros : body, body_bytes, 1, file) == 1);
    free(zeros);
}

#endif
