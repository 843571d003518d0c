#include "record/prefetch.h"

#include <errno.h>

#include "base/check.h"
#include "base/sys.h"
#include "record/ingest.h"

/* BATCHES_PER_CALL limits a call, so that the thread stops soon when no reader waits any
 * more. */
enum { BATCHES_PER_CALL = 64, SLEEP_MS = 1000, RETRY_MS = 50 };

/* Sleeps while no reader needs a batch. Returns how many batches should be recorded, or 0
 * if the recording has ended. */
static uint64_t sleep_until_wanted(struct bc_ingest *ingest) {
    struct bc_demand *demand = &ingest->demand;
    uint64_t wanted = 0;
    bc__mutex_lock(&ingest->lock);
    atomic_store(&demand->asleep, true);
    while (atomic_load(&ingest->state) == BC_INGEST_OPEN) {
        wanted = bc__demand_batches(demand);
        if (wanted > bc__store_published(ingest->store) &&
            !atomic_load(&demand->stalled)) {
            break;
        }
        wanted = 0;
        (void)bc__cond_wait_ms(&demand->wanted, &ingest->lock, SLEEP_MS);
    }
    atomic_store(&demand->asleep, false);
    bc__mutex_unlock(&ingest->lock);
    return wanted;
}

/* Stalls if a batch could not be stored: a reader that needs it will retry. After any
 * other failure, pauses before the next attempt. */
static void pause_after_failure(struct bc_ingest *ingest) {
    struct bc_demand *demand = &ingest->demand;
    bool stalls = false;
    bc__mutex_lock(&ingest->lock);
    if (atomic_load(&ingest->state) == BC_INGEST_OPEN) {
        stalls = bc__ingest_has_pending(ingest);
        if (stalls) {
            atomic_store(&demand->stalled, true);
        } else {
            (void)bc__cond_wait_ms(&demand->wanted, &ingest->lock, RETRY_MS);
        }
    }
    bc__mutex_unlock(&ingest->lock);
    if (stalls) bc__ingest_wake_all(ingest);
}

/* Ends the thread. Readers may call the source from now on. */
static void end_prefetching(struct bc_ingest *ingest) {
    bc__mutex_lock(&ingest->lock);
    atomic_store(&ingest->demand.thread, 0);
    atomic_store(&ingest->demand.over, true);
    bc__mutex_unlock(&ingest->lock);
    bc__ingest_wake_all(ingest);
}

void bc__prefetch_run(struct bc_ingest *ingest) {
    bc_assert(ingest->demand.ahead > 0);
    atomic_store(&ingest->demand.thread, bc__sys_thread());
    for (int code = 0; code != ECANCELED;) {
        uint64_t wanted = sleep_until_wanted(ingest);
        if (wanted == 0) break;
        uint64_t published = bc__store_published(ingest->store);
        if (wanted > published + BATCHES_PER_CALL) wanted = published + BATCHES_PER_CALL;
        if (wanted <= published) continue;
        code = bc__ingest_advance(ingest, wanted - 1, NULL);
        if (code != 0 && code != ECANCELED) pause_after_failure(ingest);
    }
    end_prefetching(ingest);
}
