#include "store/store.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "store/readback.h"
#include "store/slots.h"

int bc__store_init(struct bc_store *store, const struct bc_schema *schema,
                   uint64_t memory_capacity, struct bc_tier *tier,
                   enum bc_write_policy policy) {
    bc_assert(store != NULL && schema != NULL);
    memset(store, 0, sizeof(*store));
    store->schema = schema;
    store->tier = tier;
    store->policy = policy;
    store->budget.capacity = memory_capacity;
    size_t columns = (size_t)schema->fields[0].n_children / 64 + 1;
    store->all_columns = bc__malloc(columns * sizeof(uint64_t));
    if (store->all_columns == NULL) return ENOMEM;
    memset(store->all_columns, 0xff, columns * sizeof(uint64_t));
    int code = bc__mutex_init(&store->lock);
    if (code != 0) bc__free(store->all_columns);
    return code;
}

void bc__store_finish(struct bc_store *store) {
    bc__slots_finish(store);
    bc__budget_finish(&store->budget);
    bc__buffer_ranges_finish(&store->ranges);
    bc__buffer_ranges_finish(&store->scratch);
    bc__free(store->all_columns);
    bc__mutex_finish(&store->lock);
}

/* Charges the batch to the memory budget. ENOSPC: it does not fit. `out_bytes`: the bytes
 * that the batch references. */
static int charge_batch(struct bc_store *store, const struct bc_batch *batch,
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

static int over_budget_error(struct bc_store *store, struct bc_error *error) {
    bc__mutex_lock(&store->lock);
    uint64_t capacity = store->budget.capacity;
    bc__mutex_unlock(&store->lock);
    return bc__error_set_kind(error, BC_ERROR_OVER_BUDGET, ENOMEM,
                              "Memory cache capacity (%llu bytes) exceeded",
                              (unsigned long long)capacity);
}

/* Adds to a total that only the producer changes. */
static void add_to_total(_Atomic uint64_t *total, uint64_t more) {
    uint64_t before = atomic_load_explicit(total, memory_order_relaxed);
    atomic_store_explicit(total, before + more, memory_order_relaxed);
}

/* Publishes the next slot. */
static void publish_slot(struct bc_store *store, struct bc_slot *slot, uint64_t rows,
                         uint64_t bytes) {
    uint64_t number = atomic_load_explicit(&store->published, memory_order_relaxed);
    bc_assert(slot == bc__slot_at(store, number));
    slot->first_row = atomic_load_explicit(&store->rows, memory_order_relaxed);
    slot->rows = rows;
    add_to_total(&store->rows, rows);
    add_to_total(&store->bytes, bytes);
    atomic_store_explicit(&store->published, number + 1, memory_order_release);
}

int bc__store_put(struct bc_store *store, struct bc_batch *batch, bool more,
                  struct bc_error *error) {
    bc_assert(batch != NULL && batch->n_nodes == store->schema->n_fields);
    uint64_t number = atomic_load_explicit(&store->published, memory_order_relaxed);
    if (bc__slot_reserve(store, number) != 0) return bc__error_memory(error);
    int code = bc__buffer_ranges_of_batch(&store->ranges, store->schema, batch, error);
    if (code != 0) return code;
    if (store->statistics != NULL &&
        bc__statistics_reserve(store->statistics, number) != 0) {
        return bc__error_memory(error);
    }
    struct bc_extent extent = {0, 0};
    struct bc_charge charge = {0};
    struct bc_tier *tier = store->tier;
    const struct bc_tier_write write = {batch, &store->ranges, more, store->statistics};
    if (tier != NULL && store->policy == BC_WRITE_ON_INSERTION) {
        code = tier->ops->append(tier, &write, &extent, error);
        if (code != 0) return code;
    }
    uint64_t bytes = 0;
    code = charge_batch(store, batch, &charge, &bytes, error);
    bool in_memory = code == 0;
    if (code != 0 && tier == NULL) {
        return code == ENOSPC ? over_budget_error(store, error) : code;
    }
    if (!in_memory && extent.size == 0) {
        code = tier->ops->append(tier, &write, &extent, error);
        if (code != 0) return code;
    }
    if (store->statistics != NULL && extent.size == 0) {
        bc__statistics_add(store->statistics, number, batch);
    }
    struct bc_slot *slot = bc__slot_at(store, number);
    slot->extent = extent;
    slot->charge = charge;
    slot->in_memory = in_memory;
    struct bc_batch *kept = in_memory ? bc__batch_ref(batch) : NULL;
    atomic_store_explicit(&slot->batch, kept, memory_order_relaxed);
    publish_slot(store, slot, (uint64_t)batch->nodes[0].length, bytes);
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
        .statistics = store->statistics,
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
    /* Reserved first: if this fails, the tier has not returned the batch yet. */
    if (bc__slot_reserve(store, number) != 0) return bc__error_memory(error);
    struct bc_extent extent;
    uint64_t rows;
    int code = store->tier->ops->next(store->tier, &extent, &rows, error);
    if (code != 0) return code;
    *out_ended = extent.size == 0;
    if (*out_ended) return 0;
    struct bc_slot *slot = bc__slot_at(store, number);
    slot->extent = extent;
    publish_slot(store, slot, rows, (uint64_t)extent.size);
    return 0;
}

int bc__store_load_index(struct bc_store *store, uint64_t batches, uint64_t rows,
                         uint64_t bytes, struct bc_error *error) {
    bc_assert(bc__store_published(store) == 0 && store->tier->has_index);
    /* Zeroed memory of this size costs nothing until a slot is used. */
    uint64_t reserved = 0;
    for (uint64_t chunk = BC_STORE_FIRST_CHUNK; reserved < batches; chunk *= 2) {
        if (bc__slot_reserve(store, reserved) != 0) return bc__error_memory(error);
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
    const struct bc_slot *slot = bc__slot_at(store, number);
    *out_entry = (struct bc_index_entry){slot->extent, slot->first_row, slot->rows};
    return 0;
}

int bc__store_find_row(const struct bc_store *store, uint64_t low, uint64_t row,
                       uint64_t *out_number, struct bc_index_entry *out_entry,
                       struct bc_error *error) {
    /* The batch is in [low, high). */
    const uint64_t first = low;
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
    bool is_evicted = first > 0 && low == first && row < atomic_load(&store->rows);
    return bc__error_set_kind(error, is_evicted ? BC_ERROR_EVICTED : BC_ERROR_INVALID,
                              EINVAL, "Row %llu is in no batch that is still cached",
                              (unsigned long long)row);
}

void bc__store_release_retired(struct bc_store *store, bool done) {
    struct bc_tier *tier = store->tier;
    if (tier != NULL) tier->ops->release_retired(tier, done);
}

void bc__store_prefetch_slot(const struct bc_store *store, uint64_t number) {
    if (number >= bc__store_published(store)) return;
    const struct bc_slot *slot = bc__slot_at(store, number);
    __builtin_prefetch(slot);
    __builtin_prefetch(&slot->columns_verified);
}

int bc__store_get(struct bc_store *store, const struct bc_store_read *request,
                  struct bc_batch **out_batch, bool *out_borrowed,
                  struct bc_batch_info *out_info, struct bc_error *error) {
    uint64_t number = request->number;
    bc_assert(number < bc__store_published(store));
    struct bc_slot *slot = bc__slot_at(store, number);
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
        int code =
            bc__store_read_back(store, slot, request, out_batch, out_borrowed, error);
        if (code != 0) return code;
    }
    uint64_t rows = (uint64_t)(*out_batch)->nodes[0].length;
    *out_info = (struct bc_batch_info){
        .number = number, .rows = rows, .in_memory = slot->in_memory};
    return 0;
}

/* Empties the slot. The batch's reference and its extent move to the caller. The lock is
 * held. */
static struct bc_batch *empty_slot(struct bc_store *store, struct bc_slot *slot,
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
            batch = empty_slot(store, bc__slot_at(store, first), &extent);
            atomic_store_explicit(&store->first, first + 1, memory_order_release);
        }
        bc__mutex_unlock(&store->lock);
        if (!more) return;
        bc__slots_discard(store, first + 1);
        bc__batch_unref(batch);
        if (extent.size > 0) store->tier->ops->release(store->tier, extent);
    }
}

void bc__store_clear(struct bc_store *store) {
    uint64_t published = bc__store_published(store);
    uint64_t first = atomic_load_explicit(&store->first, memory_order_acquire);
    for (uint64_t number = first; number < published; number++) {
        const struct bc_slot *slot = bc__slot_at(store, number);
        /* Most batches of a large file were never read: skip their slots without the
         * lock. Another thread may be trimming this slot, so the other members are read
         * with the lock. */
        if (atomic_load_explicit(&slot->batch, memory_order_acquire) == NULL &&
            atomic_load_explicit(&slot->columns_verified, memory_order_acquire) == NULL) {
            continue;
        }
        bc__mutex_lock(&store->lock);
        struct bc_extent extent; /* freed with the file */
        struct bc_batch *batch = empty_slot(store, bc__slot_at(store, number), &extent);
        bc__mutex_unlock(&store->lock);
        bc__batch_unref(batch);
    }
}

void bc__store_memory(struct bc_store *store, uint64_t *out_bytes,
                      uint64_t *out_capacity) {
    bc__mutex_lock(&store->lock);
    *out_bytes = store->budget.used + store->budget.reserved;
    *out_capacity = store->budget.capacity;
    bc__mutex_unlock(&store->lock);
}

void bc__store_set_capacity(struct bc_store *store, uint64_t capacity) {
    bc__mutex_lock(&store->lock);
    store->budget.capacity = capacity;
    bc__mutex_unlock(&store->lock);
}

bool bc__store_reserve(struct bc_store *store, uint64_t bytes) {
    struct bc_budget *budget = &store->budget;
    bc__mutex_lock(&store->lock);
    uint64_t free_bytes = bc__budget_free(budget);
    bool fits = free_bytes >= budget->reserved && free_bytes - budget->reserved >= bytes;
    if (fits) budget->reserved += bytes;
    bc__mutex_unlock(&store->lock);
    return fits;
}

void bc__store_unreserve(struct bc_store *store, uint64_t bytes) {
    bc__mutex_lock(&store->lock);
    bc_assert(store->budget.reserved >= bytes);
    store->budget.reserved -= bytes;
    bc__mutex_unlock(&store->lock);
}

bool bc__store_is_overcommitted(struct bc_store *store) {
    bc__mutex_lock(&store->lock);
    bool over = store->budget.reserved > bc__budget_free(&store->budget);
    bc__mutex_unlock(&store->lock);
    return over;
}
