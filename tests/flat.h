/* Flatbuffers for the tests: put together by hand, whatever they say. */
#ifndef BC_TESTS_FLAT_H
#define BC_TESTS_FLAT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* One of exactly its size, for AddressSanitizer to watch its end. */
struct flat {
    uint8_t *bytes;
    size_t size;
};

static inline struct flat copy_of(const uint8_t *bytes, size_t size) {
    struct flat flat = {malloc(size == 0 ? 1 : size), size};
    CHECK(flat.bytes != NULL && ((uintptr_t)flat.bytes & 7) == 0);
    if (size > 0) memcpy(flat.bytes, bytes, size);
    return flat;
}

/* Puts flatbuffers together, front to back: what is referred to follows. */
struct assembler {
    uint8_t *bytes;
    uint32_t size;
    uint32_t capacity;
};

static inline uint32_t take(struct assembler *out, uint32_t size, uint32_t alignment) {
    uint32_t at = (out->size + alignment - 1) & ~(alignment - 1);
    CHECK(at + size <= out->capacity);
    out->size = at + size;
    return at;
}

static inline struct assembler start(uint32_t capacity) {
    struct assembler out = {calloc(1, capacity), 0, capacity};
    CHECK(out.bytes != NULL);
    (void)take(&out, 8, 8);
    return out;
}

static inline void put(struct assembler *out, uint32_t at, uint32_t value) {
    memcpy(out->bytes + at, &value, sizeof(value));
}

/* Lets the reference at `at` be to `target`. */
static inline void refer(struct assembler *out, uint32_t at, uint32_t target) {
    CHECK(target > at);
    put(out, at, target - at);
}

/* Where the fields of a table are, as its vtable says; the first `n` of them. */
static inline uint32_t vtable(struct assembler *out, uint16_t table_size, uint16_t n,
                              const uint16_t *fields) {
    uint16_t head[2] = {(uint16_t)(4 + 2 * n), table_size};
    uint32_t at = take(out, head[0], 2);
    memcpy(out->bytes + at, head, sizeof(head));
    if (n > 0) memcpy(out->bytes + at + 4, fields, 2 * (size_t)n);
    return at;
}

static inline uint32_t table(struct assembler *out, uint32_t its_vtable) {
    uint16_t size;
    memcpy(&size, out->bytes + its_vtable + 2, sizeof(size));
    uint32_t at = take(out, size, 8);
    put(out, at, at - its_vtable);
    return at;
}

/* A vector of `n` references, which are for the caller to fill. */
static inline uint32_t vector(struct assembler *out, uint32_t n) {
    uint32_t at = take(out, 4 + 4 * n, 4);
    put(out, at, n);
    return at;
}

#endif
