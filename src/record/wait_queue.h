/* Threads that wait for a batch that another thread brings. Each is woken once, when its
 * batch is there or it is to bring it itself, and sleeps under a lock of its own:
 *
 *     wait ─▶ listed ── the producer takes it out ─▶ set ─▶ goes on
 *               └────── the time runs out ─▶ takes itself out ─▶ looks again
 *
 * So a thousand that wait for one batch do not wake one after the other through the
 * ingest's lock, and those that wait for a later one sleep on. The list is guarded by the
 * ingest's lock. A waiting thread's entry stands on its stack: once it was taken out, the
 * thread stays until it was called. */
#ifndef BC_RECORD_WAIT_QUEUE_H
#define BC_RECORD_WAIT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sync.h"

struct bc_waiter {
    uint64_t number; /* of the batch */
    uintptr_t thread;
    bool listed;
    struct bc_event event;
    struct bc_link link;    /* in the queue */
    struct bc_waiter *next; /* in a chain */
};

struct bc_wait_queue {
    struct bc_list listed;
    uint64_t lowest; /* no listed thread waits for a batch below it; so a batch for which
                        none waits costs no look at each of them */
};

static inline bool bc__wait_queue_is_empty(const struct bc_wait_queue *queue) {
    return queue->listed.first == NULL;
}

/* 0 or an errno. */
int bc__waiter_init(struct bc_waiter *waiter, uint64_t number, uintptr_t thread);
void bc__waiter_finish(struct bc_waiter *waiter);

/* The ingest's lock is held in these three. */
void bc__wait_queue_add(struct bc_wait_queue *queue, struct bc_waiter *waiter);
/* Takes those out that wait for a batch below `published`, as a chain to be called. */
struct bc_waiter *bc__wait_queue_take(struct bc_wait_queue *queue, uint64_t published);
/* Takes one out, and puts it before the chain: the first for which `may` is true. */
struct bc_waiter *bc__wait_queue_take_one(struct bc_wait_queue *queue,
                                          struct bc_waiter *chain,
                                          bool (*may)(void *context, uintptr_t thread),
                                          void *context);

/* Wakes all of the chain (NULL: none), which is gone then. The lock is not held. */
void bc__wait_queue_wake(struct bc_waiter *chain);
/* Sleeps until set, at most so long; `lock` is the ingest's, and not held. */
void bc__wait_queue_wait_ms(struct bc_wait_queue *queue, struct bc_waiter *waiter,
                            struct bc_mutex *lock, int64_t timeout_ms);

#endif
