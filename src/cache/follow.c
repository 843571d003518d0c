/* Followers and their writers. If the writer is a cache of this process, the follower
 * itself calls the writer's source. A single thread therefore cannot deadlock.
 *
 *     follower ─▶ is the next batch in the file? ──yes──▶ publish it
 *         ▲                     │ no
 *         └── the writer's ingest produces it, or waits for its producer
 *
 * The follower looks for its writer when it is opened, and whenever it waits: this
 * process may resume the recording at any time. A follower keeps a reference to its
 * writer until the follower is closed, or another cache resumes the recording. A
 * recording therefore continues even if the program has dropped its writer. If the
 * writer died, the follower may start another writer (takeover.c). */
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

void bc__cache_replace_writer(struct bc_cache *cache, struct bc_cache *writer) {
    bc__mutex_lock(&cache->lock);
    struct bc_cache *old = writer;
    /* A closed follower would never release the writer. */
    if (!atomic_load(&cache->closed)) {
        old = cache->writer;
        cache->writer = writer;
    }
    bc__mutex_unlock(&cache->lock);
    bc_cache_unref(old);
}

/* Returns the follower's writer, referenced, or NULL. If its recording is not open any
 * more, returns the cache that writes the recording now. */
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
    bc__cache_replace_writer(cache, bc_cache_ref(current));
    return current;
}

/* Returns the error with which the writer failed, or 0 if it is not known. */
static int writer_error(struct bc_cache *cache, struct bc_error *error) {
    struct bc_cache *writer = writer_of(cache);
    const char *message;
    int code = writer == NULL ? 0 : bc__ingest_failure(&writer->ingest, &message);
    if (code != 0) {
        (void)bc__error_copy(error, code, bc__ingest_error(&writer->ingest));
        char **kept = &cache->ingest.source.message;
        if (*kept == NULL) *kept = bc__strdup(message);
    }
    bc_cache_unref(writer);
    return code;
}

int bc__cache_request(void *context, int code, bool *out_failed, struct bc_error *error) {
    struct bc_cache *cache = context;
    *out_failed = false;
    if (code == EOWNERDEAD) {
        code = writer_error(cache, error);
        if (code == 0) return bc__cache_take_over(cache, out_failed, error);
        *out_failed = true;
        return code;
    }
    struct bc_cache *writer = writer_of(cache);
    if (writer == NULL) return EAGAIN;
    code = bc__ingest_advance_for(&cache->ingest, &writer->ingest,
                                  bc__store_published(&cache->store), error);
    bc_cache_unref(writer);
    return code;
}
