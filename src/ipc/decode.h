/* A message in mapped memory as a batch whose buffers point into it, or, where they are
 * compressed, as a batch with buffers of its own.
 *
 * A small compressed buffer may hold very much. So of what is compressed, as much is
 * taken as the rows can reach: children have as many values as their parents' offsets ask
 * for, text ends with the last offset, and variadic buffers with the last view.
 * Beyond that, all buffers of a message together give three times the bytes of its body
 * and 64 KiB. */
#ifndef BC_IPC_DECODE_H
#define BC_IPC_DECODE_H

#include "arrow/batch.h"
#include "arrow/projection.h"
#include "ipc/message.h"

/* Decodes the columns of the projection (NULL: all) of a RecordBatch message, leaving the
 * other nodes zeroed and their bytes untouched. The message may be one of other writers:
 * what stands unaligned is copied. Every node and buffer is checked to lie inside it and
 * to be long enough for its type. The batch's owner is the caller's to set. EINVAL: not
 * such a message; ENOTSUP: one of an old version with null unions; ENOMEM; EAGAIN: more
 * than `left` bytes (NULL: any) are to be decompressed, which are taken from it. */
int bc__decode_batch(const struct bc_schema *schema,
                     const struct bc_projection *projection,
                     const struct bc_message *message, int64_t *left,
                     struct bc_batch **out_batch);

/* The same for a DictionaryBatch message: the batch has the nodes of the dictionary's
 * values alone, depth first. */
int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const struct bc_message *message, int64_t *left,
                          struct bc_batch **out_batch);

#endif
