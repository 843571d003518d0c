/* A cache around a fork (base/process.h): a child reads what was recorded, and finds
 * every lock of the cache free and everything under it whole.
 *
 * The locks are taken in the order in which the code nests them. The lock of the page
 * references is not among them, since a child leaves the page references alone. A
 * reader's lock is held while a batch is read from the file, so a fork waits for that
 * read. */
#include <errno.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sys.h"
#include "cache/cache.h"

static struct bc_cache *cache_of(struct bc_member *member) {
    return BC_CONTAINER(member, struct bc_cache, member);
}

static void for_locks(struct bc_cache *cache, void (*act)(struct bc_mutex *lock)) {
    act(&cache->lock);
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        act(&bc__reader_of(l)->borrow_list->lock);
    }
    act(&cache->ingest.lock);
    act(&cache->ingest.store_lock);
    act(&cache->store.lock);
    if (!cache->has_disk) return;
    act(&cache->disk.dictionaries.chain_lock);
    act(&cache->disk.dictionaries.lock);
    act(&cache->disk.mapping.lock);
}

static void hold(struct bc_member *member) {
    for_locks(cache_of(member), bc__mutex_lock);
}

/* Not in reverse: with the list's lock the readers would go, of which each is locked. */
static void let(struct bc_member *member) {
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

static void in_child(struct bc_member *member) {
    struct bc_cache *cache = cache_of(member);
    for (struct bc_link *l = cache->readers.first; l != NULL; l = l->next) {
        bc__borrow_list_forked(bc__reader_of(l)->borrow_list);
    }
    bc__cache_pins_forked(cache);
    bc__ingest_forked(&cache->ingest);
    let(member);
}

void bc__cache_register(struct bc_cache *cache) {
    static const struct bc_member_calls calls = {hold, let, in_child, NULL};
    bc__member_add(BC_MEMBER_CACHE, &cache->member, &calls);
}

void bc__cache_unregister(struct bc_cache *cache) {
    bc__member_remove(BC_MEMBER_CACHE, &cache->member);
}

/* A binding's calls, which stay for good. */
struct binding {
    struct bc_member member;
    struct bc_fork_calls calls;
};

static const struct bc_fork_calls *calls_of(struct bc_member *member) {
    return &BC_CONTAINER(member, struct binding, member)->calls;
}

static void before(struct bc_member *member) {
    calls_of(member)->before(calls_of(member)->context);
}

static void in_parent(struct bc_member *member) {
    calls_of(member)->in_parent(calls_of(member)->context);
}

static void in_childs_binding(struct bc_member *member) {
    calls_of(member)->in_child(calls_of(member)->context);
}

int bc_watch_forks(const struct bc_fork_calls *calls) {
    static const struct bc_member_calls member_calls = {before, in_parent,
                                                        in_childs_binding, NULL};
    bc_assert(calls != NULL && calls->before != NULL && calls->in_parent != NULL &&
              calls->in_child != NULL);
    struct binding *binding = bc__calloc(1, sizeof(*binding));
    if (binding == NULL) return ENOMEM;
    binding->calls = *calls;
    bc__binding_add(&binding->member, &member_calls);
    return 0;
}

/* Takes a reference where it is true. */
static bool writes(struct bc_member *member, void *context) {
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
    struct bc_member *member = bc__member_find(BC_MEMBER_CACHE, writes, &identity);
    return member == NULL ? NULL : cache_of(member);
}
