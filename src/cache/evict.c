/* Evicts the batches that all readers are past. A pin prevents this for one call. */
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

/* Returns the first batch that a reader or a pin may still read, at most the published
 * count. Returns 0 until max_readers readers were made. The cache's lock is held. */
static uint64_t low_water(const struct bc_cache *cache) {
    if (cache->max_readers == 0 || cache->readers_made < cache->max_readers) return 0;
    uint64_t low = bc__store_published(&cache->store);
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        struct bc_reader *reader = bc__reader_of(l);
        uint64_t mark = bc__reader_mark(reader);
        if (mark < low) low = mark;
    }
    for (struct bc_link *l = cache->pins.first; l != NULL; l = l->next) {
        const struct bc_pin *pin = BC_CONTAINER(l, struct bc_pin, link);
        if (pin->number < low) low = pin->number;
    }
    return low;
}

bool bc__cache_evict(struct bc_cache *cache) {
    if (cache->max_readers == 0) return false;
    uint64_t before = atomic_load(&cache->store.first);
    bc__mutex_lock(&cache->lock);
    uint64_t low = low_water(cache);
    if (low > cache->evicted_below) cache->evicted_below = low;
    bc__mutex_unlock(&cache->lock);
    if (low > 0) bc__store_trim(&cache->store, low);
    return atomic_load(&cache->store.first) > before;
}

int bc__cache_check_evicted(const struct bc_cache *cache, uint64_t number,
                            struct bc_error *error) {
    if (number >= cache->evicted_below) return 0;
    return bc__error_set_kind(
        error, BC_ERROR_EVICTED, EINVAL,
        "Batch %llu is no longer cached; the earliest batch still cached is %llu",
        (unsigned long long)number, (unsigned long long)cache->evicted_below);
}

/* Lists the pin. The cache's lock is held. */
static void list_pin(struct bc_cache *cache, struct bc_pin *pin) {
    pin->thread = bc__sys_thread();
    bc__list_add(&cache->pins, &pin->link);
}

int bc__cache_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number,
                  struct bc_error *error) {
    pin->number = number;
    if (cache->max_readers == 0) return 0;
    bc__mutex_lock(&cache->lock);
    int code = bc__cache_check_evicted(cache, number, error);
    if (code == 0) list_pin(cache, pin);
    bc__mutex_unlock(&cache->lock);
    return code;
}

void bc__cache_pin_first(struct bc_cache *cache, struct bc_pin *pin) {
    pin->number = 0;
    if (cache->max_readers == 0) return;
    bc__mutex_lock(&cache->lock);
    pin->number = cache->evicted_below;
    list_pin(cache, pin);
    bc__mutex_unlock(&cache->lock);
}

void bc__cache_pins_forked(struct bc_cache *cache) {
    const uintptr_t self = bc__sys_thread();
    struct bc_link *link = cache->pins.first;
    cache->pins.first = NULL;
    while (link != NULL) {
        struct bc_link *next = link->next;
        struct bc_pin *pin = BC_CONTAINER(link, struct bc_pin, link);
        if (pin->thread == self) list_pin(cache, pin);
        link = next;
    }
}

void bc__cache_move_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number) {
    bc_assert(number >= pin->number);
    if (cache->max_readers == 0) return;
    bc__mutex_lock(&cache->lock);
    pin->number = number;
    bc__mutex_unlock(&cache->lock);
    (void)bc__cache_evict(cache);
}

void bc__cache_unpin(struct bc_cache *cache, struct bc_pin *pin) {
    if (cache->max_readers == 0) return;
    bc__mutex_lock(&cache->lock);
    bc__list_remove(&cache->pins, &pin->link);
    bc__mutex_unlock(&cache->lock);
    (void)bc__cache_evict(cache);
}
