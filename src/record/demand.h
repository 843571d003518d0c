/* The demand for batches: how many batches the prefetching thread should record, and when
 * it may sleep.
 *
 *      0 ........ fastest reader ........ published ........ target
 *                                             └ the thread records these
 *
 * `target` is a fixed number of batches ahead of the fastest reader, and never beyond
 * that reader's end. `demand` is the largest number of batches that a thread waits for.
 * If there is a prefetching thread, it alone asks the source. It sleeps while no reader
 * needs more batches, and while a pending batch could not be stored (`stalled`). A reader
 * that needs the pending batch retries storing it; that does not call the source.
 *
 * The lock is the ingest's. The prefetching thread is in prefetch.h. */
#ifndef BC_RECORD_DEMAND_H
#define BC_RECORD_DEMAND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/sync.h"

struct bc_demand {
    struct bc_mutex *lock;    /* the ingest's lock, borrowed */
    int64_t process;          /* the process in which the thread runs */
    uint64_t ahead;           /* batches ahead of the readers; 0: no thread */
    _Atomic uintptr_t thread; /* the prefetching thread, while it runs */
    _Atomic uint64_t target;  /* batches that readers will need soon */
    /* The members below are written with the lock. */
    _Atomic uint64_t demand; /* batches that waiting threads need */
    _Atomic bool stalled;
    _Atomic bool over; /* the thread has ended before the recording */
    _Atomic bool asleep;
    struct bc_cond wanted; /* waits with the lock */
};

/* Initialises the demand. `lock`: the ingest's lock, borrowed. Returns 0 or an errno. */
int bc__demand_init(struct bc_demand *demand, struct bc_mutex *lock, uint64_t ahead);
void bc__demand_finish(struct bc_demand *demand);

/* Reports that a reader is at batch `cursor`. `stop`: the reader's end. Any thread; the
 * lock is not held. */
void bc__demand_on_position(struct bc_demand *demand, uint64_t cursor, uint64_t stop);
/* Reports that a thread waits for batch `number`. The lock is held. */
void bc__demand_raise(struct bc_demand *demand, uint64_t number);
/* Clears the demand. Threads that still wait raise it again. The lock is not held. */
void bc__demand_clear(struct bc_demand *demand);
/* Returns how many batches should be recorded. */
uint64_t bc__demand_batches(const struct bc_demand *demand);
/* Returns true if `thread` may produce the next batch. The lock is held. */
bool bc__demand_may_produce(const struct bc_demand *demand, uintptr_t thread);
/* Reports that the pending batch was stored, or that the recording has ended. The lock is
 * held. */
void bc__demand_end_stall(struct bc_demand *demand);

#endif
