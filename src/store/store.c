#include "store/store.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"

/* Memory that the nodes of batches on disk may take. */
static const uint64_t DECODED_BYTES_MAX = (uint64_t)32 << 20;

/* Chunk c starts at slot 64 * (2^c - 1). */
static struct bc_slot *slot_at(const struct bc_store *store, uint64_t number) {
    uint64_t place = number / BC_STORE_FIRST_CHUNK + 1;
    int chunk = 63 - __builtin_clzll(place);
    bc_assert(chunk < BC_STORE_CHUNKS);
    uint64_t start = (((uint64_t)1 << chunk) - 1) * BC_STORE_FIRST_CHUNK;
    return &store->chunks[chunk][number - start];
}

static int reserve_slot(struct bc_store *store, uint64_t number) {
    uint64_t place = number / BC_STORE_FIRST_CHUNK + 1;
    int chunk = 63 - __builtin_clzll(place);
    if (chunk >= BC_STORE_CHUNKS) return ENOMEM;
    if (store->chunks[chunk] != NULL) return 0;
    size_t slots = (size_t)BC_STORE_FIRST_CHUNK << chunk;
    store->chunks[chunk] = bc__calloc(slots, sizeof(struct bc_slot));
    return store->chunks[chunk] == NULL ? ENOMEM : 0;
}

int bc__store_init(struct bc_store *store, const struct bc_schema *schema,
                   uint64_t memory_capacity, struct bc_tier *tier,
                   enum bc_write_policy policy) {
    bc_assert(store != NULL && schema != NULL);
    memset(store, 0, sizeof(*store));
    store->schema = schema;
    store->tier = tier;
    store->policy = policy;
    store->budget.limit = memory_capacity;
    size_t columns = (size_t)schema->fields[0].n_children / 64 + 1;
    store->all_columns = bc__malloc(columns * sizeof(uint64_t));
    if (store->all_columns == NULL) return ENOMEM;
    memset(store->all_columns, 0xff, columns * sizeof(uint64_t));
    int code = bc__mutex_init(&store->lock);
    if (code != 0) bc__free(store->all_columns);
    return code;
}

void bc__store_finish(struct bc_store *store) {
    for (int i = 0; i < BC_STORE_CHUNKS; i++) bc__free(store->chunks[i]);
    bc__budget_finish(&store->budget);
    bc__buffer_ranges_finish(&store->ranges);
    bc__buffer_ranges_finish(&store->scratch);
    bc__free(store->all_columns);
    bc__mutex_finish(&store->lock);
}

/* Charges the batch to the memory budget if it fits. `*out_bytes`: what it weighs. */
static int admit(struct bc_store *store, const struct bc_batch *batch,
                 struct bc_charge *out_charge, uint64_t *out_bytes,
                 struct bc_error *error) {
    struct bc_charge charge;
    int code = bc__charge_measure(&charge, &store->ranges, &store->scratch, store->schema,
                                  batch, error);
    if (code != 0) return code;
    *out_bytes = charge.own_bytes;
    for (size_t i = 0; i < charge.n_shared; i++) *out_bytes += charge.shared[i].used;
    bc__mutex_lock(&store->lock);
    code = bc__budget_admit(&store->budget, &charge);
    bc__mutex_unlock(&store->lock);
    if (code != 0) {
        bc__charge_finish(&charge);
        return code == ENOMEM ? bc__error_memory(error) : code;
    }
    *out_charge = charge;
    return 0;
}

static int over_budget(struct bc_store *store, struct bc_error *error) {
    bc__mutex_lock(&store->lock);
    uint64_t limit = store->budget.limit;
    bc__mutex_unlock(&store->lock);
    return bc__error_set_kind(error, BC_ERROR_OVER_BUDGET, ENOMEM,
                              "Memory cache capacity (%llu bytes) exceeded",
                              (unsigned long long)limit);
}

/* Adds to a count that only the producer changes. */
static void add(_Atomic uint64_t *total, uint64_t more) {
    uint64_t before = atomic_load_explicit(total, memory_order_relaxed);
    atomic_store_explicit(total, before + more, memory_order_relaxed);
}

static void publish(struct bc_store *store, struct bc_slot *slot, uint64_t rows,
                    uint64_t bytes) {
    uint64_t number = atomic_load_explicit(&store->published, memory_order_relaxed);
    bc_assert(slot == slot_at(store, number));
    slot->first_row = atomic_load_explicit(&store->rows, memory_order_relaxed);
    slot->rows = rows;
    add(&store->rows, rows);
    add(&store->bytes, bytes);
    atomic_store_explicit(&store->published, number + 1, memory_order_release);
}

int bc__store_put(struct bc_store *store, struct bc_batch *batch, bool more,
                  struct bc_error *error) {
    bc_assert(batch != NULL && batch->n_nodes == store->schema->n_fields);
    uint64_t number = atomic_load_explicit(&store->published, memory_order_relaxed);
    if (reserve_slot(store, number) != 0) return bc__error_memory(error);
    int code = bc__buffer_ranges_of_batch(&store->ranges, store->schema, batch, error);
    if (code != 0) return code;

    struct bc_extent extent = {0, 0};
    struct bc_charge charge = {0};
    struct bc_tier *tier = store->tier;
    if (tier != NULL && store->policy == BC_WRITE_ON_INSERTION) {
        code = tier->ops->append(tier, batch, &store->ranges, more, &extent, error);
        if (code != 0) return code;
    }
    uint64_t bytes = 0;
    code = admit(store, batch, &charge, &bytes, error);
    bool in_memory = code == 0;
    if (code != 0 && tier == NULL) {
        return code == ENOSPC ? over_budget(store, error) : code;
    }
    if (!in_memory && extent.size == 0) {
        code = tier->ops->append(tier, batch, &store->ranges, more, &extent, error);
        if (code != 0) return code;
    }
    struct bc_slot *slot = slot_at(store, number);
    slot->extent = extent;
    slot->charge = charge;
    slot->in_memory = in_memory;
    struct bc_batch *kept = in_memory ? bc__batch_ref(batch) : NULL;
    atomic_store_explicit(&slot->batch, kept, memory_order_relaxed);
    publish(store, slot, (uint64_t)batch->nodes[0].length, bytes);
    return 0;
}

int bc__store_flush(struct bc_store *store, struct bc_error *error) {
    struct bc_tier *tier = store->tier;
    return tier == NULL ? 0 : tier->ops->flush(tier, error);
}

static int index_entry(const void *context, uint64_t number,
                       struct bc_index_entry *out_entry, struct bc_error *error) {
    return bc__store_entry(context, number, out_entry, error);
}

struct bc_index bc__store_index(const struct bc_store *store) {
    return (struct bc_index){
        .batches = bc__store_published(store),
        .rows = atomic_load(&store->rows),
        .bytes = atomic_load(&store->bytes),
        .entry = index_entry,
        .context = store,
    };
}

int bc__store_end(struct bc_store *store, struct bc_error *error) {
    struct bc_tier *tier = store->tier;
    if (tier == NULL) return 0;
    const struct bc_index index = bc__store_index(store);
    return tier->ops->end(tier, &index, error);
}

void bc__store_abort(struct bc_store *store) {
    struct bc_tier *tier = store->tier;
    if (tier != NULL) tier->ops->abort(tier);
}

int bc__store_put_next(struct bc_store *store, bool *out_ended, struct bc_error *error) {
    uint64_t number = atomic_load_explicit(&store->published, memory_order_relaxed);
    /* First, so that the tier is not asked again for a batch that it returned. */
    if (reserve_slot(store, number) != 0) return bc__error_memory(error);
    struct bc_extent extent;
    uint64_t rows;
    int code = store->tier->ops->next(store->tier, &extent, &rows, error);
    if (code != 0) return code;
    *out_ended = extent.size == 0;
    if (*out_ended) return 0;
    struct bc_slot *slot = slot_at(store, number);
    slot->extent = extent;
    publish(store, slot, rows, (uint64_t)extent.size);
    return 0;
}

int bc__store_load_index(struct bc_store *store, uint64_t batches, uint64_t rows,
                         uint64_t bytes, struct bc_error *error) {
    bc_assert(bc__store_published(store) == 0 && store->tier->has_index);
    /* Memory of this kind takes no time before it is touched. */
    uint64_t reserved = 0;
    for (uint64_t chunk = BC_STORE_FIRST_CHUNK; reserved < batches; chunk *= 2) {
        if (reserve_slot(store, reserved) != 0) return bc__error_memory(error);
        reserved += chunk;
    }
    atomic_store(&store->rows, rows);
    atomic_store(&store->bytes, bytes);
    atomic_store_explicit(&store->published, batches, memory_order_release);
    return 0;
}

int bc__store_entry(const struct bc_store *store, uint64_t number,
                    struct bc_index_entry *out_entry, struct bc_error *error) {
    bc_assert(number < bc__store_published(store));
    struct bc_tier *tier = store->tier;
    if (tier != NULL && tier->has_index) {
        return tier->ops->locate(tier, number, out_entry, error);
    }
    const struct bc_slot *slot = slot_at(store, number);
    *out_entry = (struct bc_index_entry){slot->extent, slot->first_row, slot->rows};
    return 0;
}

int bc__store_find_row(const struct bc_store *store, uint64_t low, uint64_t row,
                       uint64_t *out_number, struct bc_index_entry *out_entry,
                       struct bc_error *error) {
    /* Not below `low`, and before `high`. */
    uint64_t high = bc__store_published(store);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct bc_index_entry entry;
        int code = bc__store_entry(store, middle, &entry, error);
        if (code != 0) return code;
        if (row < entry.first_row) {
            high = middle;
        } else if (row - entry.first_row >= entry.rows) {
            low = middle + 1;
        } else {
            *out_number = middle;
            *out_entry = entry;
            return 0;
        }
    }
    return bc__error_set(error, EINVAL, "Row %llu is in no batch that is still cached",
                         (unsigned long long)row);
}

void bc__store_release_retired(struct bc_store *store, bool done) {
    struct bc_tier *tier = store->tier;
    if (tier != NULL) tier->ops->release_retired(tier, done);
}

enum { FEW_WORDS = 16 };

/* Which columns of the slot's batch were verified, making the table where there is none;
 * NULL without memory, where they are verified again. */
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

/* Reads some columns of a batch from disk. */
static int read_some(struct bc_store *store, struct bc_slot *slot,
                     struct bc_extent extent, uint64_t number,
                     const struct bc_projection *projection, int64_t bytes_max,
                     struct bc_batch **out_batch, struct bc_error *error) {
    struct bc_tier *tier = store->tier;
    if (!tier->copies_on_read &&
        atomic_load_explicit(&slot->verified, memory_order_relaxed)) {
        const struct bc_tier_read verified = {projection, NULL, bytes_max};
        return tier->ops->read(tier, extent, number, verified, out_batch, error);
    }
    size_t n_words = projection->n_words;
    _Atomic uint64_t *verified = columns_verified(slot, n_words);
    uint64_t few[FEW_WORDS];
    uint64_t *unverified = few;
    if (n_words > FEW_WORDS) unverified = bc__malloc(n_words * sizeof(*unverified));
    if (unverified == NULL) return bc__error_memory(error);
    /* The number of rows is read with any column, and with none. */
    bool any = projection->schema->n_fields == 1;
    for (size_t i = 0; i < n_words; i++) {
        uint64_t before = verified == NULL || tier->copies_on_read
                              ? 0
                              : atomic_load_explicit(&verified[i], memory_order_relaxed);
        unverified[i] = projection->columns[i] & ~before;
        any = any || unverified[i] != 0;
    }
    const struct bc_tier_read what = {projection, any ? unverified : NULL, bytes_max};
    int code = tier->ops->read(tier, extent, number, what, out_batch, error);
    for (size_t i = 0; i < n_words && code == 0 && any && verified != NULL; i++) {
        (void)atomic_fetch_or_explicit(&verified[i], unverified[i], memory_order_relaxed);
    }
    if (unverified != few) bc__free(unverified);
    return code;
}

/* Reads a whole batch from disk. */
static int read_all(struct bc_store *store, struct bc_slot *slot, struct bc_extent extent,
                    uint64_t number, int64_t bytes_max, struct bc_batch **out_batch,
                    struct bc_error *error) {
    struct bc_tier *tier = store->tier;
    bool verified = !tier->copies_on_read &&
                    atomic_load_explicit(&slot->verified, memory_order_relaxed);
    const struct bc_tier_read what = {NULL, verified ? NULL : store->all_columns,
                                      bytes_max};
    int code = tier->ops->read(tier, extent, number, what, out_batch, error);
    if (code == 0 && !verified) {
        atomic_store_explicit(&slot->verified, true, memory_order_relaxed);
    }
    return code;
}

static bool is_quick(const struct bc_store *store, struct bc_slot *slot,
                     const struct bc_index_entry *entry) {
    struct bc_tier *tier = store->tier;
    bool is_new =
        !atomic_load_explicit(&slot->verified, memory_order_relaxed) &&
        atomic_load_explicit(&slot->columns_verified, memory_order_relaxed) == NULL;
    return tier->ops->read_cost(tier, entry->extent, entry->rows, is_new) <=
           BC_STORE_QUICK_BYTES;
}

/* Reads a batch from disk. Where that is all of it, its nodes stay in the slot for later
 * reads, which then cost what those from memory do, as long as all such nodes take little
 * memory. */
static int read_back(struct bc_store *store, struct bc_slot *slot, uint64_t number,
                     const struct bc_projection *projection, bool quick,
                     struct bc_batch **out_batch, bool *out_borrowed,
                     struct bc_error *error) {
    struct bc_index_entry entry;
    int code = bc__store_entry(store, number, &entry, error);
    if (code != 0) return code;
    if (entry.extent.size == 0) {
        return bc__error_set_kind(error, BC_ERROR_EVICTED, EINVAL,
                                  "Batch %llu is no longer cached",
                                  (unsigned long long)number);
    }
    if (quick && !is_quick(store, slot, &entry)) return EAGAIN;
    struct bc_batch *batch;
    int64_t most = quick ? BC_STORE_QUICK_BYTES : 0;
    struct bc_extent extent = entry.extent;
    code = projection != NULL
               ? read_some(store, slot, extent, number, projection, most, &batch, error)
               : read_all(store, slot, extent, number, most, &batch, error);
    if (code != 0) return code;
    if ((uint64_t)batch->nodes[0].length != entry.rows) {
        bc__batch_unref(batch);
        return bc__error_set(error, EBADMSG,
                             "Batch %llu has a different row count than the file's "
                             "index; the file may be corrupted",
                             (unsigned long long)number);
    }
    if (projection != NULL) {
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

void bc__store_prefetch_slot(const struct bc_store *store, uint64_t number) {
    if (number >= bc__store_published(store)) return;
    const struct bc_slot *slot = slot_at(store, number);
    __builtin_prefetch(slot);
    __builtin_prefetch(&slot->columns_verified);
}

int bc__store_get(struct bc_store *store, uint64_t number,
                  const struct bc_projection *projection, bool quick,
                  struct bc_batch **out_batch, bool *out_borrowed,
                  struct bc_batch_info *out_info, struct bc_error *error) {
    bc_assert(number < bc__store_published(store));
    struct bc_slot *slot = slot_at(store, number);
    struct bc_tier *tier = store->tier;
    struct bc_batch *batch = atomic_load_explicit(&slot->batch, memory_order_acquire);
    bool locates = batch == NULL && tier != NULL && tier->has_index;
    if (tier != NULL && !slot->in_memory && !locates) {
        int code = tier->ops->check(tier, error);
        if (code != 0) return code;
    }
    if (batch != NULL) {
        *out_batch = batch;
        *out_borrowed = true;
    } else {
        int code = read_back(store, slot, number, projection, quick, out_batch,
                             out_borrowed, error);
        if (code != 0) return code;
    }
    uint64_t rows = (uint64_t)(*out_batch)->nodes[0].length;
    *out_info = (struct bc_batch_info){
        .number = number, .rows = rows, .in_memory = slot->in_memory};
    return 0;
}

/* Empties the slot; the batch's reference and its extent go to the caller. The lock is
 * held. */
static struct bc_batch *detach(struct bc_store *store, struct bc_slot *slot,
                               struct bc_extent *out_extent) {
    struct bc_batch *batch =
        atomic_exchange_explicit(&slot->batch, NULL, memory_order_acq_rel);
    if (slot->in_memory) {
        bc__budget_release(&store->budget, &slot->charge);
    } else if (batch != NULL) {
        (void)atomic_fetch_sub_explicit(&store->decoded_bytes, bc__batch_bytes(batch),
                                        memory_order_relaxed);
    }
    slot->in_memory = false;
    bc__charge_finish(&slot->charge);
    bc__free((void *)atomic_exchange_explicit(&slot->columns_verified, NULL,
                                              memory_order_acq_rel));
    *out_extent = slot->extent;
    slot->extent = (struct bc_extent){0, 0};
    return batch;
}

/* Slots that go at once. */
enum { RUN = 1 << 14 };

/* The slots before `end` will not be looked at any more, but to see that they are empty:
 * what they take goes too, a run at a time. A run is in one chunk, but for the first. */
static void empty_slots(struct bc_store *store, uint64_t end) {
    if ((end + BC_STORE_FIRST_CHUNK) % RUN != 0 || end < RUN) return;
    bc__sys_discard_pages(slot_at(store, end - RUN), RUN * sizeof(struct bc_slot));
}

void bc__store_trim(struct bc_store *store, uint64_t low) {
    uint64_t published = bc__store_published(store);
    if (low > published) low = published;
    for (;;) {
        bc__mutex_lock(&store->lock);
        uint64_t first = atomic_load_explicit(&store->first, memory_order_relaxed);
        struct bc_batch *batch = NULL;
        struct bc_extent extent = {0, 0};
        bool more = first < low;
        if (more) {
            batch = detach(store, slot_at(store, first), &extent);
            atomic_store_explicit(&store->first, first + 1, memory_order_release);
        }
        bc__mutex_unlock(&store->lock);
        if (!more) return;
        empty_slots(store, first + 1);
        bc__batch_unref(batch);
        if (extent.size > 0) store->tier->ops->release(store->tier, extent);
    }
}

void bc__store_clear(struct bc_store *store) {
    uint64_t published = bc__store_published(store);
    uint64_t first = atomic_load_explicit(&store->first, memory_order_acquire);
    for (uint64_t number = first; number < published; number++) {
        const struct bc_slot *slot = slot_at(store, number);
        /* A file may have very many batches that nobody looked at. Another thread may be
         * trimming this one: the rest of the slot is read with the lock. */
        if (atomic_load_explicit(&slot->batch, memory_order_acquire) == NULL &&
            atomic_load_explicit(&slot->columns_verified, memory_order_acquire) == NULL) {
            continue;
        }
        bc__mutex_lock(&store->lock);
        struct bc_extent extent; /* goes with the file */
        struct bc_batch *batch = detach(store, slot_at(store, number), &extent);
        bc__mutex_unlock(&store->lock);
        bc__batch_unref(batch);
    }
}
