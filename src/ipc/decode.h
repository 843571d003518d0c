/* Decodes messages in mapped memory. The buffers of the batch point into the message.
 * Compressed and unaligned buffers are copied into memory of the batch.
 *
 * A small compressed buffer may expand to very many bytes. Therefore only the bytes that
 * the rows can reach are decompressed. A child ends at its parent's last offset, text at
 * its last offset, and a variadic buffer with the last view. Beyond these bytes, all
 * buffers of a message together may expand to three times the size of its body and 64
 * KiB. */
#ifndef BC_IPC_DECODE_H
#define BC_IPC_DECODE_H

#include "arrow/batch.h"
#include "arrow/projection.h"
#include "ipc/message.h"

/* Decodes the selected columns of a RecordBatch message. The nodes of other columns are
 * zeroed, and their bytes are not read. Each buffer is checked to be inside the message
 * and long enough for its type. The caller sets the batch's owner.
 *
 * `projection`: NULL means all columns.
 * `left`: limit of the decompressed bytes, reduced by the call; NULL means no limit.
 * EINVAL: it is no such message.
 * ENOTSUP: it has unions with nulls, from an old version of the format.
 * EAGAIN: it has more than `left` bytes to decompress.
 * ENOMEM. */
int bc__decode_batch(const struct bc_schema *schema,
                     const struct bc_projection *projection,
                     const struct bc_message *message, int64_t *left,
                     struct bc_batch **out_batch);

/* Decodes a DictionaryBatch message in the same way. The batch has only the nodes of the
 * dictionary's values, depth first. */
int bc__decode_dictionary(const struct bc_schema *schema, int32_t dictionary,
                          const struct bc_message *message, int64_t *left,
                          struct bc_batch **out_batch);

#endif
