/* Locks around a fork: a child reads what was recorded, and must find every lock free and
 * everything under it whole, though the threads that had them are not there.
 *
 *     fork: take the locks of all caches ─▶ parent and child: give them back
 *
 * The list is the process's, and in the order of its caches' making; the locks of a cache
 * are taken in the order in which the code nests them. Of the ingest's only the one for
 * storing is among them, since a child looks, but never asks; nor are those of readers,
 * which take fresh ledgers there; nor that of the space, which a child leaves alone. */
#include <pthread.h>

#include "base/check.h"
#include "base/sys.h"
#include "cache.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct bc_cache *caches;

static void for_locks(struct bc_cache *cache, void (*act)(struct bc_mutex *lock)) {
    act(&cache->lock);
    act(&cache->ingest.storing);
    act(&cache->store.lock);
    if (!cache->has_disk) return;
    act(&cache->disk.dictionaries.grow_lock);
    act(&cache->disk.dictionaries.lock);
    act(&cache->disk.map.lock);
    act(&cache->disk.file.lock);
}

static void before_fork(void) {
    (void)pthread_mutex_lock(&list_lock);
    for (struct bc_cache *cache = caches; cache != NULL; cache = cache->next) {
        for_locks(cache, bc__mutex_lock);
    }
}

static void after_fork(void) {
    for (struct bc_cache *cache = caches; cache != NULL; cache = cache->next) {
        for_locks(cache, bc__mutex_unlock);
    }
    (void)pthread_mutex_unlock(&list_lock);
}

/* A recording's lock is the parent's: it must not outlive that in a child. */
static void in_child(void) {
    for (struct bc_cache *cache = caches; cache != NULL; cache = cache->next) {
        if (cache->has_disk) bc__file_forked(&cache->disk.file);
    }
    after_fork();
}

static void watch_forks(void) { (void)pthread_atfork(before_fork, after_fork, in_child); }

void bc__cache_enlist(struct bc_cache *cache) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
    (void)pthread_mutex_lock(&list_lock);
    cache->next = caches;
    if (caches != NULL) caches->previous = cache;
    caches = cache;
    (void)pthread_mutex_unlock(&list_lock);
}

void bc__cache_delist(struct bc_cache *cache) {
    (void)pthread_mutex_lock(&list_lock);
    if (cache->next != NULL) cache->next->previous = cache->previous;
    if (cache->previous != NULL) {
        cache->previous->next = cache->next;
    } else {
        bc_assert(caches == cache);
        caches = cache->next;
    }
    (void)pthread_mutex_unlock(&list_lock);
}

/* Only while somebody else has one: the last one has closed it. */
static bool try_ref(struct bc_cache *cache) {
    unsigned refs = atomic_load(&cache->refs);
    while (refs > 0 && !atomic_compare_exchange_weak(&cache->refs, &refs, refs + 1)) {
    }
    return refs > 0;
}

struct bc_cache *bc__cache_writer_of(struct bc_identity identity) {
    if (identity.number == 0) return NULL;
    (void)pthread_mutex_lock(&list_lock);
    struct bc_cache *cache = caches;
    for (; cache != NULL; cache = cache->next) {
        if (cache->identity.number == identity.number &&
            cache->identity.device == identity.device && cache->has_disk &&
            cache->disk.file.publishes_last && !atomic_load(&cache->closed) &&
            cache->ingest.process == bc__sys_process() && try_ref(cache)) {
            break;
        }
    }
    (void)pthread_mutex_unlock(&list_lock);
    return cache;
}
