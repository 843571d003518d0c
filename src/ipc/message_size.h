/* Whether a message of ours is as large as its rows ask for.
 *
 * A checksum is of all bytes of a buffer. In a sparse file, a few bytes on the disk may
 * say that one is very large, with the right checksum of its zeros: so a buffer of a
 * large body is held against what its array needs before it is read. What we write is
 * exact, but a quarter of all text of views may be reached by none of them. Compressed
 * offsets and views are not known before they are read. */
#ifndef BC_IPC_MESSAGE_SIZE_H
#define BC_IPC_MESSAGE_SIZE_H

#include "ipc/message.h"

bool bc__message_fits_batch(const struct bc_schema *schema,
                            const struct bc_message *message);
/* Of a dictionary, whose values are field number `values`. */
bool bc__message_fits_dictionary(const struct bc_schema *schema, int32_t values,
                                 const struct bc_message *message);

#endif
