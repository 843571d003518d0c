/* The exact ranges of its buffers that the rows of a batch reach.
 *
 * The memory budget adds up the ranges, and the encoder writes them. Both therefore count
 * a slice by the bytes that it references, not by its parent's buffers. Nodes and ranges
 * are in the order of the Arrow IPC format, depth first. */
#ifndef BC_ARROW_BUFFER_RANGES_H
#define BC_ARROW_BUFFER_RANGES_H

#include "arrow/batch.h"

enum bc_range_kind {
    BC_RANGE_ABSENT,    /* no bytes: an omitted bitmap, an empty array */
    BC_RANGE_BITS,      /* bits from `bit_offset` of `data` on: validity, booleans */
    BC_RANGE_BYTES,     /* bytes, written unchanged */
    BC_RANGE_OFFSETS32, /* offsets, written less `base` */
    BC_RANGE_OFFSETS64,
    BC_RANGE_VIEWS,   /* 16-byte views into the node's variadic buffers */
    BC_RANGE_VARIADIC /* a whole variadic buffer; views of `used` bytes, which may
                         overlap */
};

struct bc_buffer_range {
    enum bc_range_kind kind;
    int8_t bit_offset;
    const uint8_t *data;
    int64_t bytes;
    int64_t base;
    int64_t used;
};

/* One field node: `length` values from `offset` on, counted from the buffers' start. */
struct bc_range_node {
    int32_t field;
    int32_t n_variadic;
    int64_t offset;
    int64_t length;
    int64_t null_count; /* -1: not counted yet */
};

/* The result of a walk, reused for the next batch. A zeroed struct is empty. */
struct bc_buffer_ranges {
    struct bc_range_node *nodes;
    struct bc_buffer_range *ranges;
    int32_t *dictionaries; /* fields of the dictionaries' values, in the walk's order */
    size_t n_nodes, n_ranges, n_dictionaries;
    size_t nodes_capacity, ranges_capacity, dictionaries_capacity;
};

void bc__buffer_ranges_finish(struct bc_buffer_ranges *ranges);

/* Finds the ranges of a batch. Dictionaries are listed, not entered. Each range is inside
 * its array. Only the offsets at a range's ends are checked.
 * EINVAL: an offset, view, type id or run leaves its array or its child.
 * ENOMEM. */
int bc__buffer_ranges_of_batch(struct bc_buffer_ranges *out,
                               const struct bc_schema *schema,
                               const struct bc_batch *batch, struct bc_error *error);

/* Returns EINVAL. The error message names the batch, the field and the reason. */
int bc__buffer_ranges_invalid(const struct bc_schema *schema,
                              const struct bc_batch *batch, int32_t field,
                              const char *reason, struct bc_error *error);

/* Finds the ranges of a dictionary's values, from index `first` on. Errors as above. */
int bc__buffer_ranges_of_dictionary(struct bc_buffer_ranges *out,
                                    const struct bc_schema *schema,
                                    const struct bc_batch *batch, int32_t dictionary,
                                    int64_t first, struct bc_error *error);

#endif
