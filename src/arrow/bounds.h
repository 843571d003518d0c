/* Bounds of the values of one array, by which a filter may exclude the array.
 *
 * Numbers have their own order. Text and binary are ordered by their bytes. A bound of
 * more than BC_BOUND_BYTES is cut. A lower bound becomes a prefix. In an upper bound, the
 * last character or byte of the prefix is raised. */
#ifndef BC_ARROW_BOUNDS_H
#define BC_ARROW_BOUNDS_H

#include "arrow/batch.h"

enum { BC_BOUND_BYTES = 32 };

enum bc_order {
    BC_ORDER_NONE,   /* the values have no order: lists, unions, intervals, ... */
    BC_ORDER_BOOL,   /* numbers, of `bits` bits */
    BC_ORDER_SIGNED, /* decimals too */
    BC_ORDER_UNSIGNED,
    BC_ORDER_FLOAT,
    BC_ORDER_TEXT, /* UTF-8 */
    BC_ORDER_BYTES /* fixed-size binary too */
};

/* Returns the order of a field's values. The field is no dictionary. */
enum bc_order bc__order_of(const struct bc_field *field);

/* Values of an array. */
struct bc_values {
    const struct bc_field *field;
    const struct bc_node *node;
    int64_t start; /* index of the first value in the buffers */
    int64_t length;
    const uint8_t *valid; /* a bitmap; NULL: all values are valid */
    int64_t valid_start;  /* index of the first value's bit */
};

/* A bound. */
struct bc_bound {
    uint8_t size; /* of `bytes`; a number's is the number's own */
    bool is_known;
    bool is_exact; /* a value is equal to it */
    uint8_t bytes[BC_BOUND_BYTES];
};

struct bc_bounds {
    int64_t nans;
    struct bc_bound low, high; /* unknown if there is no value but NaN */
};

/* Finds the bounds of valid values.
 * EINVAL: an offset or a view is outside of its buffers, which the producer of a file may
 * have written. */
int bc__bounds(const struct bc_values *values, enum bc_order order,
               struct bc_bounds *out_bounds);

#endif
