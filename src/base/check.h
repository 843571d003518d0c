/* Assertions and checked arithmetic. An assertion is for an error of this code, never for
 * an error in data, in a file or of the system. */
#ifndef BC_BASE_CHECK_H
#define BC_BASE_CHECK_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define bc_assert(condition) assert(condition)

#define BC_ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Writes a * b to `*out`. Returns false if the product does not fit. */
static inline bool bc__mul_size(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* Rounds `value` up to a multiple of `unit`, a power of two. The result must fit. */
static inline int64_t bc__round_up(int64_t value, int64_t unit) {
    bc_assert(value >= 0 && unit > 0 && (unit & (unit - 1)) == 0);
    return (value + unit - 1) & ~(unit - 1);
}

/* Returns the number of bytes that hold `bits` bits. */
static inline int64_t bc__bit_bytes(int64_t bits) {
    bc_assert(bits >= 0);
    return bits / 8 + (bits % 8 != 0);
}

#endif
