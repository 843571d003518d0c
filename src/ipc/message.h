/* The message of a batch or dictionary in its parts: what its metadata says, its body,
 * and how far a walk over the fields, depth first, has come among its nodes and buffers.
 * Three ways to frame a message exist:
 *
 *     ff ff ff ff | size | metadata | body      since Arrow 0.15
 *                   size | metadata | body      before
 *     ff ff ff ff | 0     or     0              the end of the stream
 */
#ifndef BC_IPC_MESSAGE_H
#define BC_IPC_MESSAGE_H

#include <errno.h>

#include "arrow/schema.h"
#include "ipc/metadata.h"

struct bc_frame {
    int64_t metadata;      /* where it begins, from the message's start */
    int64_t metadata_size; /* 0: this is the end of the stream */
};

/* Reads the prefix in `size` bytes: 0; EAGAIN: there are too few; EINVAL. */
int bc__frame_parse(const uint8_t *bytes, int64_t size, struct bc_frame *out_frame);

struct bc_message {
    const uint8_t *bytes;
    int64_t size;
    struct bc_wire_batch wire;
    const uint8_t *body; /* wire.body_bytes */
    size_t metadata;     /* where it stands in the message */
    size_t framed;       /* bytes in front of the body */
    size_t node;         /* the next one, and those of the others: beyond the last, */
    size_t buffer;       /* where the message has fewer than its fields ask for */
    size_t view;
    /* Buffers of older writers that the fields have no longer, in front of the others. */
    size_t union_extras; /* of each union, and run-end encoded field: 0 or 1 */
    size_t null_extras;  /* of each null column: 0 to 2 */
};

/* Reads the metadata of the message of `size` bytes at `bytes`. Its body lies inside,
 * its buffers may not; all of them are not much longer than the body. EINVAL. */
int bc__message_parse(struct bc_message *message, const uint8_t *bytes, int64_t size);

/* Whether a buffer lies in the body. */
bool bc__message_contains(const struct bc_message *message, struct bc_wire_buffer buffer);

/* The variadic buffers of all fields, of which there are no more than buffers. EINVAL. */
int bc__message_variadic_buffers(const struct bc_message *message, size_t *out_n);

/* Finds out which buffers stand in the message that its fields have no longer, by the
 * number of all; the fields are all of the schema, or those of the dictionary's
 * values number `values` > 0. Nothing is passed yet. EINVAL. */
int bc__message_find_extras(struct bc_message *message, const struct bc_schema *schema,
                            int32_t values);
/* How many such buffers stand in front of the field's own. */
size_t bc__message_extras(const struct bc_message *message, const struct bc_field *field);

/* Passes a field by, with all below it, without looking at its bytes. EINVAL. */
int bc__message_skip_field(struct bc_message *message, const struct bc_schema *schema,
                           int32_t number);

/* Takes `bytes` from what a read may still do, NULL: all. EAGAIN: that is less. */
static inline int bc__work_spend(int64_t *left, int64_t bytes) {
    if (left == NULL) return 0;
    if (bytes > *left) return EAGAIN;
    *left -= bytes;
    return 0;
}

/* Bytes that the next `n` buffers say they have when decompressed: one more than `most`
 * where it is more, and 0 where they are not compressed. What is wrong with them is found
 * when they are taken. */
int64_t bc__message_claimed_bytes(const struct bc_message *message, int64_t n,
                                  int64_t most);

#endif
