/* A recording that is followed, and who writes it. Where that is a cache of this process,
 * its writer, nobody waits for what nobody would bring:
 *
 *     follower ─▶ is the next batch in the file? ──yes──▶ there it is
 *         ▲                     │ no
 *         └── the writer asks its source for it (or waits for the thread that does)
 *
 * The writer is looked for when the follower is opened and whenever it waits, for this
 * process may go on with the recording at any time. A follower keeps its writer until it
 * is closed, or another one goes on, so what another part of the program began and let go
 * is still completed. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

void bc__cache_find_writer(struct bc_cache *cache) {
    bc_assert(cache->disk.follows && cache->writer == NULL);
    if (!bc__ingest_exhausted(&cache->ingest)) {
        cache->writer = bc__cache_writer_of(cache->identity);
    }
}

void bc__cache_release_writer(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    struct bc_cache *writer = cache->writer;
    cache->writer = NULL;
    bc__mutex_unlock(&cache->lock);
    bc_cache_unref(writer);
}

/* Keeps the writer, whose reference moves in, in the place of another one. */
static void keep_writer(struct bc_cache *cache, struct bc_cache *writer) {
    bc__mutex_lock(&cache->lock);
    struct bc_cache *old = writer;
    /* Once closed, no follower would let it go. */
    if (!atomic_load(&cache->closed)) {
        old = cache->writer;
        cache->writer = writer;
    }
    bc__mutex_unlock(&cache->lock);
    bc_cache_unref(old);
}

/* With a reference, or NULL: the writer that was found, or else the cache that writes the
 * recording now. */
static struct bc_cache *writer_of(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    struct bc_cache *kept = cache->writer;
    if (kept != NULL) (void)bc_cache_ref(kept);
    bc__mutex_unlock(&cache->lock);
    if (kept != NULL && bc__ingest_is_open(&kept->ingest)) return kept;
    struct bc_cache *current = bc__cache_writer_of(cache->identity);
    if (current == NULL || current == kept) {
        bc_cache_unref(current);
        return kept;
    }
    bc_cache_unref(kept);
    keep_writer(cache, bc_cache_ref(current));
    return current;
}

/* The writer has given up: the writer knows why. */
static int failure_of_writer(struct bc_cache *cache, struct bc_error *error) {
    struct bc_cache *writer = writer_of(cache);
    const char *words;
    int code = writer == NULL ? 0 : bc__ingest_failure(&writer->ingest, &words);
    if (code != 0) {
        (void)bc__error_copy(error, code, bc__ingest_error(&writer->ingest));
        char **kept = &cache->ingest.source.message;
        if (*kept == NULL) *kept = bc__strdup(words);
    }
    bc_cache_unref(writer);
    return code == 0 ? EOWNERDEAD : code;
}

int bc__cache_request(void *context, int code, struct bc_error *error) {
    struct bc_cache *cache = context;
    if (code == EOWNERDEAD) return failure_of_writer(cache, error);
    struct bc_cache *writer = writer_of(cache);
    if (writer == NULL) return EAGAIN;
    code = bc__ingest_advance_for(&cache->ingest, &writer->ingest,
                                  bc__store_published(&cache->store), error);
    bc_cache_unref(writer);
    return code;
}
