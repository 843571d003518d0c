/* The source: a single-use stream. Each of its batches is checked against the schema.
 * Only one thread at a time uses the source: the producer. */
#ifndef BC_RECORD_SOURCE_H
#define BC_RECORD_SOURCE_H

#include "arrow/batch.h"

struct bc_source {
    struct ArrowArrayStream stream; /* released if `release` is NULL */
    const struct bc_schema *schema; /* borrowed */
    bool resumable;
    struct bc_slab *slab;         /* memory of the next batches */
    struct ArrowArray held;       /* pulled, but no memory for a batch yet */
    uint64_t pulled;              /* batches returned so far */
    _Atomic uint64_t calls;       /* calls of get_next */
    unsigned sample;              /* one call of `sample` calls is timed */
    _Atomic uint64_t nanoseconds; /* estimated time in get_next */
    char *message; /* of its failure, if too long for a bc_error; else NULL */
};

/* Returns the stream's schema. The stream does not move. EINVAL, ENOMEM, and errors of
 * the stream. */
int bc__source_schema(struct ArrowArrayStream *stream, struct bc_schema **out_schema,
                      struct bc_error *error);

/* Initialises the source, and moves the stream in. `resumable`: get_next may be called
 * again after EINTR. */
void bc__source_init(struct bc_source *source, struct ArrowArrayStream *stream,
                     const struct bc_schema *schema, bool resumable);
/* Releases the stream. A second call does nothing. Calls foreign code: no lock is
 * held. */
void bc__source_release(struct bc_source *source);
/* Frees the message of its failure. The stream is released already. */
void bc__source_finish(struct bc_source *source);

/* Returns the next batch, or NULL at the end of the stream. `out_final`: set on failure;
 * true for a permanent failure. After a temporary failure no batch is lost, and the next
 * call continues. ENOMEM of this library, and EINTR of a resumable stream, are
 * temporary. */
int bc__source_pull(struct bc_source *source, struct bc_batch **out_batch,
                    bool *out_final, struct bc_error *error);

#endif
