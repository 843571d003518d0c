/* Bitmaps: counting, loading and copying bits from any position. */
#ifndef BC_ARROW_BITS_H
#define BC_ARROW_BITS_H

#include <stdint.h>

/* Counts the set bits among `length` bits, from bit `offset` on. */
int64_t bc__bits_count(const uint8_t *bitmap, int64_t offset, int64_t length);

/* Copies `length` bits, from bit `offset` on, to the start of `out`. The other bits of
 * the last byte become zeros. */
void bc__bits_copy(uint8_t *out, const uint8_t *bitmap, int64_t offset, int64_t length);

/* Returns up to 64 bits, from bit `offset` on, in the low bits of a word. The other bits
 * of the word are zeros. */
uint64_t bc__bits_load(const uint8_t *bitmap, int64_t offset, int length);

#endif
