/* The single-use stream: asked for one batch after the other, each checked against the
 * schema. Used by one thread at a time (the producer). */
#ifndef BC_RECORD_SOURCE_H
#define BC_RECORD_SOURCE_H

#include "arrow/batch.h"

struct bc_source {
    struct ArrowArrayStream stream; /* release NULL: given back */
    const struct bc_schema *schema; /* borrowed */
    bool resumable;
    struct bc_slab *slab;   /* for batches */
    struct ArrowArray held; /* pulled, not yet a batch for want of memory */
    uint64_t pulled;        /* batches so far */
    _Atomic uint64_t calls; /* of get_next */
    unsigned sample;        /* one call of so many is timed, and stands for the others */
    _Atomic uint64_t nanoseconds; /* inside get_next, about */
    char *words; /* of its failure, where they are longer than a bc_error takes */
};

/* The stream's schema, not moving the stream. Errors are the stream's own. */
int bc__source_schema(struct ArrowArrayStream *stream, struct bc_schema **out_schema,
                      struct bc_error *error);

/* Moves the stream in. `resumable`: after EINTR it can be asked again. */
void bc__source_init(struct bc_source *source, struct ArrowArrayStream *stream,
                     const struct bc_schema *schema, bool resumable);
/* Releases the stream; again, it does nothing. Foreign code: no lock is held. */
void bc__source_release(struct bc_source *source);
/* After that; the words of its failure go too. */
void bc__source_finish(struct bc_source *source);

/* The next batch, or NULL at the end. `*out_final` says whether a failure is the source's
 * own (it will not get better), or passing (ours: ENOMEM; a resumable
 * source's: EINTR), where
 * nothing is lost and the next call goes on. */
int bc__source_pull(struct bc_source *source, struct bc_batch **out_batch,
                    bool *out_final, struct bc_error *error);

#endif
