/* A thread that asks the source ahead of the readers.
 *
 *      0 ........ fastest reader ........ published ........ target
 *                                             └ the thread brings these
 *
 * `target` is so many batches ahead of the fastest reader, and no more than that one will
 * take. With it, the source is asked from this thread alone; readers that need a batch
 * say so
 * (`demand`) and wait. It sleeps while nobody needs more, and while a batch is pending
 * that a budget or the disk refused (`stalled`): who needs that one tries again himself,
 * which asks the source for nothing. It ends with the recording. */
#ifndef BC_RECORD_PREFETCH_H
#define BC_RECORD_PREFETCH_H

#include <stdatomic.h>

#include "base/sync.h"

struct bc_ingest;

struct bc_prefetch {
    uint64_t ahead;           /* batches; 0: there is no such thread */
    _Atomic uintptr_t thread; /* it, while it runs */
    _Atomic uint64_t target; /* how many batches there should be, for the readers' sake */
    /* What follows is written with the ingest's lock. */
    _Atomic uint64_t demand; /* how many batches somebody waits for */
    _Atomic bool stalled;
    _Atomic bool over; /* the thread is gone before the recording ended */
    _Atomic bool asleep;
    struct bc_cond wanted; /* with that lock too */
};

/* What the thread runs: returns when the recording has ended, or when it was told that it
 * cannot go on (ECANCELED): from then on readers ask for themselves. */
void bc__prefetch_run(struct bc_ingest *ingest);

/* A reader that ends before batch `stop` is at batch `cursor` now. Any thread, no lock of
 * the ingest's held. */
void bc__demand_on_position(struct bc_ingest *ingest, uint64_t cursor, uint64_t stop);

/* Somebody waits for batch `number`. The ingest's lock is held. */
void bc__demand_raise(struct bc_ingest *ingest, uint64_t number);

/* Nobody waits any more, for all that this caller knows: who does says so again. */
void bc__demand_clear(struct bc_ingest *ingest);

/* True where `thread` may bring the next batch. The ingest's lock is held. */
bool bc__demand_may_produce(const struct bc_prefetch *prefetch, uintptr_t thread);

#endif
