/* The least and the greatest number of an array. One pass reads each value once, with the
 * vector instructions of the processor.
 *
 * A number is in the byte order of the machine. Floats: NaN is skipped and counted. If
 * the least float is a zero, it is returned as -0.0, and the greatest zero as 0.0. */
#ifndef BC_ARROW_EXTREMES_H
#define BC_ARROW_EXTREMES_H

#include <stdbool.h>
#include <stdint.h>

enum bc_number {
    BC_NUMBER_BOOL, /* 1 bit */
    BC_NUMBER_SIGNED,
    BC_NUMBER_UNSIGNED,
    BC_NUMBER_FLOAT
};

/* Numbers of an array. The first one is at index `start` of the values and of the
 * bitmap. */
struct bc_numbers {
    enum bc_number kind;
    int32_t bits; /* of a number: 1, 8, 16, 32, 64, 128 or 256 */
    const void *values;
    int64_t start;
    int64_t length;
    const uint8_t *valid; /* a bitmap; NULL: all numbers are valid */
    int64_t valid_start;
};

/* Writes the least and the greatest valid number, in bits / 8 bytes, or in 1 byte for a
 * bool. Returns false, and writes neither, if there is no valid number but NaN. */
bool bc__extremes(const struct bc_numbers *numbers, uint8_t *out_low, uint8_t *out_high,
                  int64_t *out_nans);

#endif
