/* The queue of threads that wait for a batch of another thread. Each waiter is woken
 * once, by its own event: when its batch is published, or when it is to produce the
 * batch.
 *
 *     wait ─▶ listed ── the producer unlists it ─▶ event set ─▶ continues
 *               └────── the time runs out ─▶ unlists itself ─▶ checks again
 *
 * A thousand threads that wait for one batch therefore do not wake one by one through the
 * ingest's lock. Threads that wait for a later batch stay asleep. The ingest's lock
 * guards the list. The waiter is on the stack of its thread. If another thread has
 * unlisted the waiter, its thread stays until the event is set. */
#ifndef BC_RECORD_WAIT_QUEUE_H
#define BC_RECORD_WAIT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sync.h"

struct bc_waiter {
    uint64_t number; /* the batch's number */
    uintptr_t thread;
    bool listed;
    struct bc_event event;
    struct bc_link link;    /* in the queue */
    struct bc_waiter *next; /* in a chain of unlisted waiters */
};

struct bc_wait_queue {
    struct bc_list listed;
    uint64_t lowest; /* no listed thread waits for an earlier batch. A batch that no
                        thread waits for therefore costs no scan of the list */
};

static inline bool bc__wait_queue_is_empty(const struct bc_wait_queue *queue) {
    return queue->listed.first == NULL;
}

/* Initialises a waiter of `thread` for batch `number`. Returns 0 or an errno. */
int bc__waiter_init(struct bc_waiter *waiter, uint64_t number, uintptr_t thread);
void bc__waiter_finish(struct bc_waiter *waiter);

/* Lists the waiter. The ingest's lock is held in this function and the next two. */
void bc__wait_queue_add(struct bc_wait_queue *queue, struct bc_waiter *waiter);
/* Unlists the waiters whose batch is below `published`, and returns them as a chain. */
struct bc_waiter *bc__wait_queue_take(struct bc_wait_queue *queue, uint64_t published);
/* Unlists the first waiter for which `may` returns true, and returns the chain with that
 * waiter in front. */
struct bc_waiter *bc__wait_queue_take_one(struct bc_wait_queue *queue,
                                          struct bc_waiter *chain,
                                          bool (*may)(void *context, uintptr_t thread),
                                          void *context);

/* Wakes each thread of the chain. Its waiters are invalid afterwards. The lock is not
 * held.
 * `chain`: may be NULL. */
void bc__wait_queue_wake(struct bc_waiter *chain);
/* Sleeps until the event is set, or the time has run out; milliseconds. `lock`: the
 * ingest's lock, not held. */
void bc__wait_queue_wait_ms(struct bc_wait_queue *queue, struct bc_waiter *waiter,
                            struct bc_mutex *lock, int64_t timeout_ms);

#endif
