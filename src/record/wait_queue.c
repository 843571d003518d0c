#include "record/wait_queue.h"

#include <stddef.h>

#include "base/check.h"

int bc__waiter_init(struct bc_waiter *waiter, uint64_t number, uintptr_t thread) {
    *waiter = (struct bc_waiter){.number = number, .thread = thread};
    return bc__event_init(&waiter->event);
}

void bc__waiter_finish(struct bc_waiter *waiter) {
    bc_assert(!waiter->listed);
    bc__event_finish(&waiter->event);
}

void bc__wait_queue_add(struct bc_wait_queue *queue, struct bc_waiter *waiter) {
    if (queue->first == NULL || waiter->number < queue->lowest) {
        queue->lowest = waiter->number;
    }
    waiter->listed = true;
    waiter->previous = NULL;
    waiter->next = queue->first;
    if (waiter->next != NULL) waiter->next->previous = waiter;
    queue->first = waiter;
}

static void take_out(struct bc_wait_queue *queue, struct bc_waiter *waiter) {
    if (waiter->next != NULL) waiter->next->previous = waiter->previous;
    if (waiter->previous != NULL) {
        waiter->previous->next = waiter->next;
    } else {
        bc_assert(queue->first == waiter);
        queue->first = waiter->next;
    }
    waiter->listed = false;
}

struct bc_waiter *bc__wait_queue_take(struct bc_wait_queue *queue, uint64_t published) {
    if (queue->first == NULL || queue->lowest >= published) return NULL;
    struct bc_waiter *chain = NULL;
    struct bc_waiter *waiter = queue->first;
    queue->lowest = UINT64_MAX;
    while (waiter != NULL) {
        struct bc_waiter *next = waiter->next;
        if (waiter->number < published) {
            take_out(queue, waiter);
            waiter->next = chain;
            chain = waiter;
        } else if (waiter->number < queue->lowest) {
            queue->lowest = waiter->number;
        }
        waiter = next;
    }
    return chain;
}

struct bc_waiter *bc__wait_queue_take_one(struct bc_wait_queue *queue,
                                          struct bc_waiter *chain,
                                          bool (*may)(void *context, uintptr_t thread),
                                          void *context) {
    struct bc_waiter *waiter = queue->first;
    while (waiter != NULL && !may(context, waiter->thread)) waiter = waiter->next;
    if (waiter == NULL) return chain;
    take_out(queue, waiter);
    waiter->next = chain;
    return waiter;
}

void bc__wait_queue_wake(struct bc_waiter *chain) {
    while (chain != NULL) {
        struct bc_waiter *next = chain->next;
        bc__event_set(&chain->event);
        chain = next;
    }
}

void bc__wait_queue_wait_ms(struct bc_wait_queue *queue, struct bc_waiter *waiter,
                            struct bc_mutex *lock, int64_t timeout_ms) {
    if (bc__event_wait_ms(&waiter->event, timeout_ms)) return;
    bc__mutex_lock(lock);
    bool listed = waiter->listed;
    if (listed) take_out(queue, waiter);
    bc__mutex_unlock(lock);
    /* Else it will be set, now that it was taken out. */
    while (!listed && !bc__event_wait_ms(&waiter->event, timeout_ms)) {
    }
}
