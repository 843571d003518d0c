/* Converts values of the other byte order to this machine's.
 *
 * The byte order is a property of the schema, and applies to the values in all buffers.
 * Metadata, bitmaps and prefixes of compressed buffers do not depend on it. Text, bytes
 * and type ids have no byte order. */
#ifndef BC_IPC_ENDIAN_H
#define BC_IPC_ENDIAN_H

#include "arrow/schema.h"

/* The unit of a buffer whose bytes are swapped together. */
enum bc_unit {
    BC_UNIT_BYTE, /* no byte order */
    BC_UNIT_2,
    BC_UNIT_4,
    BC_UNIT_8,
    BC_UNIT_16,
    BC_UNIT_32,
    BC_UNIT_MONTH_DAY_NANO, /* 4, 4 and 8 bytes */
    BC_UNIT_VIEW            /* struct bc_view, without its text */
};

/* Returns the unit of integers of `bits` bits: offsets, sizes. */
enum bc_unit bc__unit_of_bits(int32_t bits);
/* Returns the unit of a field's values, in its second buffer. */
enum bc_unit bc__unit_of_values(const struct bc_field *field);

/* Swaps each whole unit in `bytes` bytes. `in`: may be unaligned, and may equal `out`. */
void bc__swap_bytes(enum bc_unit unit, void *out, const void *in, int64_t bytes);

#endif
