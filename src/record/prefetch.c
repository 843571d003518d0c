#include "record/prefetch.h"

#include <errno.h>

#include "base/check.h"
#include "base/sys.h"
#include "record/ingest.h"

/* Asked for at once at the most, so that who gave up waiting soon stops it. */
enum { AT_ONCE = 64, SLEEP_MS = 1000, RETRY_MS = 50 };

bool bc__demand_may_produce(const struct bc_prefetch *prefetch, uintptr_t thread) {
    return prefetch->ahead == 0 || atomic_load(&prefetch->thread) == thread ||
           atomic_load(&prefetch->stalled) || atomic_load(&prefetch->over);
}

void bc__demand_raise(struct bc_ingest *ingest, uint64_t number) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    uint64_t batches = number < UINT64_MAX ? number + 1 : number;
    if (atomic_load(&prefetch->demand) < batches) {
        atomic_store(&prefetch->demand, batches);
    }
    bc__cond_wake_all(&prefetch->wanted);
}

void bc__demand_clear(struct bc_ingest *ingest) {
    if (ingest->prefetch.ahead == 0) return;
    bc__mutex_lock(&ingest->lock);
    atomic_store(&ingest->prefetch.demand, 0);
    bc__mutex_unlock(&ingest->lock);
}

void bc__demand_on_position(struct bc_ingest *ingest, uint64_t cursor, uint64_t stop) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    /* A fork's child has no such thread, and its lock may be held by one. */
    if (ingest->process != bc__sys_process()) return;
    uint64_t target;
    if (__builtin_add_overflow(cursor, prefetch->ahead, &target)) target = UINT64_MAX;
    if (target > stop) target = stop;
    uint64_t before = atomic_load(&prefetch->target);
    do {
        if (before >= target) return;
    } while (!atomic_compare_exchange_weak(&prefetch->target, &before, target));
    /* Either it sees the new target before it sleeps, or we see that it sleeps. */
    if (!atomic_load(&prefetch->asleep)) return;
    bc__mutex_lock(&ingest->lock);
    bc__cond_wake_all(&prefetch->wanted);
    bc__mutex_unlock(&ingest->lock);
}

/* How many batches there should be. */
static uint64_t batches_wanted(const struct bc_prefetch *prefetch) {
    uint64_t target = atomic_load(&prefetch->target);
    uint64_t demand = atomic_load(&prefetch->demand);
    return target > demand ? target : demand;
}

/* Sleeps while there is nothing to bring: how many batches there should be then, or 0
 * when the recording has ended. */
static uint64_t sleep_until_wanted(struct bc_ingest *ingest) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    uint64_t wanted = 0;
    bc__mutex_lock(&ingest->lock);
    atomic_store(&prefetch->asleep, true);
    while (atomic_load(&ingest->state) == BC_INGEST_OPEN) {
        wanted = batches_wanted(prefetch);
        if (wanted > bc__store_published(ingest->store) &&
            !atomic_load(&prefetch->stalled)) {
            break;
        }
        wanted = 0;
        (void)bc__cond_wait_ms(&prefetch->wanted, &ingest->lock, SLEEP_MS);
    }
    atomic_store(&prefetch->asleep, false);
    bc__mutex_unlock(&ingest->lock);
    return wanted;
}

/* What could not be stored waits for who needs it; the rest is tried again soon. */
static void after_failure(struct bc_ingest *ingest) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    bool stalls = false;
    bc__mutex_lock(&ingest->lock);
    if (atomic_load(&ingest->state) == BC_INGEST_OPEN) {
        stalls = bc__ingest_has_pending(ingest);
        if (stalls) {
            atomic_store(&prefetch->stalled, true);
        } else {
            (void)bc__cond_wait_ms(&prefetch->wanted, &ingest->lock, RETRY_MS);
        }
    }
    bc__mutex_unlock(&ingest->lock);
    if (stalls) bc__ingest_wake_all(ingest);
}

/* The thread goes, and others may ask the source if there is more. */
static void leave(struct bc_ingest *ingest) {
    bc__mutex_lock(&ingest->lock);
    atomic_store(&ingest->prefetch.thread, 0);
    atomic_store(&ingest->prefetch.over, true);
    bc__mutex_unlock(&ingest->lock);
    bc__ingest_wake_all(ingest);
}

void bc__prefetch_run(struct bc_ingest *ingest) {
    bc_assert(ingest->prefetch.ahead > 0);
    atomic_store(&ingest->prefetch.thread, bc__sys_thread());
    for (int code = 0; code != ECANCELED;) {
        uint64_t wanted = sleep_until_wanted(ingest);
        if (wanted == 0) break;
        uint64_t published = bc__store_published(ingest->store);
        if (wanted > published + AT_ONCE) wanted = published + AT_ONCE;
        if (wanted <= published) continue;
        code = bc__ingest_advance(ingest, wanted - 1, NULL);
        if (code != 0 && code != ECANCELED) after_failure(ingest);
    }
    leave(ingest);
}
