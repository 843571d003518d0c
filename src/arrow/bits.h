/* Bitmaps: counting set bits, and copying bits to the start of a byte. */
#ifndef BC_ARROW_BITS_H
#define BC_ARROW_BITS_H

#include <stdint.h>

/* Counts the set bits among `length` bits, from bit `offset` on. */
int64_t bc__bits_count(const uint8_t *bitmap, int64_t offset, int64_t length);

/* Copies `length` bits, from bit `offset` on, to the start of `out`. The other bits of
 * the last byte become zeros. */
void bc__bits_copy(uint8_t *out, const uint8_t *bitmap, int64_t offset, int64_t length);

#endif
