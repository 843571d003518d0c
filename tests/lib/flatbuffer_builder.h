/* Flatbuffers for the tests, assembled by hand. They may be invalid. */
#ifndef BC_TESTS_LIB_FLATBUFFER_BUILDER_H
#define BC_TESTS_LIB_FLATBUFFER_BUILDER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* A flatbuffer in memory of exactly its size, so that AddressSanitizer checks its end. */
struct flatbuffer {
    uint8_t *bytes;
    size_t size;
};

static inline struct flatbuffer flatbuffer_copy(const uint8_t *bytes, size_t size) {
    struct flatbuffer flatbuffer = {malloc(size == 0 ? 1 : size), size};
    CHECK(flatbuffer.bytes != NULL && ((uintptr_t)flatbuffer.bytes & 7) == 0);
    if (size > 0) memcpy(flatbuffer.bytes, bytes, size);
    return flatbuffer;
}

/* Builds a flatbuffer front to back: a reference comes before its target. */
struct flatbuffer_builder {
    uint8_t *bytes;
    uint32_t size;
    uint32_t capacity;
};

static inline uint32_t builder_reserve(struct flatbuffer_builder *out, uint32_t size,
                                       uint32_t alignment) {
    uint32_t at = (out->size + alignment - 1) & ~(alignment - 1);
    CHECK(at + size <= out->capacity);
    out->size = at + size;
    return at;
}

static inline struct flatbuffer_builder builder_start(uint32_t capacity) {
    struct flatbuffer_builder out = {calloc(1, capacity), 0, capacity};
    CHECK(out.bytes != NULL);
    (void)builder_reserve(&out, 8, 8);
    return out;
}

static inline void builder_put(struct flatbuffer_builder *out, uint32_t at,
                               uint32_t value) {
    memcpy(out->bytes + at, &value, sizeof(value));
}

/* Sets the reference at `at` to `target`. */
static inline void builder_refer(struct flatbuffer_builder *out, uint32_t at,
                                 uint32_t target) {
    CHECK(target > at);
    builder_put(out, at, target - at);
}

/* Writes a vtable: the offsets of the first `n` fields in a table of `table_size`
 * bytes. */
static inline uint32_t builder_vtable(struct flatbuffer_builder *out, uint16_t table_size,
                                      uint16_t n, const uint16_t *fields) {
    uint16_t head[2] = {(uint16_t)(4 + 2 * n), table_size};
    uint32_t at = builder_reserve(out, head[0], 2);
    memcpy(out->bytes + at, head, sizeof(head));
    if (n > 0) memcpy(out->bytes + at + 4, fields, 2 * (size_t)n);
    return at;
}

static inline uint32_t builder_table(struct flatbuffer_builder *out,
                                     uint32_t its_vtable) {
    uint16_t size;
    memcpy(&size, out->bytes + its_vtable + 2, sizeof(size));
    uint32_t at = builder_reserve(out, size, 8);
    builder_put(out, at, at - its_vtable);
    return at;
}

/* Writes a vector of `n` references, which the caller sets. */
static inline uint32_t builder_vector(struct flatbuffer_builder *out, uint32_t n) {
    uint32_t at = builder_reserve(out, 4 + 4 * n, 4);
    builder_put(out, at, n);
    return at;
}

#endif
