/* A counted, immutable batch: the nodes of one struct array as a flat block, in the
 * schema's breadth-first order, over buffers that somebody else owns.
 *
 * `owner` is what keeps the buffers alive: the producer's own array, moved in, or an
 * array without data whose release gives a file mapping back. Whoever holds a reference
 * may read nodes and buffers without a lock; they never move or change. */
#ifndef BC_ARROW_BATCH_H
#define BC_ARROW_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arrow/schema.h"

struct bc_slab;
/* A buffer of the batch's own: copied into alignment, or decompressed; a list. */
struct bc_copy;

/* What of an ArrowArray is the batch's own; children and dictionary are the schema's. */
struct bc_node {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    const void **buffers;
};

struct bc_batch {
    atomic_uint refs;
    int32_t n_nodes;
    size_t tail_bytes;    /* behind the nodes */
    uint64_t number;      /* in the stream, for messages */
    uint64_t held_bytes;  /* of memory that a decoder made for it, its nodes aside */
    struct bc_slab *slab; /* NULL: allocated alone */
    struct bc_copy *copies;
    struct ArrowArray owner;
    struct bc_node nodes[]; /* nodes[0] is the root: its offset is 0, it has no nulls */
};

/* The nulls of `length` values, of which somebody says that they are `counted`. Types
 * without a bitmap can have one number only, and some consumers accept no other. */
static inline int64_t bc__null_count(const struct bc_field *field, int64_t length,
                                     int64_t counted) {
    if (field->has_validity) return counted;
    return field->kind == BC_LAYOUT_NULL ? length : 0;
}

/* Checks `array` against the schema and makes a batch of it. On success the array is
 * moved (its release is NULL), on failure it stays the caller's. `number` is for
 * messages. Its memory
 * comes from `*slab`, which one thread at a time uses. EINVAL: it is not what
 * the schema says. ENOMEM. */
int bc__batch_new(const struct bc_schema *schema, struct ArrowArray *array,
                  uint64_t number, struct bc_slab **slab, struct bc_batch **out_batch,
                  struct bc_error *error);

/* A batch of `n_nodes` zeroed nodes with `tail_bytes` zeroed bytes behind them (buffer
 * tables), for a decoder to fill; NULL without memory. */
struct bc_batch *bc__batch_alloc(int32_t n_nodes, size_t tail_bytes);
/* The bytes behind the nodes. */
void *bc__batch_tail(struct bc_batch *batch);

/* `size` bytes, aligned to 64, that go with the batch; NULL without memory. */
void *bc__batch_buffer(struct bc_batch *batch, size_t size);

/* What a decoded batch takes: its nodes, and what was made for it. */
uint64_t bc__batch_bytes(const struct bc_batch *batch);

struct bc_batch *bc__batch_ref(struct bc_batch *batch);
/* May call the producer's release: no lock of ours is held. NULL is accepted. */
void bc__batch_unref(struct bc_batch *batch);

#endif
