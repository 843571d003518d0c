/* The body of a message: a batch's nodes and buffers laid out, most buffers as they are.
 *
 * Rewritten are only bitmaps that start or end inside a byte, offsets that do not start
 * at zero, views whose buffers hold much that no view reaches, offsets of list views and
 * of dense unions, run ends of a slice; and a small body becomes one iovec. With a codec,
 * every buffer is compressed. */
#ifndef BC_IPC_BODY_H
#define BC_IPC_BODY_H

#include "arrow/buffer_ranges.h"
#include "base/arena.h"
#include "base/iovec.h"
#include "ipc/codec.h"
#include "ipc/metadata.h"

/* Where buffers start, in the body and so in the file; a power of two. */
enum { BC_BODY_ALIGNMENT = 64 };

struct bc_body {
    enum bc_codec codec;
    struct bc_compressor compressor;
    struct bc_arena arena;
    struct bc_wire_node *nodes;
    struct bc_wire_buffer *buffers;
    int64_t *variadic_counts; /* one a view field */
    struct bc_iovec *iovecs;  /* iovecs[0] is kept for what goes before the body */
    size_t n_nodes, n_buffers, n_variadic_counts, n_iovecs;
    size_t nodes_capacity, buffers_capacity, variadic_counts_capacity, iovecs_capacity;
    int64_t bytes; /* of the iovecs from the second on, a multiple of the alignment */
};

/* Empties the body but for iovecs[0]. 0 or ENOMEM. */
int bc__body_reset(struct bc_body *body);
void bc__body_finish(struct bc_body *body);

/* Lays out the batch that `ranges` is the walk of; both outlive the body's use. What a
 * reader follows is looked at on the way: offsets rise, type ids are the type's, runs
 * have a length and cover their parent, views are inside. EINVAL: they are not; ENOMEM.
 */
int bc__body_lay_out(struct bc_body *body, const struct bc_schema *schema,
                     const struct bc_batch *batch, const struct bc_buffer_ranges *ranges,
                     struct bc_error *error);

/* Makes one iovec of all, where that is worth a copy. 0 or ENOMEM. */
int bc__body_gather(struct bc_body *body);

#endif
