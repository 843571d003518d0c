/* Values of the other byte order, brought into this machine's.
 *
 * A schema says once which order the buffers behind it have. Metadata, prefixes of
 * compressed buffers and bitmaps are the same in both. Text, bytes and type ids have no
 * order. */
#ifndef BC_IPC_ENDIAN_H
#define BC_IPC_ENDIAN_H

#include "arrow/schema.h"

/* What a buffer is a row of. */
enum bc_unit {
    BC_UNIT_BYTE, /* has no order */
    BC_UNIT_2,
    BC_UNIT_4,
    BC_UNIT_8,
    BC_UNIT_16,
    BC_UNIT_32,
    BC_UNIT_MONTH_DAY_NANO, /* 4, 4 and 8 bytes */
    BC_UNIT_VIEW            /* struct bc_view, whose text has no order */
};

/* The unit of integers of so many bits: offsets, sizes. */
enum bc_unit bc__unit_of_bits(int32_t bits);
/* The unit of a field's values, which are in its second buffer. */
enum bc_unit bc__unit_of_values(const struct bc_field *field);

/* Turns the whole units in `bytes` bytes. `in` may be unaligned, and may be `out`. */
void bc__swap_bytes(enum bc_unit unit, void *out, const void *in, int64_t bytes);

#endif
