/* Who waits for whom: a thread that would wait for itself, by way of other threads and
 * the caches that they feed, is told so at once.
 *
 *     thread A produces for cache 1, and waits in cache 2
 *     thread B produces for cache 2, and is about to wait in cache 1  ─▶  EDEADLK
 *
 * The list of waiting threads is the process's: caches do not know each other. Its lock
 * is the innermost one, and only who waits takes it. */
#ifndef BC_RECORD_WAITS_H
#define BC_RECORD_WAITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A thread's wait; on its stack while it waits. */
struct bc_wait {
    uintptr_t thread;
    const _Atomic uintptr_t *owner; /* of what it waits for: the thread that brings it */
    struct bc_wait *next;
    struct bc_wait *previous;
};

/* Enters the wait of `thread` in the list; false where it would wait for itself. `owner`
 * stays valid until bc__wait_end. */
bool bc__wait_begin(struct bc_wait *wait, uintptr_t thread,
                    const _Atomic uintptr_t *owner);
void bc__wait_end(struct bc_wait *wait);

#endif
