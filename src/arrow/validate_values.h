/* The first invalid value of one array, found without other arrays.
 *
 * The buffers are as large as the array's offset and length require. Each function needs
 * one pass. It skips the value of a null if the type allows any value there. */
#ifndef BC_ARROW_VALIDATE_VALUES_H
#define BC_ARROW_VALIDATE_VALUES_H

#include "arrow/batch.h"

struct bc_invalid_value {
    const char *reason; /* NULL: all values are valid */
    int64_t position;   /* of the value, from the start of the buffers */
};

static inline int64_t bc__node_end(const struct bc_node *node) {
    return node->offset + node->length;
}

/* Validates offsets of 32 or 64 bits: they do not decrease, and are from 0 to `limit`. */
struct bc_invalid_value bc__validate_offsets(const struct bc_node *node, int32_t bits,
                                             int64_t limit);

/* Validates text. Its offsets are valid. */
struct bc_invalid_value bc__validate_text(const struct bc_node *node, int32_t bits);

/* Validates views, and their text if `is_text`. The array has the sizes of its variadic
 * buffers. The time is linear in the size of the views and buffers. If too many views
 * overlap in buffers that are not text as a whole, a view is invalid. */
struct bc_invalid_value bc__validate_views(const struct bc_node *node, bool is_text);

/* Validates list views: they are within 0 to `limit`, even for a null. */
struct bc_invalid_value bc__validate_list_views(const struct bc_node *node, int32_t bits,
                                                int64_t limit);

/* Validates run ends: they are positive and increase. */
struct bc_invalid_value bc__validate_run_ends(const struct bc_node *node, int32_t bits);

/* Validates dictionary indices: they are below `limit`. `format`: their integer type. */
struct bc_invalid_value bc__validate_indices(const struct bc_node *node, char format,
                                             int64_t limit);
/* Returns the least limit for which the indices are valid. */
int64_t bc__indices_limit(const struct bc_node *node, char format);

#endif
