#include "store/shared_buffers.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

static size_t home_entry(const struct bc_shared_buffers *shares, const void *buffer) {
    uint64_t hash = (uint64_t)(uintptr_t)buffer * 0x9E3779B97F4A7C15U;
    return (size_t)(hash >> 32) & (shares->capacity - 1);
}

/* Returns the entry of `buffer`, or the free entry for it. */
static size_t find_entry(const struct bc_shared_buffers *shares, const void *buffer) {
    bc_assert(shares->count < shares->capacity);
    size_t at = home_entry(shares, buffer);
    while (shares->entries[at].buffer != NULL && shares->entries[at].buffer != buffer) {
        at = (at + 1) & (shares->capacity - 1);
    }
    return at;
}

static int enlarge(struct bc_shared_buffers *shares) {
    struct bc_shared_buffers larger = {
        NULL, shares->capacity == 0 ? 16 : shares->capacity * 2, shares->count};
    larger.entries = bc__calloc(larger.capacity, sizeof(larger.entries[0]));
    if (larger.entries == NULL) return ENOMEM;
    for (size_t i = 0; i < shares->capacity; i++) {
        const struct bc_shared_buffer *entry = &shares->entries[i];
        if (entry->buffer == NULL) continue;
        size_t at = home_entry(&larger, entry->buffer);
        while (larger.entries[at].buffer != NULL) at = (at + 1) & (larger.capacity - 1);
        larger.entries[at] = *entry;
    }
    bc__free(shares->entries);
    *shares = larger;
    return 0;
}

void bc__shared_buffers_finish(struct bc_shared_buffers *shares) {
    bc_assert(shares != NULL);
    bc__free(shares->entries);
    memset(shares, 0, sizeof(*shares));
}

int bc__shared_buffers_add(struct bc_shared_buffers *shares, const void *buffer,
                           uint64_t size, uint64_t used, uint64_t *out_added) {
    bc_assert(buffer != NULL && used <= size);
    if (shares->count * 2 >= shares->capacity && enlarge(shares) != 0) return ENOMEM;
    struct bc_shared_buffer *entry = &shares->entries[find_entry(shares, buffer)];
    if (entry->buffer == NULL) {
        entry->buffer = buffer;
        shares->count++;
    }
    uint64_t left = size > entry->charged ? size - entry->charged : 0;
    *out_added = used < left ? used : left;
    entry->charged += *out_added;
    entry->refs++;
    return 0;
}

void bc__shared_buffers_remove(struct bc_shared_buffers *shares, const void *buffer,
                               uint64_t added) {
    bc_assert(shares->count > 0);
    size_t at = find_entry(shares, buffer);
    struct bc_shared_buffer *entry = &shares->entries[at];
    bc_assert(entry->buffer == buffer && entry->refs > 0 && entry->charged >= added);
    entry->charged -= added;
    entry->refs--;
    if (entry->refs > 0) return;
    /* Move up the entries that a search would no longer find behind the hole. */
    size_t mask = shares->capacity - 1;
    size_t hole = at;
    for (size_t next = (at + 1) & mask; shares->entries[next].buffer != NULL;
         next = (next + 1) & mask) {
        size_t home = home_entry(shares, shares->entries[next].buffer);
        if (((next - home) & mask) < ((next - hole) & mask)) continue;
        shares->entries[hole] = shares->entries[next];
        hole = next;
    }
    memset(&shares->entries[hole], 0, sizeof(shares->entries[hole]));
    shares->count--;
}
