#include "record/wait_queue.h"

#include <stddef.h>

#include "base/check.h"

static struct bc_waiter *waiter_of(struct bc_link *link) {
    return BC_CONTAINER(link, struct bc_waiter, link);
}

int bc__waiter_init(struct bc_waiter *waiter, uint64_t number, uintptr_t thread) {
    *waiter = (struct bc_waiter){.number = number, .thread = thread};
    return bc__event_init(&waiter->event);
}

void bc__waiter_finish(struct bc_waiter *waiter) {
    bc_assert(!waiter->listed);
    bc__event_finish(&waiter->event);
}

void bc__wait_queue_add(struct bc_wait_queue *queue, struct bc_waiter *waiter) {
    if (bc__wait_queue_is_empty(queue) || waiter->number < queue->lowest) {
        queue->lowest = waiter->number;
    }
    waiter->listed = true;
    bc__list_add(&queue->listed, &waiter->link);
}

static void unlist(struct bc_wait_queue *queue, struct bc_waiter *waiter) {
    bc__list_remove(&queue->listed, &waiter->link);
    waiter->listed = false;
}

struct bc_waiter *bc__wait_queue_take(struct bc_wait_queue *queue, uint64_t published) {
    if (bc__wait_queue_is_empty(queue) || queue->lowest >= published) return NULL;
    struct bc_waiter *chain = NULL;
    struct bc_link *link = queue->listed.first;
    queue->lowest = UINT64_MAX;
    while (link != NULL) {
        struct bc_link *next = link->next;
        struct bc_waiter *waiter = waiter_of(link);
        if (waiter->number < published) {
            unlist(queue, waiter);
            waiter->next = chain;
            chain = waiter;
        } else if (waiter->number < queue->lowest) {
            queue->lowest = waiter->number;
        }
        link = next;
    }
    return chain;
}

struct bc_waiter *bc__wait_queue_take_one(struct bc_wait_queue *queue,
                                          struct bc_waiter *chain,
                                          bool (*may)(void *context, uintptr_t thread),
                                          void *context) {
    struct bc_link *link = queue->listed.first;
    while (link != NULL && !may(context, waiter_of(link)->thread)) link = link->next;
    if (link == NULL) return chain;
    struct bc_waiter *waiter = waiter_of(link);
    unlist(queue, waiter);
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
    if (listed) unlist(queue, waiter);
    bc__mutex_unlock(lock);
    /* Another thread has unlisted the waiter, and will set the event. */
    while (!listed && !bc__event_wait_ms(&waiter->event, timeout_ms)) {
    }
}
