/* A message in mapped memory as a batch whose buffers point into it, or, where they are
 * compressed, as a batch with buffers of its own. */
#ifndef BC_DISK_DECODE_H
#define BC_DISK_DECODE_H

#include "arrow/batch.h"
#include "arrow/metadata.h"
#include "arrow/projection.h"

/* Decodes a RecordBatch message of `size` bytes at `message`, which may be one of others:
 * what stands unaligned is copied. The
 * columns of the projection (NULL: all), leaving the other nodes zeroed and their bytes
 * untouched. Every node and buffer is checked to lie inside it and to be long enough for
 * its type. The batch's owner is the caller's to set. EINVAL: not such a message;
 * ENOTSUP: one of an old version with null unions; ENOMEM. */
int bc__decode_batch(const struct bc_schema *schema,
                     const struct bc_projection *projection, const uint8_t *message,
                     int64_t size, struct bc_batch **out_batch);

/* The same for a DictionaryBatch message: the batch has the nodes of the dictionary's
 * values alone, depth first. */
int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const uint8_t *message, int64_t size,
                          struct bc_batch **out_batch);

/* Checks the checksums of a batch's metadata and of those of its columns that `wanted`
 * has a bit for: 0, or EBADMSG; one without any fails. A small body is checked whole. */
int bc__decode_verify_columns(const struct bc_schema *schema, const uint64_t *wanted,
                              const uint8_t *message, int64_t size);
/* The same for all of a batch or dictionary. */
int bc__decode_verify(const uint8_t *message, int64_t size);
/* The same for the `framed` bytes in front of its body, which stand aligned to 8. */
bool bc__decode_verify_metadata(const uint8_t *message, size_t framed);

/* Adds up the bytes of the buffers of each column (`columns` NULL: of none), and looks at
 * the codec. EINVAL, ENOMEM. */
int bc__decode_measure(const struct bc_schema *schema, const uint8_t *message,
                       int64_t size, int64_t *columns, enum bc_codec *out_codec);

#endif
