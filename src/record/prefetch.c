#include "record/prefetch.h"

#include <errno.h>

#include "base/check.h"
#include "base/sys.h"
#include "record/ingest.h"

/* Asked for at once at the most, so that who gave up waiting soon stops it. */
enum { AT_ONCE = 64, SLEEP_MS = 1000, RETRY_MS = 50 };

/* Sleeps while there is nothing to bring: how many batches there should be then, or 0
 * when the recording has ended. */
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

/* What could not be stored waits for who needs it; the rest is tried again soon. */
static void after_failure(struct bc_ingest *ingest) {
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

/* The thread goes, and others may ask the source if there is more. */
static void leave(struct bc_ingest *ingest) {
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
        if (wanted > published + AT_ONCE) wanted = published + AT_ONCE;
        if (wanted <= published) continue;
        code = bc__ingest_advance(ingest, wanted - 1, NULL);
        if (code != 0 && code != ECANCELED) after_failure(ingest);
    }
    leave(ingest);
}
