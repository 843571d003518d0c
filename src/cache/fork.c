/* A cache around a fork (base/process.h). The child can read the recorded batches: each
 * lock of the cache is free, and the guarded data is consistent.
 *
 * The locks are acquired in the order in which the code nests them. A child does not use
 * the page references, so their lock is not acquired. A reader holds its lock while it
 * reads a batch from the file, so a fork waits for that read. */
#include <errno.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sys.h"
#include "cache/cache.h"

static struct bc_cache *cache_of(struct bc_member *member) {
    return BC_CONTAINER(member, struct bc_cache, member);
}

static void for_each_lock(struct bc_cache *cache, void (*apply)(struct bc_mutex *lock)) {
    apply(&cache->lock);
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        apply(&bc__reader_of(l)->borrow_list->lock);
    }
    apply(&cache->ingest.lock);
    apply(&cache->ingest.store_lock);
    apply(&cache->store.lock);
    if (!cache->has_disk) return;
    apply(&cache->disk.dictionaries.chain_lock);
    apply(&cache->disk.dictionaries.lock);
    apply(&cache->disk.mapping.lock);
}

static void lock_all(struct bc_member *member) {
    for_each_lock(cache_of(member), bc__mutex_lock);
}

/* The cache's lock is released last: without it, another thread could free a reader whose
 * lock is still held. */
static void unlock_all(struct bc_member *member) {
    struct bc_cache *cache = cache_of(member);
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        bc__mutex_unlock(&bc__reader_of(l)->borrow_list->lock);
    }
    bc__mutex_unlock(&cache->ingest.lock);
    bc__mutex_unlock(&cache->ingest.store_lock);
    bc__mutex_unlock(&cache->store.lock);
    if (cache->has_disk) {
        bc__mutex_unlock(&cache->disk.dictionaries.chain_lock);
        bc__mutex_unlock(&cache->disk.dictionaries.lock);
        bc__mutex_unlock(&cache->disk.mapping.lock);
    }
    bc__mutex_unlock(&cache->lock);
}

static void cache_in_child(struct bc_member *member) {
    struct bc_cache *cache = cache_of(member);
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        bc__borrow_list_forked(bc__reader_of(l)->borrow_list);
    }
    bc__cache_pins_forked(cache);
    bc__ingest_forked(&cache->ingest);
    unlock_all(member);
}

void bc__cache_register(struct bc_cache *cache) {
    static const struct bc_member_calls calls = {lock_all, unlock_all, cache_in_child,
                                                 NULL};
    bc__member_add(BC_MEMBER_CACHE, &cache->member, &calls);
}

void bc__cache_unregister(struct bc_cache *cache) {
    bc__member_remove(BC_MEMBER_CACHE, &cache->member);
}

/* A binding's functions. They stay for the life of the process. */
struct binding {
    struct bc_member member;
    struct bc_fork_calls calls;
};

static const struct bc_fork_calls *calls_of(struct bc_member *member) {
    return &BC_CONTAINER(member, struct binding, member)->calls;
}

static void binding_before(struct bc_member *member) {
    calls_of(member)->before(calls_of(member)->context);
}

static void binding_in_parent(struct bc_member *member) {
    calls_of(member)->in_parent(calls_of(member)->context);
}

static void binding_in_child(struct bc_member *member) {
    calls_of(member)->in_child(calls_of(member)->context);
}

int bc_watch_forks(const struct bc_fork_calls *calls) {
    static const struct bc_member_calls member_calls = {binding_before, binding_in_parent,
                                                        binding_in_child, NULL};
    bc_assert(calls != NULL && calls->before != NULL && calls->in_parent != NULL &&
              calls->in_child != NULL);
    struct binding *binding = bc__calloc(1, sizeof(*binding));
    if (binding == NULL) return ENOMEM;
    binding->calls = *calls;
    bc__binding_add(&binding->member, &member_calls);
    return 0;
}

/* Returns true if the member writes the recording, and then adds a reference to it. */
static bool ref_if_writer(struct bc_member *member, void *context) {
    struct bc_cache *cache = cache_of(member);
    const struct bc_identity *identity = context;
    return cache->identity.number == identity->number &&
           cache->identity.device == identity->device && cache->has_disk &&
           cache->disk.file.publishes_last && atomic_load(&cache->is_made) &&
           !atomic_load(&cache->closed) && cache->ingest.process == bc__sys_process() &&
           bc__try_ref(&cache->refs);
}

struct bc_cache *bc__cache_writer_of(struct bc_identity identity) {
    if (identity.number == 0) return NULL;
    struct bc_member *member = bc__member_find(BC_MEMBER_CACHE, ref_if_writer, &identity);
    return member == NULL ? NULL : cache_of(member);
}
