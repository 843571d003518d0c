/* Batches that every reader has passed are evicted; a pin keeps them for one call. */
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

/* The lowest mark once all readers were made, else 0; of published batches. The cache's
 * lock is held. */
static uint64_t low_water(const struct bc_cache *cache) {
    if (cache->readers_max == 0 || cache->readers_made < cache->readers_max) return 0;
    uint64_t low = bc__store_published(&cache->store);
    for (const struct bc_reader *reader = cache->readers; reader != NULL;
         reader = reader->next) {
        uint64_t mark = bc__reader_mark(reader);
        if (mark < low) low = mark;
    }
    for (const struct bc_pin *pin = cache->pins; pin != NULL; pin = pin->next) {
        if (pin->number < low) low = pin->number;
    }
    return low;
}

bool bc__cache_evict(struct bc_cache *cache) {
    if (cache->readers_max == 0) return false;
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
    return bc__error_set(
        error, EINVAL,
        "Batch %llu is no longer cached; the earliest batch still cached is %llu",
        (unsigned long long)number, (unsigned long long)cache->evicted_below);
}

/* The cache's lock is held. */
static void enlist_pin(struct bc_cache *cache, struct bc_pin *pin) {
    pin->thread = bc__sys_thread();
    pin->previous = NULL;
    pin->next = cache->pins;
    if (pin->next != NULL) pin->next->previous = pin;
    cache->pins = pin;
}

int bc__cache_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number,
                  struct bc_error *error) {
    pin->number = number;
    if (cache->readers_max == 0) return 0;
    bc__mutex_lock(&cache->lock);
    int code = bc__cache_check_evicted(cache, number, error);
    if (code == 0) enlist_pin(cache, pin);
    bc__mutex_unlock(&cache->lock);
    return code;
}

void bc__cache_pin_first(struct bc_cache *cache, struct bc_pin *pin) {
    pin->number = 0;
    if (cache->readers_max == 0) return;
    bc__mutex_lock(&cache->lock);
    pin->number = cache->evicted_below;
    enlist_pin(cache, pin);
    bc__mutex_unlock(&cache->lock);
}

void bc__cache_pins_forked(struct bc_cache *cache) {
    const uintptr_t self = bc__sys_thread();
    struct bc_pin *pin = cache->pins;
    cache->pins = NULL;
    while (pin != NULL) {
        struct bc_pin *next = pin->next;
        if (pin->thread == self) enlist_pin(cache, pin);
        pin = next;
    }
}

void bc__cache_move_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number) {
    bc_assert(number >= pin->number);
    if (cache->readers_max == 0) return;
    bc__mutex_lock(&cache->lock);
    pin->number = number;
    bc__mutex_unlock(&cache->lock);
    (void)bc__cache_evict(cache);
}

void bc__cache_unpin(struct bc_cache *cache, struct bc_pin *pin) {
    if (cache->readers_max == 0) return;
    bc__mutex_lock(&cache->lock);
    if (pin->next != NULL) pin->next->previous = pin->previous;
    if (pin->previous != NULL) {
        pin->previous->next = pin->next;
    } else {
        cache->pins = pin->next;
    }
    bc__mutex_unlock(&cache->lock);
    (void)bc__cache_evict(cache);
}
