/* Buffers that several batches share (dictionaries, variadic buffers), each byte charged
 * once: a hash table from a buffer's address to what is charged for it.
 *
 * An address stands for its buffer as long as a batch that holds it is charged for it,
 * and the entry goes with the last such batch. Not thread-safe: the store's lock is held.
 */
#ifndef BC_STORE_SHARED_BUFFERS_H
#define BC_STORE_SHARED_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

struct bc_shared_buffer {
    const void *buffer; /* NULL: free */
    uint64_t charged;
    uint64_t refs;
};

struct bc_shared_buffers {
    struct bc_shared_buffer *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

void bc__shared_buffers_finish(struct bc_shared_buffers *shares);

/* One more batch holds `buffer` and uses `used` of its `size` bytes: what that adds to
 * the charge goes to `*out_added`. Never charges more than `size` in all. 0 or ENOMEM. */
int bc__shared_buffers_add(struct bc_shared_buffers *shares, const void *buffer,
                           uint64_t size, uint64_t used, uint64_t *out_added);

/* Takes back one such call, and what it added. */
void bc__shared_buffers_remove(struct bc_shared_buffers *shares, const void *buffer,
                               uint64_t added);

#endif
