/* The first value of one array that is wrong, seen from the array alone.
 *
 * The buffers are as large as the array's offset and length ask for. Values are looked at
 * in one pass; what stands under a null is skipped where its type allows anything there.
 */
#ifndef BC_ARROW_VALIDATE_VALUES_H
#define BC_ARROW_VALIDATE_VALUES_H

#include "arrow/batch.h"

struct bc_invalid_value {
    const char *reason; /* NULL: there is no invalid */
    int64_t position;   /* of the value, from the start of the buffers */
};

static inline int64_t bc__node_end(const struct bc_node *node) {
    return node->offset + node->length;
}

/* Offsets of 32 or 64 bits must not decrease, and stay within 0 to `limit`. */
struct bc_invalid_value bc__validate_offsets(const struct bc_node *node, int32_t bits,
                                             int64_t limit);

/* Text behind offsets that have no invalid. */
struct bc_invalid_value bc__validate_text(const struct bc_node *node, int32_t bits);

/* Views, of which the variadic buffers' sizes are there. Text that overlaps is looked at
 * in time linear in the size of views and buffers: where the buffers are not text as a
 * whole and too much overlaps, that is a invalid. */
struct bc_invalid_value bc__validate_views(const struct bc_node *node, bool is_text);

/* List views must stay within 0 to `limit`, null ones too. */
struct bc_invalid_value bc__validate_list_views(const struct bc_node *node, int32_t bits,
                                                int64_t limit);

/* Run ends must be positive and increase. */
struct bc_invalid_value bc__validate_run_ends(const struct bc_node *node, int32_t bits);

/* Dictionary indices, whose type is a format of integers, must be below `limit`. */
struct bc_invalid_value bc__validate_indices(const struct bc_node *node, char format,
                                             int64_t limit);
/* The smallest such limit that indices without a invalid have. */
int64_t bc__indices_limit(const struct bc_node *node, char format);

#endif
