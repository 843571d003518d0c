/* Encodes schemas, batches and dictionaries as Arrow IPC messages: iovecs to write.
 *
 *     ff ff ff ff | metadata size | flatbuffer | zeros to 64
 *     buffer | zeros to 64 | buffer | zeros to 64 | ...
 */
#ifndef BC_IPC_ENCODE_H
#define BC_IPC_ENCODE_H

#include "ipc/body.h"
#include "ipc/checksum.h"

struct bc_encoder {
    const struct bc_schema *schema; /* borrowed */
    const char *key;                /* a recording's key, borrowed; or NULL */
    struct bc_metadata_builder *metadata;
    struct bc_body body;
    bool checksums;
    char *digits; /* checksums of the current message */
    size_t digits_capacity;
};

/* An encoded message, valid until the encoder's next message. */
struct bc_encoded_message {
    const struct bc_iovec *iovecs;
    size_t n_iovecs;
    int64_t size; /* of all iovecs, a multiple of 64 */
};

/* Initialises an encoder.
 * `schema`: borrowed until bc__encoder_finish().
 * `checksums`: whether messages have checksums.
 * `codec`: the compression of bodies.
 * ENOTSUP: the format cannot represent a type. The message names its field.
 * ENOMEM. */
int bc__encoder_init(struct bc_encoder *encoder, const struct bc_schema *schema,
                     bool checksums, enum bc_codec codec, struct bc_error *error);
void bc__encoder_finish(struct bc_encoder *encoder);

/* Encodes the schema's message.
 * EFBIG: its metadata is too large.
 * ENOMEM. */
int bc__encode_schema(struct bc_encoder *encoder, struct bc_encoded_message *out_message,
                      struct bc_error *error);
/* Encodes a batch. `ranges`: the batch's buffer ranges. The batch outlives the message.
 * EINVAL: the batch is invalid.
 * EFBIG: its metadata is too large.
 * ENOMEM. */
int bc__encode_batch(struct bc_encoder *encoder, const struct bc_batch *batch,
                     const struct bc_buffer_ranges *ranges,
                     struct bc_encoded_message *out_message, struct bc_error *error);

/* Encodes a dictionary of the batch: all values, or those of a delta. Errors as above.
 * `dictionary`: index of the field of the values.
 * `ranges`: buffer ranges of these values.
 * `out_content`: receives the digest of the values. */
int bc__encode_dictionary(struct bc_encoder *encoder, const struct bc_batch *batch,
                          int32_t dictionary, bool is_delta,
                          const struct bc_buffer_ranges *ranges,
                          struct bc_content *out_content,
                          struct bc_encoded_message *out_message, struct bc_error *error);

#endif
