/* A recording that is followed, and who writes it. Where that is a cache of this process,
 * its leader, nobody waits for what nobody would bring:
 *
 *     follower ─▶ is the next batch in the file? ──yes──▶ there it is
 *         ▲                     │ no
 *         └── the leader asks its source for it (or waits for the thread that does)
 *
 * The leader is looked for when the follower is opened and whenever it waits, for this
 * process may go on with the recording at any time. A follower keeps its leader until it
 * is closed, or another one goes on, so what another part of the program began and let go
 * is still completed. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "cache.h"

void bc__cache_find_leader(struct bc_cache *cache) {
    bc_assert(cache->disk.follows && cache->leader == NULL);
    if (!bc__ingest_exhausted(&cache->ingest)) {
        cache->leader = bc__cache_writer_of(cache->identity);
    }
}

void bc__cache_leave_leader(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    struct bc_cache *leader = cache->leader;
    cache->leader = NULL;
    bc__mutex_unlock(&cache->lock);
    bc_cache_unref(leader);
}

/* Keeps the leader, whose reference moves in, in the place of another one. */
static void keep_leader(struct bc_cache *cache, struct bc_cache *leader) {
    bc__mutex_lock(&cache->lock);
    struct bc_cache *old = leader;
    /* Once closed, no follower would let it go. */
    if (!atomic_load(&cache->closed)) {
        old = cache->leader;
        cache->leader = leader;
    }
    bc__mutex_unlock(&cache->lock);
    bc_cache_unref(old);
}

/* With a reference, or NULL: the leader that was found, or else the cache that writes the
 * recording now. */
static struct bc_cache *leader_of(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    struct bc_cache *leader = cache->leader;
    if (leader != NULL) (void)bc_cache_ref(leader);
    bc__mutex_unlock(&cache->lock);
    if (leader != NULL && bc__ingest_is_open(&leader->ingest)) return leader;
    struct bc_cache *writer = bc__cache_writer_of(cache->identity);
    if (writer == NULL || writer == leader) {
        bc_cache_unref(writer);
        return leader;
    }
    bc_cache_unref(leader);
    keep_leader(cache, bc_cache_ref(writer));
    return writer;
}

/* The writer has given up: the leader knows why. */
static int failure_of_leader(struct bc_cache *cache, struct bc_error *error) {
    struct bc_cache *leader = leader_of(cache);
    const char *words;
    int code = leader == NULL ? 0 : bc__ingest_failure(&leader->ingest, &words);
    if (code != 0) {
        (void)bc__error_set(error, code, "%s", words);
        char **kept = &cache->ingest.source.words;
        if (*kept == NULL) *kept = bc__strdup(words);
    }
    bc_cache_unref(leader);
    return code == 0 ? EOWNERDEAD : code;
}

static int next(void *context, struct bc_extent *out_extent, uint64_t *out_rows,
                struct bc_error *error) {
    struct bc_cache *cache = context;
    struct bc_trailer_batch batch = {0, 0, 0};
    int64_t rows;
    int code = bc__disk_next(&cache->disk, &batch, &rows, error);
    if (code != 0) return code;
    *out_extent = (struct bc_extent){batch.offset, batch.size};
    *out_rows = (uint64_t)rows;
    return 0;
}

static int ask(void *context, int code, struct bc_error *error) {
    struct bc_cache *cache = context;
    if (code == EOWNERDEAD) return failure_of_leader(cache, error);
    struct bc_cache *leader = leader_of(cache);
    if (leader == NULL) return EAGAIN;
    code = bc__ingest_advance_for(&cache->ingest, &leader->ingest,
                                  bc__store_published(&cache->store), error);
    bc_cache_unref(leader);
    return code;
}

struct bc_file_source bc__cache_file_source(struct bc_cache *cache) {
    return (struct bc_file_source){next, ask, cache};
}
