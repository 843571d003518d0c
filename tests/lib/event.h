/* Waiting for another thread without sleeps: a thread waits while a number has a value.
 *
 * The kernel's futex does it, without a lock: a fork may happen at any moment, and its
 * child may use the same events. */
#ifndef BC_TESTS_LIB_EVENT_H
#define BC_TESTS_LIB_EVENT_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Wakes every thread of the process that waits for a change of `*word`. */
static inline void event_wake(_Atomic int *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Stores the value, and wakes the threads that wait for it. */
static inline void event_store(_Atomic int *word, int value) {
    atomic_store(word, value);
    event_wake(word);
}

/* Adds 1, and wakes the threads that wait for it. */
static inline void event_count(_Atomic int *word) {
    (void)atomic_fetch_add(word, 1);
    event_wake(word);
}

/* Returns once `*word` is not `value`. */
static inline void event_wait_while(_Atomic int *word, int value) {
    while (atomic_load(word) == value) {
        (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    }
}

/* Returns once `*word` is at least `value`. */
static inline void event_wait_for(_Atomic int *word, int value) {
    for (int now = atomic_load(word); now < value; now = atomic_load(word)) {
        event_wait_while(word, now);
    }
}

#endif
