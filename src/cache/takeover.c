/* A follower takes over the recording of a dead writer (follow.c).
 *
 *     EOWNERDEAD ─▶ is the file still at its path? ──no──▶ EOWNERDEAD
 *                                │ yes
 *                                ▼
 *                   the caller's `begin` ─┬─▶ a writer ─▶ the follower's writer
 *                                         ├─▶ none     ─▶ the follower scans again
 *                                         └─▶ an errno ─▶ the recording's error
 *
 * Close may drop the functions while a thread is inside `begin`. They are therefore
 * counted: the cache has one reference, and each thread inside `begin` has another. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

struct bc_takeover_calls {
    atomic_uint refs;
    struct bc_takeover calls;
};

int bc_cache_allow_takeover(struct bc_cache *cache, const struct bc_takeover *takeover,
                            struct bc_error *error) {
    bc_assert(cache != NULL && takeover != NULL && takeover->begin != NULL);
    if (!cache->has_disk || !cache->disk.follows) {
        return bc__error_set(error, EINVAL, "The cache does not follow a recording");
    }
    struct bc_takeover_calls *calls = bc__malloc(sizeof(*calls));
    if (calls == NULL) return bc__error_memory(error);
    atomic_init(&calls->refs, 1);
    calls->calls = *takeover;
    bc__mutex_lock(&cache->lock);
    /* A closed cache would never release the functions. */
    bool is_closed = atomic_load(&cache->closed);
    bool is_set = cache->takeover != NULL;
    if (!is_closed && !is_set) cache->takeover = calls;
    bc__mutex_unlock(&cache->lock);
    if (!is_closed && !is_set) return 0;
    bc__free(calls);
    if (is_closed) return bc__error_closed(error);
    return bc__error_set(error, EBUSY, "The cache has functions to take over already");
}

/* Drops a reference. In a fork's child, the context belongs to the parent. */
static void unref(const struct bc_cache *cache, struct bc_takeover_calls *calls) {
    if (calls == NULL || !bc__unref(&calls->refs) || bc__cache_is_forked(cache)) return;
    bc__assert_no_lock();
    if (calls->calls.release != NULL) calls->calls.release(calls->calls.context);
    bc__free(calls);
}

void bc__cache_release_takeover(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    struct bc_takeover_calls *calls = cache->takeover;
    cache->takeover = NULL;
    bc__mutex_unlock(&cache->lock);
    unref(cache, calls);
}

/* Returns the functions, referenced, or NULL. */
static struct bc_takeover_calls *ref_calls(struct bc_cache *cache) {
    bc__mutex_lock(&cache->lock);
    struct bc_takeover_calls *calls = cache->takeover;
    if (calls != NULL) bc__ref(&calls->refs);
    bc__mutex_unlock(&cache->lock);
    return calls;
}

/* Returns true if the path of the recording still names the followed file. */
static bool is_in_place(struct bc_cache *cache) {
    if (bc__cache_enter(cache, NULL) != 0) return false;
    bool is_same = bc__sys_is_name_of(cache->disk.file.path, cache->disk.file.file);
    bc__cache_leave(cache);
    return is_same;
}

/* Sets the error of a `begin` that returned `code`, with the message in `error`. */
static int begin_error(int code, bool *out_failed, struct bc_error *error) {
    char message[sizeof(error->message)];
    code = bc__error_of_callback(code);
    *out_failed = code != ENOMEM && code != EINTR && code != ECANCELED;
    error->message[sizeof(error->message) - 1] = '\0';
    memcpy(message, error->message, sizeof(message));
    const char *text = message[0] != '\0' ? message : "Failed to take over the recording";
    if (!*out_failed && code != ENOMEM) {
        return bc__error_set_kind(error, BC_ERROR_CANCELLED, code, "%s", text);
    }
    return bc__error_set(error, code, "%s", text);
}

static bool is_followed(const struct bc_cache *cache, const struct bc_cache *writer) {
    return writer->identity.number == cache->identity.number &&
           writer->identity.device == cache->identity.device;
}

int bc__cache_take_over(struct bc_cache *cache, bool *out_failed,
                        struct bc_error *error) {
    *out_failed = true;
    struct bc_takeover_calls *calls = ref_calls(cache);
    if (calls == NULL) return EOWNERDEAD;
    struct bc_cache *writer = NULL;
    struct bc_error failure = {0};
    int code = EOWNERDEAD;
    if (is_in_place(cache)) {
        bc__assert_no_lock();
        int returned = calls->calls.begin(calls->calls.context, &writer, &failure);
        /* Another program may have replaced the file meanwhile. */
        if (returned == 0 && (writer == NULL || is_followed(cache, writer))) {
            *out_failed = false;
            code = 0;
        } else if (returned != 0 && (bc__cache_is_forked(cache) || is_in_place(cache))) {
            code = begin_error(returned, out_failed, &failure);
            (void)bc__error_copy(error, code, &failure);
        }
    }
    unref(cache, calls);
    if (code != 0 || writer == NULL) {
        bc_cache_unref(writer);
        return code == 0 ? EAGAIN : code;
    }
    bc__cache_replace_writer(cache, writer);
    return 0;
}
