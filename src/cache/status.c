/* A cache's state, counters and limits. */
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

int bc_cache_source_error(struct bc_cache *cache, const char **out_message) {
    bc_assert(cache != NULL && out_message != NULL);
    *out_message = NULL;
    return bc__ingest_failure(&cache->ingest, out_message);
}

static enum bc_state cache_state(struct bc_cache *cache) {
    if (atomic_load(&cache->closed)) return BC_STATE_CLOSED;
    const char *message;
    if (bc__ingest_failure(&cache->ingest, &message) != 0) return BC_STATE_FAILED;
    return bc__ingest_exhausted(&cache->ingest) ? BC_STATE_EXHAUSTED : BC_STATE_OPEN;
}

int bc_cache_schema(struct bc_cache *cache, struct ArrowSchema *out_schema,
                    struct bc_error *error) {
    /* Set once, with the lock. */
    bc__mutex_lock(&cache->lock);
    const struct bc_schema *schema =
        cache->selection == NULL ? cache->schema : cache->selection->schema;
    bc__mutex_unlock(&cache->lock);
    return bc__schema_export(schema, out_schema, error);
}

void bc_cache_stats(struct bc_cache *cache, struct bc_stats *out_stats) {
    bc_assert(cache != NULL && out_stats != NULL);
    struct bc_stats stats = {.struct_size = out_stats->struct_size};
    stats.state = cache_state(cache);
    stats.exhausted = bc__ingest_exhausted(&cache->ingest);
    stats.batches = bc__store_published(&cache->store);
    stats.rows = atomic_load(&cache->store.rows);
    stats.bytes = atomic_load(&cache->store.bytes);
    stats.evicted = atomic_load(&cache->store.first);
    stats.source_calls = atomic_load(&cache->ingest.source.calls);
    stats.source_ns = atomic_load(&cache->ingest.source.nanoseconds);
    stats.resumed = cache->ingest.n_recorded;
    stats.waiting = atomic_load(&cache->ingest.waiters);
    stats.disk_bytes = 0;
    stats.disk_capacity = 0;
    if (cache->has_disk) {
        if (stats.state != BC_STATE_CLOSED)
            stats.disk_bytes = bc__file_used(&cache->disk.file);
        stats.disk_capacity = atomic_load(&cache->disk.file.capacity);
    }
    bc__store_memory(&cache->store, &stats.memory_bytes, &stats.memory_capacity);
    bc__mutex_lock(&cache->lock);
    stats.readers = cache->readers_made;
    stats.memory_hits = cache->memory_hits;
    stats.disk_hits = cache->disk_hits;
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        struct bc_reader *reader = bc__reader_of(l);
        stats.memory_hits += atomic_load(&reader->memory_hits);
        stats.disk_hits += atomic_load(&reader->disk_hits);
    }
    bc__mutex_unlock(&cache->lock);
    bc__struct_write(out_stats, out_stats->struct_size, &stats, sizeof(stats));
}

const char *bc_cache_path(const struct bc_cache *cache) {
    return cache->has_disk ? cache->disk.file.path : NULL;
}

const char *bc_cache_key(const struct bc_cache *cache) {
    return cache->has_disk ? cache->disk.key : NULL;
}

int bc_cache_set_memory_capacity(struct bc_cache *cache, uint64_t capacity,
                                 struct bc_error *error) {
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    bc__store_set_capacity(&cache->store, bc__cache_memory_budget(capacity));
    return 0;
}

int bc_cache_set_disk_capacity(struct bc_cache *cache, uint64_t capacity,
                               struct bc_error *error) {
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    if (!cache->has_disk) {
        return bc__error_set(error, EINVAL,
                             "The cache has no disk tier whose capacity could be set");
    }
    atomic_store(&cache->disk.file.capacity, capacity);
    return 0;
}

int bc_cache_reserve(struct bc_cache *cache, uint64_t bytes) {
    return bc__store_reserve(&cache->store, bytes);
}

void bc_cache_unreserve(struct bc_cache *cache, uint64_t bytes) {
    bc__store_unreserve(&cache->store, bytes);
}

int bc_cache_is_overcommitted(struct bc_cache *cache) {
    return bc__store_is_overcommitted(&cache->store);
}

int bc_cache_is_being_written(struct bc_cache *cache) {
    bc_assert(cache != NULL);
    if (bc__cache_enter(cache, NULL) != 0) return 0;
    enum bc_lock lock = BC_LOCK_FREE;
    bool may_be_written = bc__cache_is_opened(cache) && !bc__cache_has_storage(cache);
    if (may_be_written) lock = bc__sys_probe_lock(cache->disk.file.file);
    bc__cache_leave(cache);
    return lock == BC_LOCK_UNKNOWN ? -1 : lock == BC_LOCK_HELD;
}

int bc_cache_is_unlocked(const struct bc_cache *cache) {
    return cache->has_disk && cache->disk.file.refused != 0;
}
