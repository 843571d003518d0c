/* The body of a message: the nodes and buffers of a batch.
 *
 * Most buffers are written from their place in the batch. These are copied and rewritten:
 *
 *  - bitmaps that start or end inside a byte
 *  - offsets that do not start at zero
 *  - views, if they do not reach much of their buffers
 *  - offsets of list views and of dense unions
 *  - run ends of a slice
 *
 * A small body becomes one iovec. With a codec, every buffer is compressed. */
#ifndef BC_IPC_BODY_H
#define BC_IPC_BODY_H

#include "arrow/buffer_ranges.h"
#include "base/arena.h"
#include "base/iovec.h"
#include "ipc/codec.h"
#include "ipc/metadata.h"

/* The alignment of buffers in the body, and thus in the file; a power of two. */
enum { BC_BODY_ALIGNMENT = 64 };

struct bc_body {
    enum bc_codec codec;
    struct bc_compressor compressor;
    struct bc_arena arena;
    struct bc_wire_node *nodes;
    struct bc_wire_buffer *buffers;
    int64_t *variadic_counts; /* for each view field */
    struct bc_iovec *iovecs;  /* iovecs[0] is for the framed metadata, before the body */
    size_t n_nodes, n_buffers, n_variadic_counts, n_iovecs;
    size_t nodes_capacity, buffers_capacity, variadic_counts_capacity, iovecs_capacity;
    int64_t bytes; /* of the iovecs from the second on, a multiple of the alignment */
};

/* Empties the body, and reserves iovecs[0]. ENOMEM. */
int bc__body_reset(struct bc_body *body);
void bc__body_finish(struct bc_body *body);

/* Lays out the ranges of a batch. The batch and the ranges outlive the body's use.
 * EINVAL: offsets decrease, a type id is not in its type, or a view is outside its
 * buffers. Or a run is empty, or the runs are shorter than their parent.
 * ENOMEM. */
int bc__body_lay_out(struct bc_body *body, const struct bc_schema *schema,
                     const struct bc_batch *batch, const struct bc_buffer_ranges *ranges,
                     struct bc_error *error);

/* Copies the body's iovecs into one iovec, if there are several. ENOMEM. */
int bc__body_gather(struct bc_body *body);

#endif
