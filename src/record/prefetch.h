/* The prefetching thread, which reads the source ahead of the readers
 * (record/demand.h). */
#ifndef BC_RECORD_PREFETCH_H
#define BC_RECORD_PREFETCH_H

#include "record/ingest.h"

/* Runs the prefetching thread. Returns when the recording has ended, or when a hook
 * returned ECANCELED. After the return, readers call the source themselves. */
void bc__prefetch_run(struct bc_ingest *ingest);

#endif
