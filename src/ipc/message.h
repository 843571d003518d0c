/* The message of a batch or dictionary: its metadata, its body, and the position of a
 * walk over its fields, depth first. Messages have three forms of framing.
 *
 *     ff ff ff ff | size | metadata | body      since Arrow 0.15
 *                   size | metadata | body      before
 *     ff ff ff ff | 0     or     0              end of stream
 */
#ifndef BC_IPC_MESSAGE_H
#define BC_IPC_MESSAGE_H

#include <errno.h>

#include "arrow/schema.h"
#include "ipc/metadata.h"

struct bc_frame {
    int64_t metadata;      /* its offset in the message */
    int64_t metadata_size; /* 0: the end of the stream */
};

/* Parses the prefix of a message.
 * EAGAIN: `size` bytes are too few for the prefix.
 * EINVAL: the prefix is invalid. */
int bc__frame_parse(const uint8_t *bytes, int64_t size, struct bc_frame *out_frame);

struct bc_message {
    const uint8_t *bytes;
    int64_t size;
    struct bc_wire_batch wire;
    const uint8_t *body; /* of wire.body_bytes bytes */
    size_t metadata;     /* its offset in the message */
    size_t framed;       /* bytes before the body */
    /* The walk's next node, buffer and variadic count. If the message has fewer than its
     * fields require, they may be past the end. */
    size_t node;
    size_t buffer;
    size_t view;
    /* Buffers before a field's own ones, which only older versions of the format have. */
    size_t union_extras; /* of a union or a run-end encoded field: 0 or 1 */
    size_t null_extras;  /* of a null column: 0 to 2 */
};

/* Parses the metadata of the message of `size` bytes at `bytes`. Its body is inside these
 * bytes, and the sum of its buffers is bounded. A buffer may still be outside the body.
 * EINVAL: the message is invalid. */
int bc__message_parse(struct bc_message *message, const uint8_t *bytes, int64_t size);

/* Returns whether a buffer is inside the body. */
bool bc__message_contains(const struct bc_message *message, struct bc_wire_buffer buffer);

/* Counts the variadic buffers of all fields. EINVAL: more than the message's buffers. */
int bc__message_variadic_buffers(const struct bc_message *message, size_t *out_n);

/* Sets the extras of the message, from its number of buffers. The walk has not begun.
 * `values`: the field of a dictionary's values, or 0 for a batch.
 * EINVAL: as bc__message_variadic_buffers(). */
int bc__message_find_extras(struct bc_message *message, const struct bc_schema *schema,
                            int32_t values);
/* Copies the message into `out_walk`, at the start of a walk over a batch's columns.
 * EINVAL: as bc__message_variadic_buffers(). */
int bc__message_walk_columns(const struct bc_message *message,
                             const struct bc_schema *schema, struct bc_message *out_walk);
/* Returns the number of extra buffers before the field's own ones. */
size_t bc__message_extras(const struct bc_message *message, const struct bc_field *field);

/* Moves the walk past a field and all fields below it, and reads none of their bytes.
 * EINVAL: there are too few variadic counts. */
int bc__message_skip_field(struct bc_message *message, const struct bc_schema *schema,
                           int32_t index);

/* Subtracts `bytes` from `*left`, the limit of one call; NULL means no limit.
 * EAGAIN: fewer are left. */
static inline int bc__work_spend(int64_t *left, int64_t bytes) {
    if (left == NULL) return 0;
    if (bytes > *left) return EAGAIN;
    *left -= bytes;
    return 0;
}

/* Returns the decompressed size that the next `n` buffers state, or 0 if they are not
 * compressed. If it exceeds `most`, the result is `most` + 1. Invalid buffers are ignored
 * here: decoding finds them. */
int64_t bc__message_claimed_bytes(const struct bc_message *message, int64_t n,
                                  int64_t most);

#endif
