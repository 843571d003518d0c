/* What a batch references: the exact ranges of its buffers that its rows reach.
 *
 * One walk serves the memory budget (which adds up the ranges) and the encoder (which
 * writes them): a slice costs the bytes it references, not those of its parents. Nodes
 * and ranges come in the order of the Arrow IPC format, depth first. */
#ifndef BC_ARROW_BUFFER_RANGES_H
#define BC_ARROW_BUFFER_RANGES_H

#include "arrow/batch.h"

enum bc_range_kind {
    BC_RANGE_ABSENT,    /* no bytes: a bitmap that is not there, an empty array */
    BC_RANGE_BITS,      /* bits from `bit_offset` of `data` on: validity, booleans */
    BC_RANGE_BYTES,     /* to be taken as they are */
    BC_RANGE_OFFSETS32, /* of which `base` must be subtracted */
    BC_RANGE_OFFSETS64,
    BC_RANGE_VIEWS,   /* 16-byte views into the node's variadic buffers */
    BC_RANGE_VARIADIC /* a whole variadic buffer; `used` bytes of views, which may
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

/* One field node: a run of `length` values from `offset` (absolute) on. */
struct bc_range_node {
    int32_t field;
    int32_t n_variadic;
    int64_t offset;
    int64_t length;
    int64_t null_count; /* -1: not known yet */
};

/* The lists of a walk, reused from batch to batch. Zeroed is empty. */
struct bc_buffer_ranges {
    struct bc_range_node *nodes;
    struct bc_buffer_range *ranges;
    int32_t *dictionaries; /* fields whose dictionaries the walk came by, in order */
    size_t n_nodes, n_ranges, n_dictionaries;
    size_t nodes_capacity, ranges_capacity, dictionaries_capacity;
};

void bc__buffer_ranges_finish(struct bc_buffer_ranges *ranges);

/* Walks the whole batch. Dictionaries are listed, not entered. Every range lies inside
 * the array that it is of: a list, which holds another array's values, may be cut
 * anywhere. Offsets between a range's ends are not looked at. EINVAL: offsets that leave
 * their array or its child; ENOMEM. */
int bc__buffer_ranges_of_batch(struct bc_buffer_ranges *out,
                               const struct bc_schema *schema,
                               const struct bc_batch *batch, struct bc_error *error);

/* EINVAL, with words that name the batch, the field and the reason. */
int bc__buffer_ranges_invalid(const struct bc_schema *schema,
                              const struct bc_batch *batch, int32_t field,
                              const char *reason, struct bc_error *error);

/* Walks the values of one dictionary from number `first` on. */
int bc__buffer_ranges_of_dictionary(struct bc_buffer_ranges *out,
                                    const struct bc_schema *schema,
                                    const struct bc_batch *batch, int32_t dictionary,
                                    int64_t first, struct bc_error *error);

#endif
