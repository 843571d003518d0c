#include "record/prefetch.h"

#include <errno.h>

#include "base/check.h"
#include "base/sys.h"
#include "record/ingest.h"

/* Asked for at once at the most, so that who gave up waiting soon stops it. */
enum { AT_ONCE = 64, SLEEP_MS = 1000, RETRY_MS = 50 };

bool bc__prefetch_lets(const struct bc_prefetch *prefetch, uintptr_t thread) {
    return prefetch->ahead == 0 || atomic_load(&prefetch->thread) == thread ||
           atomic_load(&prefetch->stalled);
}

void bc__prefetch_demand(struct bc_ingest *ingest, uint64_t number) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    uint64_t batches = number < UINT64_MAX ? number + 1 : number;
    if (atomic_load(&prefetch->demand) < batches) {
        atomic_store(&prefetch->demand, batches);
    }
    bc__cond_wake_all(&prefetch->wanted);
}

void bc__prefetch_moved(struct bc_ingest *ingest, uint64_t cursor) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    uint64_t before = atomic_load(&prefetch->fastest);
    while (before < cursor + 1 &&
           !atomic_compare_exchange_weak(&prefetch->fastest, &before, cursor + 1)) {
    }
    /* Either it sees the new cursor before it sleeps, or we see that it sleeps. */
    if (!atomic_load(&prefetch->asleep)) return;
    bc__mutex_lock(&ingest->lock);
    bc__cond_wake_all(&prefetch->wanted);
    bc__mutex_unlock(&ingest->lock);
}

/* How many batches there should be. */
static uint64_t target(const struct bc_prefetch *prefetch) {
    uint64_t fastest = atomic_load(&prefetch->fastest);
    uint64_t demand = atomic_load(&prefetch->demand);
    uint64_t ahead = 0;
    if (fastest > 0 && __builtin_add_overflow(fastest - 1, prefetch->ahead, &ahead)) {
        ahead = UINT64_MAX;
    }
    return ahead > demand ? ahead : demand;
}

/* Sleeps while there is nothing to bring: how many batches there should be then, or 0
 * when the recording has ended. */
static uint64_t sleep_until_wanted(struct bc_ingest *ingest) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    uint64_t wanted = 0;
    bc__mutex_lock(&ingest->lock);
    atomic_store(&prefetch->asleep, true);
    while (atomic_load(&ingest->state) == BC_INGEST_OPEN) {
        wanted = target(prefetch);
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
    bc__mutex_lock(&ingest->lock);
    if (atomic_load(&ingest->state) == BC_INGEST_OPEN) {
        if (bc__ingest_holds(ingest)) {
            atomic_store(&prefetch->stalled, true);
            bc__cond_wake_all(&ingest->changed);
        } else {
            (void)bc__cond_wait_ms(&prefetch->wanted, &ingest->lock, RETRY_MS);
        }
    }
    bc__mutex_unlock(&ingest->lock);
}

void bc__prefetch_run(struct bc_ingest *ingest) {
    struct bc_prefetch *prefetch = &ingest->prefetch;
    bc_assert(prefetch->ahead > 0);
    atomic_store(&prefetch->thread, bc__sys_thread());
    for (;;) {
        uint64_t wanted = sleep_until_wanted(ingest);
        if (wanted == 0) return;
        uint64_t published = bc__store_published(ingest->store);
        if (wanted > published + AT_ONCE) wanted = published + AT_ONCE;
        if (wanted <= published) continue;
        int code = bc__ingest_advance(ingest, wanted - 1, NULL);
        if (code == ECANCELED) return;
        if (code != 0) after_failure(ingest);
    }
}
