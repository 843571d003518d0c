/* The life of a cache: steps of its construction, references, closing (cache/cache.h). */
#include "cache/cache.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/errors.h"

/* ---- construction ---- */

int bc__cache_alloc(uint64_t max_readers, struct bc_cache **out_cache,
                    struct bc_error *error) {
    struct bc_cache *cache = bc__calloc(1, sizeof(*cache));
    if (cache == NULL || bc__mutex_init(&cache->lock) != 0) {
        bc__free(cache);
        return bc__error_memory(error);
    }
    atomic_init(&cache->refs, 1);
    atomic_init(&cache->weak_refs, 1);
    cache->max_readers = max_readers;
    *out_cache = cache;
    return 0;
}

/* Frees the cache. It has no ingest any more. */
static void free_cache(struct bc_cache *cache) {
    if (cache->has_store) bc__store_finish(&cache->store);
    if (cache->has_disk) bc__disk_finish(&cache->disk);
    bc__statistics_free(cache->statistics);
    bc__projection_free(cache->selection);
    bc__free(cache->columns);
    bc__schema_free(cache->schema);
    bc__mutex_finish(&cache->lock);
    bc__free(cache);
}

void bc__cache_discard(struct bc_cache *cache) {
    if (cache->has_store) bc__store_clear(&cache->store);
    free_cache(cache);
}

int bc__cache_init_store(struct bc_cache *cache, uint64_t memory_capacity,
                         enum bc_write_policy policy, struct bc_error *error) {
    struct bc_tier *tier = cache->has_disk ? &cache->disk.tier : NULL;
    int code =
        bc__store_init(&cache->store, cache->schema, memory_capacity, tier, policy);
    if (code != 0) return bc__error_memory(error);
    cache->has_store = true;
    return 0;
}

int bc__cache_init_ingest(struct bc_cache *cache, struct ArrowArrayStream *source,
                          const struct bc_ingest_options *options,
                          struct bc_error *error) {
    int code = bc__ingest_init(&cache->ingest, source, &cache->store, options);
    return code == 0 ? 0 : bc__error_memory(error);
}

void bc__cache_undo_ingest(struct bc_cache *cache, struct ArrowArrayStream *out_source) {
    bc__ingest_undo(&cache->ingest, out_source);
}

int bc__cache_identify(struct bc_cache *cache, struct bc_error *error) {
    const struct bc_disk *disk = &cache->disk;
    int code = bc__sys_identity(disk->file.file, &cache->identity);
    return code == 0 ? 0 : bc__disk_error_reading(disk, code, error);
}

/* Drops a weak reference. Frees the cache with the last one. */
static void weak_unref(struct bc_cache *cache) {
    if (!bc__unref(&cache->weak_refs)) return;
    /* The source forked in the prefetching thread: the members belong to the parent. */
    if (bc__cache_is_forked(cache)) return;
    /* First, so that no fork acquires a lock that is being destroyed. */
    bc__cache_unregister(cache);
    bc__ingest_finish(&cache->ingest);
    free_cache(cache);
}

/* Runs on the prefetching thread, which has a weak reference. */
static void run_prefetch_thread(void *context) {
    struct bc_cache *cache = context;
    bc__prefetch_run(&cache->ingest);
    weak_unref(cache);
}

int bc__cache_start(struct bc_cache *cache, struct bc_error *error) {
    bc__cache_register(cache);
    if (cache->ingest.demand.ahead == 0) return 0;
    bc__ref(&cache->weak_refs);
    int code = bc__thread_start(run_prefetch_thread, cache);
    if (code == 0) return 0;
    (void)bc__unref(&cache->weak_refs);
    bc__cache_unregister(cache);
    return bc__error_set(error, code, "Failed to start the thread that prefetches: %s",
                         strerror(code));
}

/* ---- references ---- */

struct bc_cache *bc_cache_ref(struct bc_cache *cache) {
    bc__ref(&cache->refs);
    return cache;
}

void bc_cache_unref(struct bc_cache *cache) {
    if (cache == NULL || !bc__unref(&cache->refs)) return;
    if (bc__cache_is_forked(cache)) return;
    bc_cache_close(cache);
    weak_unref(cache);
}

/* Releases the batches and the file of a closed cache. While a thread reads a storage, it
 * does so when it leaves. */
static void empty_if_unused(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    bool is_unused = cache->n_inside == 0 && !cache->is_emptied;
    if (is_unused) cache->is_emptied = true;
    bc__mutex_unlock(&cache->lock);
    if (!is_unused) return;
    bc__store_clear(&cache->store);
    if (cache->has_disk) bc__disk_close(&cache->disk);
}

void bc_cache_close(struct bc_cache *cache) {
    if (atomic_exchange(&cache->closed, true) || bc__cache_is_forked(cache)) return;
    bc__ingest_close(&cache->ingest);
    bc__mutex_lock(&cache->lock);
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        struct bc_reader *reader = bc__reader_of(l);
        bc__reader_promote(reader);
    }
    bc__mutex_unlock(&cache->lock);
    empty_if_unused(cache);
    bc__cache_release_writer(cache);
    bc__cache_release_takeover(cache);
}

/* No lock is held while a storage is read: its functions may wait for a thread that needs
 * the lock. */
static int enter_storage(struct bc_cache *cache, struct bc_error *error) {
    bc__mutex_lock(&cache->lock);
    bool closed = atomic_load(&cache->closed);
    if (!closed) cache->n_inside++;
    bc__mutex_unlock(&cache->lock);
    return closed ? bc__error_closed(error) : 0;
}

static void leave_storage(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    cache->n_inside--;
    bool closed = atomic_load(&cache->closed);
    bc__mutex_unlock(&cache->lock);
    if (closed) empty_if_unused(cache);
}

int bc__cache_enter(struct bc_cache *cache, struct bc_error *error) {
    if (bc__cache_has_storage(cache)) return enter_storage(cache, error);
    bc__mutex_lock(&cache->ingest.store_lock);
    if (!atomic_load(&cache->closed)) return 0;
    bc__mutex_unlock(&cache->ingest.store_lock);
    return bc__error_closed(error);
}

void bc__cache_leave(struct bc_cache *cache) {
    if (bc__cache_has_storage(cache)) {
        leave_storage(cache);
        return;
    }
    bc__mutex_unlock(&cache->ingest.store_lock);
}
