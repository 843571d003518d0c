/* Threads that wait for a batch that another thread brings. Each is woken once, when its
 * batch is there or it is to bring it itself, and sleeps under a lock of its own:
 *
 *     wait ─▶ listed ── the producer takes it out ─▶ called ─▶ goes on
 *               └────── the time runs out ─▶ takes itself out ─▶ looks again
 *
 * So a thousand that wait for one batch do not wake one after the other through the
 * ingest's lock, and those that wait for a later one sleep on. The list is guarded by the
 * ingest's lock. A waiting thread's entry stands on its stack: once it was taken out, the
 * thread stays until it was called. */
#ifndef BC_RECORD_QUEUE_H
#define BC_RECORD_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sync.h"

struct bc_queued {
    uint64_t number; /* of the batch */
    uintptr_t thread;
    bool listed;
    struct bc_turn turn;
    struct bc_queued *next;
    struct bc_queued *previous;
};

struct bc_queue {
    struct bc_queued *first;
    uint64_t lowest; /* no listed thread waits for a batch below it; so a batch for which
                        none waits costs no look at each of them */
};

/* 0 or an errno. */
int bc__queued_init(struct bc_queued *queued, uint64_t number, uintptr_t thread);
void bc__queued_finish(struct bc_queued *queued);

/* The ingest's lock is held in these three. */
void bc__queue_add(struct bc_queue *queue, struct bc_queued *queued);
/* Takes those out that wait for a batch below `published`, as a chain to be called. */
struct bc_queued *bc__queue_take(struct bc_queue *queue, uint64_t published);
/* Takes one out, and puts it before the chain: the first for which `may` is true. */
struct bc_queued *bc__queue_take_one(struct bc_queue *queue, struct bc_queued *chain,
                                     bool (*may)(void *context, uintptr_t thread),
                                     void *context);

/* Wakes all of the chain (NULL: none), which is gone then. The lock is not held. */
void bc__queue_call(struct bc_queued *chain);
/* Sleeps until called, at most so long; `lock` is the ingest's, and not held. */
void bc__queue_wait_ms(struct bc_queue *queue, struct bc_queued *queued,
                       struct bc_mutex *lock, int64_t timeout_ms);

#endif
