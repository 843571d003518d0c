/* A thread that asks the source ahead of the readers.
 *
 *      0 ........ fastest reader ........ published ........ fastest + ahead
 *                                             └── the thread brings these ──┘
 *
 * With it, the source is asked from this thread alone; readers that need a batch say so
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
    _Atomic uintptr_t thread; /* it, once it runs */
    _Atomic uint64_t fastest; /* cursor of the fastest reader, plus one; 0: no reader */
    _Atomic uint64_t demand; /* batches that somebody waits for; with the ingest's lock */
    _Atomic bool stalled;    /* with the ingest's lock */
    _Atomic bool asleep;
    struct bc_cond wanted; /* with the ingest's lock */
};

/* What the thread runs: returns when the recording has ended, or cannot go on. */
void bc__prefetch_run(struct bc_ingest *ingest);

/* A reader's cursor is at `cursor` now. Any thread, no lock of the ingest's held. */
void bc__prefetch_moved(struct bc_ingest *ingest, uint64_t cursor);

/* Somebody waits for batch `number`. The ingest's lock is held. */
void bc__prefetch_demand(struct bc_ingest *ingest, uint64_t number);

/* True where `thread` may bring the next batch. The ingest's lock is held. */
bool bc__prefetch_lets(const struct bc_prefetch *prefetch, uintptr_t thread);

#endif
