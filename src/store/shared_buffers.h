/* Shared buffers: dictionaries and variadic buffers of several batches. Each byte is
 * charged once. A hash table maps the address of a buffer to its charge.
 *
 * An address identifies its buffer as long as a charged batch references the buffer. The
 * entry is removed with the last such batch. Not thread-safe: the store's lock is
 * held. */
#ifndef BC_STORE_SHARED_BUFFERS_H
#define BC_STORE_SHARED_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

struct bc_shared_buffer {
    const void *buffer; /* NULL: the entry is free */
    uint64_t charged;
    uint64_t refs;
};

struct bc_shared_buffers {
    struct bc_shared_buffer *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

void bc__shared_buffers_finish(struct bc_shared_buffers *shares);

/* Adds a batch that uses `used` of the `size` bytes of `buffer`. `out_added`: the bytes
 * that the batch adds to the charge. The charge never exceeds `size`. ENOMEM. */
int bc__shared_buffers_add(struct bc_shared_buffers *shares, const void *buffer,
                           uint64_t size, uint64_t used, uint64_t *out_added);

/* Undoes one call of bc__shared_buffers_add, which added `added` bytes. */
void bc__shared_buffers_remove(struct bc_shared_buffers *shares, const void *buffer,
                               uint64_t added);

#endif
