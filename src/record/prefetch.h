/* The thread that asks the source ahead of the readers (record/demand.h). */
#ifndef BC_RECORD_PREFETCH_H
#define BC_RECORD_PREFETCH_H

#include "record/ingest.h"

/* Runs on the prefetching thread. Returns when the recording has ended, or when a hook
 * returned ECANCELED: from then on readers ask the source themselves. */
void bc__prefetch_run(struct bc_ingest *ingest);

#endif
