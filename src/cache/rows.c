/* Rows of a cache, and the batches that contain them. */
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

int bc_cache_find_row(struct bc_cache *cache, uint64_t row, uint64_t *out_batch,
                      uint64_t *out_row_in_batch, struct bc_error *error) {
    bc_assert(cache != NULL && out_batch != NULL && out_row_in_batch != NULL);
    struct bc_index_entry entry;
    struct bc_pin pin;
    bc__cache_pin_first(cache, &pin);
    int code = bc__cache_enter(cache, error);
    if (code == 0) {
        code =
            bc__store_find_row(&cache->store, pin.number, row, out_batch, &entry, error);
        bc__cache_leave(cache);
    }
    bc__cache_unpin(cache, &pin);
    if (code == 0) *out_row_in_batch = row - entry.first_row;
    return code;
}

/* Writes the first row of `n` batches, and the end of the last batch. The batches are
 * pinned. */
static int row_starts(struct bc_cache *cache, uint64_t start, uint64_t n,
                      uint64_t *out_rows, struct bc_error *error) {
    uint64_t batches = bc__store_published(&cache->store);
    if (start > batches || n > batches - start) {
        return bc__error_set(error, EINVAL, "Only %llu batches are recorded",
                             (unsigned long long)batches);
    }
    uint64_t end = start == 0 ? 0 : UINT64_MAX;
    for (uint64_t i = 0; i < n || end == UINT64_MAX; i++) {
        struct bc_index_entry entry;
        uint64_t number = n == 0 ? start - 1 : start + i;
        int code = bc__store_entry(&cache->store, number, &entry, error);
        if (code != 0) return code;
        end = entry.first_row + entry.rows;
        if (n > 0) out_rows[i] = entry.first_row;
    }
    out_rows[n] = end;
    return 0;
}

int bc_cache_row_starts(struct bc_cache *cache, uint64_t start, uint64_t n,
                        uint64_t *out_rows, struct bc_error *error) {
    bc_assert(cache != NULL && out_rows != NULL);
    struct bc_pin pin;
    /* For no batch, the result is the end of the batch before `start`. */
    uint64_t first = n == 0 && start > 0 ? start - 1 : start;
    int code = bc__cache_pin(cache, &pin, first, error);
    if (code != 0) return code;
    code = bc__cache_enter(cache, error);
    if (code == 0) {
        code = row_starts(cache, start, n, out_rows, error);
        bc__cache_leave(cache);
    }
    bc__cache_unpin(cache, &pin);
    return code;
}
