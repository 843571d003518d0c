#include "record/queue.h"

#include <stddef.h>

#include "base/check.h"

int bc__queued_init(struct bc_queued *queued, uint64_t number, uintptr_t thread) {
    *queued = (struct bc_queued){.number = number, .thread = thread};
    return bc__turn_init(&queued->turn);
}

void bc__queued_finish(struct bc_queued *queued) {
    bc_assert(!queued->listed);
    bc__turn_finish(&queued->turn);
}

void bc__queue_add(struct bc_queue *queue, struct bc_queued *queued) {
    if (queue->first == NULL || queued->number < queue->lowest) {
        queue->lowest = queued->number;
    }
    queued->listed = true;
    queued->previous = NULL;
    queued->next = queue->first;
    if (queued->next != NULL) queued->next->previous = queued;
    queue->first = queued;
}

static void take_out(struct bc_queue *queue, struct bc_queued *queued) {
    if (queued->next != NULL) queued->next->previous = queued->previous;
    if (queued->previous != NULL) {
        queued->previous->next = queued->next;
    } else {
        bc_assert(queue->first == queued);
        queue->first = queued->next;
    }
    queued->listed = false;
}

struct bc_queued *bc__queue_take(struct bc_queue *queue, uint64_t published) {
    if (queue->first == NULL || queue->lowest >= published) return NULL;
    struct bc_queued *chain = NULL;
    struct bc_queued *queued = queue->first;
    queue->lowest = UINT64_MAX;
    while (queued != NULL) {
        struct bc_queued *next = queued->next;
        if (queued->number < published) {
            take_out(queue, queued);
            queued->next = chain;
            chain = queued;
        } else if (queued->number < queue->lowest) {
            queue->lowest = queued->number;
        }
        queued = next;
    }
    return chain;
}

struct bc_queued *bc__queue_take_one(struct bc_queue *queue, struct bc_queued *chain,
                                     bool (*may)(void *context, uintptr_t thread),
                                     void *context) {
    struct bc_queued *queued = queue->first;
    while (queued != NULL && !may(context, queued->thread)) queued = queued->next;
    if (queued == NULL) return chain;
    take_out(queue, queued);
    queued->next = chain;
    return queued;
}

void bc__queue_call(struct bc_queued *chain) {
    while (chain != NULL) {
        struct bc_queued *next = chain->next;
        bc__turn_call(&chain->turn);
        chain = next;
    }
}

void bc__queue_wait_ms(struct bc_queue *queue, struct bc_queued *queued,
                       struct bc_mutex *lock, int64_t timeout_ms) {
    if (bc__turn_wait_ms(&queued->turn, timeout_ms)) return;
    bc__mutex_lock(lock);
    bool listed = queued->listed;
    if (listed) take_out(queue, queued);
    bc__mutex_unlock(lock);
    /* Else it will be called, now that it was taken out. */
    while (!listed && !bc__turn_wait_ms(&queued->turn, timeout_ms)) {
    }
}
