/* What a message in mapped memory is compared with, or asked for, without decoding it:
 * its checksums, and the bytes of its columns. */
#ifndef BC_IPC_VERIFY_H
#define BC_IPC_VERIFY_H

#include "ipc/message.h"

/* Whether the checksums of a batch's metadata and of those of its columns that `wanted`
 * has a bit for are right; a batch without any fails. A small body is checked whole. */
bool bc__verify_columns(const struct bc_schema *schema, const uint64_t *wanted,
                        const struct bc_message *message);
/* The same for all of a batch or dictionary. */
bool bc__verify_message(const struct bc_message *message);
/* The same for the `framed` bytes in front of its body. */
bool bc__verify_metadata(const uint8_t *message, size_t framed);

/* Adds up the bytes of the buffers of each column. EINVAL. */
int bc__measure_columns(const struct bc_schema *schema, const struct bc_message *message,
                        int64_t *columns);

#endif
