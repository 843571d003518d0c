/* A batch as an Arrow IPC message: a list of iovecs to write.
 *
 *     ff ff ff ff | metadata size | flatbuffer | zeros to 64 || buffer | zeros to 64 |
 * ...
 */
#ifndef BC_IPC_ENCODE_H
#define BC_IPC_ENCODE_H

#include "ipc/body.h"
#include "ipc/checksum.h"

struct bc_encoder {
    const struct bc_schema *schema; /* borrowed */
    struct bc_metadata_builder *metadata;
    struct bc_body body;
    bool checksums;
    char *digits;
    size_t digits_capacity;
};

/* A message ready to be written; valid until the encoder's next message. */
struct bc_encoded_message {
    const struct bc_iovec *iovecs;
    size_t n_iovecs;
    int64_t size; /* of all iovecs, a multiple of 64 */
};

/* `checksums`: messages carry them; `codec`: bodies are compressed. ENOTSUP where the
 * schema has a type that cannot be written, naming its field. */
int bc__encoder_init(struct bc_encoder *encoder, const struct bc_schema *schema,
                     bool checksums, enum bc_codec codec, struct bc_error *error);
void bc__encoder_finish(struct bc_encoder *encoder);

int bc__encode_schema(struct bc_encoder *encoder, struct bc_encoded_message *out_message,
                      struct bc_error *error);
/* `ranges` is the batch's walk; the batch outlives the message. */
int bc__encode_batch(struct bc_encoder *encoder, const struct bc_batch *batch,
                     const struct bc_buffer_ranges *ranges,
                     struct bc_encoded_message *out_message, struct bc_error *error);

/* The values of one dictionary of the batch that `ranges` is the walk of: all, or those
 * that a delta adds; `*out_content` stands for them. */
int bc__encode_dictionary(struct bc_encoder *encoder, const struct bc_batch *batch,
                          int32_t dictionary, bool is_delta,
                          const struct bc_buffer_ranges *ranges,
                          struct bc_content *out_content,
                          struct bc_encoded_message *out_message, struct bc_error *error);

#endif
