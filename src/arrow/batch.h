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

/* A buffer that had to be copied into alignment; a list. */
struct bc_copy;

struct bc_batch {
    atomic_uint refs;
    int32_t n_nodes;
    struct ArrowArray owner;
    struct bc_copy *copies;
    /* Images of the exported arrays: lengths, offsets, null counts, buffers; children,
     * dictionary, release and private_data are set at the export. nodes[0] is the root:
     * its offset is 0 and it has no nulls. */
    struct ArrowArray nodes[];
};

/* Checks `array` against the schema and makes a batch of it. On success the array is
 * moved (its release is NULL), on failure it stays the caller's. `number` is for
 * messages. EINVAL: it is not what the schema says. ENOMEM. */
int bc__batch_new(const struct bc_schema *schema, struct ArrowArray *array,
                  uint64_t number, struct bc_batch **out_batch, struct bc_error *error);

/* A batch of `n_nodes` zeroed nodes with `tail_bytes` zeroed bytes behind them (buffer
 * tables), for a decoder to fill; NULL without memory. */
struct bc_batch *bc__batch_alloc(int32_t n_nodes, size_t tail_bytes);
/* The bytes behind the nodes. */
void *bc__batch_tail(struct bc_batch *batch);

struct bc_batch *bc__batch_ref(struct bc_batch *batch);
/* May call the producer's release: no lock of ours is held. NULL is accepted. */
void bc__batch_unref(struct bc_batch *batch);

#endif
