/* A reference-counted, immutable batch.
 *
 * The nodes of its struct array are one block, in the schema's breadth-first order. Their
 * buffers belong to `owner`, which keeps them alive. The owner is the producer's array,
 * moved in, or an array without data whose release unreferences a file's region.
 *
 * A thread with a reference reads nodes and buffers without a lock: they never move or
 * change. */
#ifndef BC_ARROW_BATCH_H
#define BC_ARROW_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arrow/schema.h"

struct bc_slab;
/* A list of the buffers that the batch owns: aligned copies, or decompressed buffers. */
struct bc_copy;

/* An ArrowArray without its children and dictionary, which follow from the schema. */
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
    size_t tail_bytes; /* after the nodes */
    uint64_t number;   /* index in the stream, for error messages */
    uint64_t
        held_bytes; /* memory that a decoder allocated for the batch, without nodes */
    struct bc_slab *slab; /* NULL: the batch has an allocation of its own */
    struct bc_copy *copies;
    struct ArrowArray owner;
    struct bc_node nodes[]; /* nodes[0] is the root: offset 0, no nulls */
};

/* Returns the null count of `length` values. `counted`: the null count that the producer
 * states. A type without a bitmap has a fixed count, which some consumers require. */
static inline int64_t bc__null_count(const struct bc_field *field, int64_t length,
                                     int64_t counted) {
    if (field->has_validity) return counted;
    return field->kind == BC_LAYOUT_NULL ? length : 0;
}

/* Makes a batch of `array`, after checking it against the schema. On success the array is
 * moved (its release is NULL). On failure it remains the caller's.
 *
 * `number`: index of the batch in the stream, for error messages.
 * `slab`: the source of the batch's memory. One thread at a time uses it.
 * EINVAL: the array does not fit the schema.
 * ENOMEM. */
int bc__batch_new(const struct bc_schema *schema, struct ArrowArray *array,
                  uint64_t number, struct bc_slab **slab, struct bc_batch **out_batch,
                  struct bc_error *error);

/* Returns a batch that a decoder fills, or NULL without memory. It has `n_nodes` zeroed
 * nodes, and `tail_bytes` zeroed bytes after them for buffer tables. */
struct bc_batch *bc__batch_alloc(int32_t n_nodes, size_t tail_bytes);
/* Returns the bytes after the nodes. */
void *bc__batch_tail(struct bc_batch *batch);

/* Allocates `size` bytes, aligned to 64, which are freed with the batch. NULL without
 * memory. */
void *bc__batch_buffer(struct bc_batch *batch, uint64_t size);

/* Returns the bytes that a decoded batch occupies: its nodes, tail and own buffers. */
uint64_t bc__batch_bytes(const struct bc_batch *batch);

struct bc_batch *bc__batch_ref(struct bc_batch *batch);
/* Drops a reference; NULL is allowed. It may call the producer's release, so the caller
 * holds no lock of the core. */
void bc__batch_unref(struct bc_batch *batch);

#endif
