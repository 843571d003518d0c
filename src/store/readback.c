#include "store/readback.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

/* The limit of the kept nodes of batches on disk. */
static const uint64_t DECODED_BYTES_MAX = (uint64_t)32 << 20;

enum { FEW_WORDS = 16 };

/* Returns the slot's bit set of verified columns, and makes it if there is none. Returns
 * NULL if there is no memory: the columns are then verified again. */
static _Atomic uint64_t *columns_verified(struct bc_slot *slot, size_t n_words) {
    _Atomic uint64_t *table =
        atomic_load_explicit(&slot->columns_verified, memory_order_acquire);
    if (table != NULL) return table;
    _Atomic uint64_t *fresh = bc__calloc(n_words, sizeof(*fresh));
    if (fresh == NULL) return NULL;
    if (!atomic_compare_exchange_strong_explicit(&slot->columns_verified, &table, fresh,
                                                 memory_order_acq_rel,
                                                 memory_order_acquire)) {
        bc__free(fresh);
        return table;
    }
    return fresh;
}

/* Reads the columns of a projection from disk. Verifies those not verified before. */
static int read_some(struct bc_store *store, struct bc_slot *slot,
                     struct bc_extent extent, const struct bc_store_read *request,
                     int64_t bytes_max, struct bc_batch **out_batch,
                     struct bc_error *error) {
    struct bc_tier *tier = store->tier;
    uint64_t number = request->number;
    const struct bc_projection *projection = request->projection;
    if (!tier->copies_on_read &&
        atomic_load_explicit(&slot->verified, memory_order_relaxed)) {
        const struct bc_tier_read verified = {projection, NULL, bytes_max, request->stop};
        return tier->ops->read(tier, extent, number, verified, out_batch, error);
    }
    size_t n_words = projection->n_words;
    _Atomic uint64_t *verified = columns_verified(slot, n_words);
    uint64_t few[FEW_WORDS];
    uint64_t *unverified = few;
    if (n_words > FEW_WORDS) unverified = bc__malloc(n_words * sizeof(*unverified));
    if (unverified == NULL) return bc__error_memory(error);
    /* A read of no column still returns the row count, which must be verified. */
    bool any = projection->schema->n_fields == 1;
    for (size_t i = 0; i < n_words; i++) {
        uint64_t before = verified == NULL || tier->copies_on_read
                              ? 0
                              : atomic_load_explicit(&verified[i], memory_order_relaxed);
        unverified[i] = projection->columns[i] & ~before;
        any = any || unverified[i] != 0;
    }
    const struct bc_tier_read what = {projection, any ? unverified : NULL, bytes_max,
                                      request->stop};
    int code = tier->ops->read(tier, extent, number, what, out_batch, error);
    for (size_t i = 0; i < n_words && code == 0 && any && verified != NULL; i++) {
        (void)atomic_fetch_or_explicit(&verified[i], unverified[i], memory_order_relaxed);
    }
    if (unverified != few) bc__free(unverified);
    return code;
}

/* Reads all columns of a batch from disk. */
static int read_all(struct bc_store *store, struct bc_slot *slot, struct bc_extent extent,
                    const struct bc_store_read *request, int64_t bytes_max,
                    struct bc_batch **out_batch, struct bc_error *error) {
    struct bc_tier *tier = store->tier;
    bool verified = !tier->copies_on_read &&
                    atomic_load_explicit(&slot->verified, memory_order_relaxed);
    const struct bc_tier_read what = {NULL, verified ? NULL : store->all_columns,
                                      bytes_max, request->stop};
    int code = tier->ops->read(tier, extent, request->number, what, out_batch, error);
    if (code == 0 && !verified) {
        atomic_store_explicit(&slot->verified, true, memory_order_relaxed);
    }
    return code;
}

/* Returns true if the read of the batch is quick. */
static bool is_quick(const struct bc_store *store, struct bc_slot *slot,
                     const struct bc_index_entry *entry) {
    struct bc_tier *tier = store->tier;
    bool is_new =
        !atomic_load_explicit(&slot->verified, memory_order_relaxed) &&
        atomic_load_explicit(&slot->columns_verified, memory_order_relaxed) == NULL;
    return tier->ops->read_cost(tier, entry->extent, entry->rows, is_new) <=
           BC_STORE_QUICK_BYTES;
}

int bc__store_read_back(struct bc_store *store, struct bc_slot *slot,
                        const struct bc_store_read *request, struct bc_batch **out_batch,
                        bool *out_borrowed, struct bc_error *error) {
    uint64_t number = request->number;
    struct bc_index_entry entry;
    int code = bc__store_entry(store, number, &entry, error);
    if (code != 0) return code;
    if (entry.extent.size == 0) {
        return bc__error_set_kind(error, BC_ERROR_EVICTED, EINVAL,
                                  "Batch %llu is no longer cached",
                                  (unsigned long long)number);
    }
    if (request->quick && !is_quick(store, slot, &entry)) return EAGAIN;
    struct bc_batch *batch = NULL;
    int64_t bytes_max = request->quick ? BC_STORE_QUICK_BYTES : 0;
    struct bc_extent extent = entry.extent;
    code = request->projection != NULL
               ? read_some(store, slot, extent, request, bytes_max, &batch, error)
               : read_all(store, slot, extent, request, bytes_max, &batch, error);
    if (code != 0) return code;
    bc_assert(batch != NULL);
    if ((uint64_t)batch->nodes[0].length != entry.rows) {
        bc__batch_unref(batch);
        return bc__error_set(error, EBADMSG,
                             "Batch %llu has a different row count than the file's "
                             "index; the file may be corrupted",
                             (unsigned long long)number);
    }
    if (request->projection != NULL || store->tier->is_unkept) {
        *out_borrowed = false;
        *out_batch = batch;
        return 0;
    }
    *out_batch = batch;
    uint64_t bytes = bc__batch_bytes(batch);
    uint64_t before =
        atomic_fetch_add_explicit(&store->decoded_bytes, bytes, memory_order_relaxed);
    struct bc_batch *none = NULL;
    *out_borrowed =
        before + bytes <= DECODED_BYTES_MAX &&
        atomic_compare_exchange_strong_explicit(
            &slot->batch, &none, batch, memory_order_release, memory_order_relaxed);
    if (!*out_borrowed) {
        (void)atomic_fetch_sub_explicit(&store->decoded_bytes, bytes,
                                        memory_order_relaxed);
    }
    return 0;
}
