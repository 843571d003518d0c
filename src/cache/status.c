/* A cache's state, counters and limits. */
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

const char *bc_version(void) { return BC_VERSION; }

int bc_cache_failure(struct bc_cache *cache, const char **out_words) {
    bc_assert(cache != NULL && out_words != NULL);
    return bc__ingest_failure(&cache->ingest, out_words);
}

static enum bc_state state_of(struct bc_cache *cache) {
    if (atomic_load(&cache->closed)) return BC_STATE_CLOSED;
    const char *words;
    if (bc__ingest_failure(&cache->ingest, &words) != 0) return BC_STATE_FAILED;
    return bc__ingest_exhausted(&cache->ingest) ? BC_STATE_EXHAUSTED : BC_STATE_OPEN;
}

int bc_cache_schema(struct bc_cache *cache, struct ArrowSchema *out_schema,
                    struct bc_error *error) {
    /* Set once, under the lock. */
    bc__mutex_lock(&cache->lock);
    const struct bc_schema *schema =
        cache->selection == NULL ? cache->schema : cache->selection->schema;
    bc__mutex_unlock(&cache->lock);
    return bc__schema_export(schema, out_schema, error);
}

void bc_cache_stats(struct bc_cache *cache, struct bc_cache_stats *stats) {
    bc_assert(stats != NULL && stats->struct_size == sizeof(*stats));
    stats->state = state_of(cache);
    stats->exhausted = bc__ingest_exhausted(&cache->ingest);
    stats->batches = bc__store_published(&cache->store);
    stats->rows = atomic_load(&cache->store.rows);
    stats->bytes = atomic_load(&cache->store.bytes);
    stats->batches_evicted = atomic_load(&cache->store.first);
    stats->source_calls = atomic_load(&cache->ingest.source.calls);
    stats->source_ns = atomic_load(&cache->ingest.source.nanoseconds);
    stats->resumed = cache->ingest.n_recorded;
    stats->waiting = atomic_load(&cache->ingest.waiters);
    stats->disk_bytes = 0;
    stats->disk_bytes_max = 0;
    if (cache->has_disk) {
        if (stats->state != BC_STATE_CLOSED)
            stats->disk_bytes = bc__file_used(&cache->disk.file);
        stats->disk_bytes_max = atomic_load(&cache->disk.file.limit);
    }
    bc__mutex_lock(&cache->store.lock);
    stats->memory_bytes_max = cache->store.budget.limit;
    stats->memory_bytes = cache->store.budget.used + cache->store.budget.reserved;
    bc__mutex_unlock(&cache->store.lock);
    bc__mutex_lock(&cache->lock);
    stats->readers = cache->readers_made;
    stats->hits_memory = cache->hits_memory;
    stats->hits_disk = cache->hits_disk;
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        struct bc_reader *reader = bc__reader_of(l);
        stats->hits_memory += atomic_load(&reader->hits_memory);
        stats->hits_disk += atomic_load(&reader->hits_disk);
    }
    bc__mutex_unlock(&cache->lock);
}

const char *bc_cache_path(const struct bc_cache *cache) {
    return cache->has_disk ? cache->disk.file.path : NULL;
}

int bc_cache_limit_memory(struct bc_cache *cache, uint64_t bytes_max,
                          struct bc_error *error) {
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    bc__mutex_lock(&cache->store.lock);
    cache->store.budget.limit = bc__cache_memory_budget(bytes_max);
    bc__mutex_unlock(&cache->store.lock);
    return 0;
}

int bc_cache_limit_disk(struct bc_cache *cache, uint64_t bytes_max,
                        struct bc_error *error) {
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    if (!cache->has_disk) {
        return bc__error_set(error, EINVAL,
                             "The cache has no disk tier whose capacity could be set");
    }
    atomic_store(&cache->disk.file.limit, bytes_max);
    return 0;
}

int bc_cache_reserve(struct bc_cache *cache, uint64_t bytes) {
    struct bc_budget *budget = &cache->store.budget;
    bc__mutex_lock(&cache->store.lock);
    uint64_t free_bytes = bc__budget_free(budget);
    int fits = free_bytes >= budget->reserved && free_bytes - budget->reserved >= bytes;
    if (fits) budget->reserved += bytes;
    bc__mutex_unlock(&cache->store.lock);
    return fits;
}

void bc_cache_unreserve(struct bc_cache *cache, uint64_t bytes) {
    bc__mutex_lock(&cache->store.lock);
    bc_assert(cache->store.budget.reserved >= bytes);
    cache->store.budget.reserved -= bytes;
    bc__mutex_unlock(&cache->store.lock);
}

int bc_cache_overcommitted(struct bc_cache *cache) {
    const struct bc_budget *budget = &cache->store.budget;
    bc__mutex_lock(&cache->store.lock);
    int over = budget->reserved > bc__budget_free(budget);
    bc__mutex_unlock(&cache->store.lock);
    return over;
}

int bc_cache_has_writer(struct bc_cache *cache) {
    bc_assert(cache != NULL);
    if (bc__cache_enter(cache, NULL) != 0) return 0;
    enum bc_lock lock = BC_LOCK_FREE;
    if (bc__cache_is_opened(cache)) lock = bc__sys_probe_lock(cache->disk.file.file);
    bc__cache_leave(cache);
    return lock == BC_LOCK_UNKNOWN ? -1 : lock == BC_LOCK_HELD;
}

int bc_cache_is_unlocked(const struct bc_cache *cache) {
    return cache->has_disk && cache->disk.file.refused != 0;
}
