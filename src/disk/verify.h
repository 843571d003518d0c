/* What a message in mapped memory is compared with, or asked for, without decoding it:
 * its checksums, and the bytes of its columns. */
#ifndef BC_DISK_VERIFY_H
#define BC_DISK_VERIFY_H

#include "arrow/metadata.h"
#include "arrow/schema.h"

/* Checks the checksums of a batch's metadata and of those of its columns that `wanted`
 * has a bit for: 0, or EBADMSG; one without any fails. A small body is checked whole.
 * ENOMEM. */
int bc__verify_columns(const struct bc_schema *schema, const uint64_t *wanted,
                       const uint8_t *message, int64_t size);
/* The same for all of a batch or dictionary. */
int bc__verify_message(const uint8_t *message, int64_t size);
/* The same for the `framed` bytes in front of its body, which stand aligned to 8. */
bool bc__verify_metadata(const uint8_t *message, size_t framed);

/* Adds up the bytes of the buffers of each column (`columns` NULL: of none), and looks at
 * the codec. EINVAL, ENOMEM. */
int bc__measure_columns(const struct bc_schema *schema, const uint8_t *message,
                        int64_t size, int64_t *columns, enum bc_codec *out_codec);

#endif
