/* The wait graph of the process, which detects deadlocks. An edge leads from each waiting
 * thread to the producer of its batch. A thread that would close a cycle does not wait.
 *
 *     thread A produces for cache 1, and waits in cache 2
 *     thread B produces for cache 2, and is about to wait in cache 1  ─▶  EDEADLK
 *
 * The graph belongs to the process, because caches do not know each other. Its lock is
 * the innermost one. Only a thread that waits acquires it. */
#ifndef BC_RECORD_WAIT_GRAPH_H
#define BC_RECORD_WAIT_GRAPH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* The target of a wait. While the edge is in the graph, other threads read the target. */
struct bc_wait_target {
    const _Atomic uintptr_t *producer; /* the thread that produces the batch, or 0 */
    const _Atomic uint64_t *count;     /* the wait is over when this is above `number`, */
    uint64_t number;
    const _Atomic int *state; /* or when this is not 0 */
};

/* A thread's edge. It is on the stack of the thread, which waits. */
struct bc_wait_edge {
    uintptr_t thread;
    struct bc_wait_target target;
    struct bc_link link;
};

/* Adds the graph to the registry of the process, once. Called before the first wait. No
 * lock is held: a fork locks the registry first. */
void bc__wait_graph_init(void);
/* Adds the edge of `thread`. Returns false if the edge would close a cycle. The pointers
 * of `target` must stay valid until bc__wait_edge_remove. */
bool bc__wait_edge_add(struct bc_wait_edge *wait, uintptr_t thread,
                       struct bc_wait_target target);
void bc__wait_edge_remove(struct bc_wait_edge *wait);

#endif
