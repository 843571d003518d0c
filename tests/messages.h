/* The metadata of messages for the tests, as we build it. Freed by the caller. */
#ifndef BC_TESTS_MESSAGES_H
#define BC_TESTS_MESSAGES_H

#include "arrow/metadata.h"
#include "flat.h"

static inline struct flat build_schema(const struct bc_schema *schema,
                                       const char *checksums) {
    struct bc_metadata_builder *builder;
    const uint8_t *bytes;
    size_t size;
    size_t digits;
    CHECK(bc__metadata_builder_new(&builder) == 0);
    CHECK(bc__metadata_build_schema(builder, schema, checksums, &bytes, &size, &digits,
                                    NULL) == 0);
    struct flat flat = copy_of(bytes, size);
    bc__metadata_builder_free(builder);
    return flat;
}

static inline struct flat build_batch(const struct bc_wire_batch *batch) {
    struct bc_metadata_builder *builder;
    const uint8_t *bytes;
    size_t size;
    size_t digits;
    CHECK(bc__metadata_builder_new(&builder) == 0);
    CHECK(bc__metadata_build_batch(builder, batch, &bytes, &size, &digits, NULL) == 0);
    struct flat flat = copy_of(bytes, size);
    bc__metadata_builder_free(builder);
    return flat;
}

#endif
