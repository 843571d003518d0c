/* A message in mapped memory as a batch whose buffers point into it, or, where they are
 * compressed, as a batch with buffers of its own. */
#ifndef BC_DISK_DECODE_H
#define BC_DISK_DECODE_H

#include "arrow/batch.h"

/* Decodes a RecordBatch message of `size` bytes at `message` (64-byte aligned). Every
 * node and buffer is checked to lie inside it and to be long enough for its type. The
 * batch's owner is the caller's to set. EINVAL: not such a message; ENOMEM. */
int bc__decode_batch(const struct bc_schema *schema, const uint8_t *message, int64_t size,
                     struct bc_batch **out_batch);

/* The same for a DictionaryBatch message: the nodes of the dictionary's values are set.
 */
int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const uint8_t *message, int64_t size,
                          struct bc_batch **out_batch);

/* Checks the checksums of a batch or dictionary: 0, or EBADMSG; one without any fails. */
int bc__decode_verify(const uint8_t *message, int64_t size);

#endif
