/* Who waits for whom: a thread that would wait for itself, by way of other threads and
 * the caches that they ops, is told so at once.
 *
 *     thread A produces for cache 1, and waits in cache 2
 *     thread B produces for cache 2, and is about to wait in cache 1  ─▶  EDEADLK
 *
 * The list of waiting threads is the process's: caches do not know each other. Its lock
 * is the innermost one, and only who waits takes it. */
#ifndef BC_RECORD_WAIT_GRAPH_H
#define BC_RECORD_WAIT_GRAPH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* What a thread waits for, which others may look at while the wait is in the list. */
struct bc_wait_target {
    const _Atomic uintptr_t *producer; /* the thread that brings it */
    const _Atomic uint64_t *count; /* the wait is over when it is more than `number`, */
    uint64_t number;
    const _Atomic int *state; /* or when this is not 0 any more */
};

/* A thread's wait; on its stack while it waits. */
struct bc_wait_edge {
    uintptr_t thread;
    struct bc_wait_target target;
    struct bc_link link;
};

/* Enters the list in the registry of the process, once. A call of this comes before the
 * first wait. No lock is held: a fork locks the registry first. */
void bc__wait_graph_init(void);
/* Enters the wait of `thread` in the list; false where it would wait for itself. What is
 * target stays valid until bc__wait_edge_remove. */
bool bc__wait_edge_add(struct bc_wait_edge *wait, uintptr_t thread,
                       struct bc_wait_target target);
void bc__wait_edge_remove(struct bc_wait_edge *wait);

#endif
