/* Bitmaps: counting, and moving to where byte 0 starts with bit 0. */
#ifndef BC_ARROW_BITS_H
#define BC_ARROW_BITS_H

#include <stdint.h>

/* Set bits among `length` from bit `offset` on. */
int64_t bc__bits_count(const uint8_t *bitmap, int64_t offset, int64_t length);

/* Copies `length` bits from bit `offset` on to the start of `out`, whose last byte is
 * filled with zeros. */
void bc__bits_copy(uint8_t *out, const uint8_t *bitmap, int64_t offset, int64_t length);

#endif
