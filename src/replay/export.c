#include "replay/export.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"

/* One exported tree:
 *
 *     block | node 1 | node 2 | ... | pointer to node 1 | pointer to node 2 | ...
 *
 * The root is the caller's struct. Entry i - 1 of the table points to node i. The nodes
 * are in breadth-first order, so the children of a node are contiguous in the table.
 * `live` counts the nodes that are not released, moved out or not. */
struct export_block {
    atomic_uint live;
    struct bc_borrow borrow;
    struct ArrowArray nodes[];
};

static void release_node(struct ArrowArray *array);

/* Marks the array, and the nodes below it that were not moved out, as released. Returns
 * the number of these nodes. */
static unsigned mark_released(struct ArrowArray *array,
                              const struct export_block *block) {
    unsigned n = 1;
    for (int64_t i = 0; i <= array->n_children; i++) {
        struct ArrowArray *below =
            i < array->n_children ? array->children[i] : array->dictionary;
        if (below == NULL || below->release == NULL) continue;
        if (below->release == release_node && below->private_data == block) {
            n += mark_released(below, block);
        } else {
            below->release(below);
        }
    }
    array->release = NULL;
    return n;
}

static void release_node(struct ArrowArray *array) {
    bc_assert(array->release == release_node);
    struct export_block *block = array->private_data;
    unsigned n = mark_released(array, block);
    unsigned live = atomic_load_explicit(&block->live, memory_order_acquire);
    bc_assert(live >= n);
    /* If these are the last nodes, no other thread can change the count any more. */
    if (live != n) {
        live = atomic_fetch_sub_explicit(&block->live, n, memory_order_acq_rel);
        if (live != n) return;
    }
    bc__borrow_return(&block->borrow);
    bc__free(block);
}

int bc__export_batch(const struct bc_schema *schema, const int32_t *fields,
                     struct bc_batch *batch, struct bc_borrow_list *borrow_list,
                     struct ArrowArray *out_array) {
    int32_t n = schema->n_fields;
    bc_assert(n > 0 && (fields != NULL || n == batch->n_nodes));
    size_t below = (size_t)n - 1;
    struct export_block *block =
        bc__malloc(sizeof(*block) +
                   below * (sizeof(struct ArrowArray) + sizeof(struct ArrowArray *)));
    if (block == NULL) return ENOMEM;
    atomic_init(&block->live, (unsigned)n);
    if (borrow_list != NULL) {
        bc__borrow_add(borrow_list, &block->borrow, batch);
    } else {
        block->borrow = (struct bc_borrow){.batch = batch};
    }
    struct ArrowArray **pointers = (struct ArrowArray **)(void *)(block->nodes + below);
    for (int32_t i = 0; i < n; i++) {
        const struct bc_field *field = &schema->fields[i];
        const struct bc_node *node = &batch->nodes[fields == NULL ? i : fields[i]];
        struct ArrowArray *array = i == 0 ? out_array : &block->nodes[i - 1];
        if (i > 0) pointers[i - 1] = array;
        array->length = node->length;
        array->null_count = node->null_count;
        array->offset = node->offset;
        array->n_buffers = node->n_buffers;
        array->n_children = field->n_children;
        array->buffers = node->buffers;
        array->children =
            field->n_children > 0 ? pointers + field->first_child - 1 : NULL;
        array->dictionary =
            field->dictionary >= 0 ? &block->nodes[field->dictionary - 1] : NULL;
        array->release = release_node;
        array->private_data = block;
    }
    return 0;
}
