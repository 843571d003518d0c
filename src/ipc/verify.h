/* Verifies the checksums of messages in mapped memory, and measures their columns,
 * without decoding them. */
#ifndef BC_IPC_VERIFY_H
#define BC_IPC_VERIFY_H

#include "ipc/message.h"

/* Returns whether the checksums of a batch's metadata and of the wanted columns are
 * right. Without checksums it returns false. A small body is verified as a whole.
 * `wanted`: a bit for each column. */
bool bc__verify_columns(const struct bc_schema *schema, const uint64_t *wanted,
                        const struct bc_message *message);
/* The same for the whole message of a batch or dictionary. */
bool bc__verify_message(const struct bc_message *message);
/* The same for the `framed` bytes before the body. */
bool bc__verify_metadata(const uint8_t *message, size_t framed);

/* Adds the bytes of each column's buffers to `columns`.
 * EINVAL: the message is invalid. */
int bc__measure_columns(const struct bc_schema *schema, const struct bc_message *message,
                        int64_t *columns);

#endif
