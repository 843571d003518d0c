/* Events, by a mutex and a condition variable. */
#include "base/sync.h"

int bc__event_init(struct bc_event *event) {
    event->set = false;
    int code = bc__mutex_init(&event->lock);
    if (code != 0) return code;
    code = bc__cond_init(&event->cond);
    if (code != 0) bc__mutex_finish(&event->lock);
    return code;
}

bool bc__event_wait_ms(struct bc_event *event, int64_t timeout_ms) {
    bc__mutex_lock(&event->lock);
    if (!event->set) (void)bc__cond_wait_ms(&event->cond, &event->lock, timeout_ms);
    bool set = event->set;
    bc__mutex_unlock(&event->lock);
    return set;
}

void bc__event_set(struct bc_event *event) {
    bc__mutex_lock(&event->lock);
    event->set = true;
    /* The lock is held. Without it, the waiting thread could free the event before the
     * wake. */
    bc__cond_wake_all(&event->cond);
    bc__mutex_unlock(&event->lock);
}

void bc__event_finish(struct bc_event *event) {
    bc__cond_finish(&event->cond);
    bc__mutex_finish(&event->lock);
}
