/* Values in Arrow buffers: validity bits, views, and integers of a run-time width. */
#ifndef BC_ARROW_VALUES_H
#define BC_ARROW_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A 16-byte view. If it has up to BC_VIEW_INLINE_MAX bytes, they are in the view. */
struct bc_view {
    int32_t length;
    uint8_t prefix[4];
    int32_t buffer; /* index of the variadic buffer */
    int32_t offset; /* in this buffer */
};

enum { BC_VIEW_INLINE_MAX = 12 };

/* Returns whether a value is valid. `validity`: NULL means that all values are. */
static inline bool bc__is_valid(const uint8_t *validity, int64_t index) {
    return validity == NULL || (validity[index / 8] >> (index % 8) & 1) != 0;
}

/* Returns a signed integer of 16, 32 or 64 bits. */
static inline int64_t bc__integer_at(const void *values, int32_t bits, int64_t index) {
    if (bits == 16) return ((const int16_t *)values)[index];
    return bits == 32 ? ((const int32_t *)values)[index]
                      : ((const int64_t *)values)[index];
}

static inline void bc__integer_set(void *values, int32_t bits, int64_t index,
                                   int64_t value) {
    if (bits == 16) {
        ((int16_t *)values)[index] = (int16_t)value;
    } else if (bits == 32) {
        ((int32_t *)values)[index] = (int32_t)value;
    } else {
        ((int64_t *)values)[index] = value;
    }
}

#endif
