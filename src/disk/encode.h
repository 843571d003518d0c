/* A batch as an Arrow IPC message: a list of pieces to write, most of them the batch's
 * own buffers. Copied are only bitmaps that start inside a byte, offsets that do not
 * start at zero, and small bodies (one piece instead of many).
 *
 *     ff ff ff ff | metadata size | flatbuffer | zeros to 64 || buffer | zeros to 64 |
 * ...
 */
#ifndef BC_DISK_ENCODE_H
#define BC_DISK_ENCODE_H

#include "arrow/extent.h"
#include "arrow/metadata.h"
#include "base/arena.h"
#include "base/sys.h"

struct bc_encoder {
    const struct bc_schema *schema; /* borrowed */
    struct bc_metadata_builder *metadata;
    struct bc_arena arena;
    struct bc_wire_node *nodes;
    struct bc_wire_buffer *buffers;
    struct bc_piece *pieces;
    char *digits;
    size_t nodes_capacity, buffers_capacity, pieces_capacity, digits_capacity;
    size_t n_nodes, n_buffers, n_pieces;
};

/* A message ready to be written; valid until the encoder's next message. */
struct bc_message {
    const struct bc_piece *pieces;
    size_t n_pieces;
    int64_t size; /* of all pieces, a multiple of 64 */
};

/* ENOTSUP where the schema has a type that cannot be written, naming its field. */
int bc__encoder_init(struct bc_encoder *encoder, const struct bc_schema *schema,
                     struct bc_error *error);
void bc__encoder_finish(struct bc_encoder *encoder);

int bc__encode_schema(struct bc_encoder *encoder, struct bc_message *out_message,
                      struct bc_error *error);
/* `extents` is the batch's walk; the batch outlives the message. */
int bc__encode_batch(struct bc_encoder *encoder, const struct bc_batch *batch,
                     const struct bc_extents *extents, struct bc_message *out_message,
                     struct bc_error *error);

#endif
