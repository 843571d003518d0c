/* Bounds a message of this library by the size that its rows require.
 *
 * A checksum covers all bytes of a buffer. In a sparse file, a few bytes on the disk can
 * state a very large buffer with the right checksum of its zeros. Each buffer of a large
 * body is therefore compared with its array's need before it is read.
 *
 * The encoder writes exact buffers. Only the text of views may be larger: up to a quarter
 * of it may be outside all views. The compressed offsets and views of a message are not
 * known before they are read, so they bound nothing. */
#ifndef BC_IPC_MESSAGE_SIZE_H
#define BC_IPC_MESSAGE_SIZE_H

#include "ipc/message.h"

/* Returns whether the buffers of a batch's message are as large as its rows require. */
bool bc__message_fits_batch(const struct bc_schema *schema,
                            const struct bc_message *message);
/* The same for a dictionary's message. `values`: index of the field of its values. */
bool bc__message_fits_dictionary(const struct bc_schema *schema, int32_t values,
                                 const struct bc_message *message);

#endif
