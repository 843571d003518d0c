/* One producer at a time.
 *
 *                  source says end            ┌───────────┐
 *            ┌───────────────────────────────▶│ EXHAUSTED │
 *       ┌────┴───┐   source fails             ├───────────┤
 *       │  OPEN  ├───────────────────────────▶│  FAILED   │ its error, for every reader
 *       └────┬───┘   bc__ingest_close         ├───────────┤
 *            └───────────────────────────────▶│  CLOSED   │
 *                                             └───────────┘
 *
 * While OPEN, the thread that needs a batch takes the producer word and becomes the
 * producer: it pulls, stores and gives the word back, calling the source with no lock
 * held; the others wait in a queue, each until its batch is there. When
 * the producer stops, and there are some whose batch is not, it calls one of them to go
 * on. Whoever leaves with an error calls another one. A batch that could not be stored (a
 * budget, the disk) is kept as `pending` and goes first next time. While small batches
 * come fast, the disk may write several together; it has all of them when nobody asks for
 * more, and soon when the source is slow. The source is released by whoever leaves OPEN
 * with the producer word, or by close when nobody has it.
 *
 * A fork's child stores nothing and changes no state. The fork may happen in the source
 * itself, so the producer looks again when the source has returned: ECANCELED. */
#ifndef BC_RECORD_INGEST_H
#define BC_RECORD_INGEST_H

#include "base/sync.h"
#include "record/demand.h"
#include "record/source.h"
#include "record/wait_queue.h"
#include "store/store.h"

enum bc_ingest_state {
    BC_INGEST_OPEN = 0,
    BC_INGEST_EXHAUSTED,
    BC_INGEST_FAILED,
    BC_INGEST_CLOSED
};

/* Batches of the current tick of a coarse clock, and whether the last tick had many. */
struct bc_arrival_rate {
    int64_t tick_ms;
    int32_t batches;
    bool is_burst;
};

/* Asks the writer of a followed file for the next batch; no lock is held. EAGAIN: this
 * process cannot ask it, so the caller waits. Any other error is that of this call, and
 * passes. With `code` EOWNERDEAD it returns the writer's own error if that is known, else
 * EOWNERDEAD. */
typedef int bc_request(void *context, int code, struct bc_error *error);

struct bc_ingest {
    _Atomic int state; /* enum bc_ingest_state; written with the lock */
    struct bc_mutex lock;
    struct bc_wait_queue waiting; /* under the lock */
    struct bc_mutex store_lock;   /* held while a batch goes into the store, never around
                                  foreign code; close takes it once */
    _Atomic uintptr_t producer;   /* the producer's thread, or 0; written with the lock */
    _Atomic uint64_t waiters;     /* threads that wait, or did in the call they are in */
    struct bc_source source;      /* the producer's */
    bool reads_tier;     /* the batches come from the tier's file, not the source */
    bc_request *request; /* of a followed file, or NULL */
    void *request_context;
    uint64_t n_skipped;  /* the producer's: batches of the source that are in the store
                         since before, and were looked at */
    uint64_t n_recorded; /* how many there are of those */
    struct bc_batch *pending;    /* the producer's */
    bool ended;                  /* the producer's: the source gave its last batch */
    struct bc_arrival_rate rate; /* the producer's: how fast the source gives them */
    struct bc_error failure;     /* set before FAILED */
    struct bc_store *store;      /* borrowed */
    struct bc_hooks hooks;
    struct bc_demand demand;
    int64_t process;
};

struct bc_ingest_options {
    bool resumable;               /* the stream can be asked again after EINTR */
    const struct bc_hooks *hooks; /* NULL: none */
    uint64_t prefetch;            /* 0: no thread will run bc__prefetch_run */
    bc_request *request;          /* without a stream: asks the file's writer, or NULL */
    void *request_context;
    bool exhausted; /* all there will be is in the store; no stream */
};

/* Moves the stream in on success. The batches that the store has already are its first
 * ones. */
int bc__ingest_init(struct bc_ingest *ingest, struct ArrowArrayStream *stream,
                    struct bc_store *store, const struct bc_ingest_options *options);
/* Right after bc__ingest_init: finishes, and moves the stream back. */
void bc__ingest_undo(struct bc_ingest *ingest, struct ArrowArrayStream *out_stream);
/* After bc__ingest_close; nobody is inside. */
void bc__ingest_finish(struct bc_ingest *ingest);

/* Returns 0 as soon as batch `number` is published or the source is exhausted. UINT64_MAX
 * takes all there is. Errors as bc_reader_next has them. */
int bc__ingest_advance(struct bc_ingest *ingest, uint64_t number, struct bc_error *error);

/* The same for a thread that is inside `asking`'s hooks. EAGAIN: there is nothing to ask
 * for any more. */
int bc__ingest_advance_for(const struct bc_ingest *asking, struct bc_ingest *ingest,
                           uint64_t number, struct bc_error *error);

/* True while a batch is held that could not be stored. The lock is held, and nobody is
 * the producer. */
bool bc__ingest_has_pending(const struct bc_ingest *ingest);

/* The errno with which the source failed, and its words, valid as long as the ingest; 0
 * while it has not failed. */
int bc__ingest_failure(const struct bc_ingest *ingest, const char **out_message);
/* The same error, whose message may be cut. The ingest has failed. */
static inline const struct bc_error *bc__ingest_error(const struct bc_ingest *ingest) {
    return &ingest->failure;
}

/* Whoever waits looks again. The lock is not held. */
void bc__ingest_wake_all(struct bc_ingest *ingest);

/* Wakes all and ends the recording. Does not wait for a producer that is inside the
 * source; when it returns, no batch goes into the store any more. */
void bc__ingest_close(struct bc_ingest *ingest);

/* In a fork's child, with the lock held: none of the threads that waited is there. */
void bc__ingest_forked(struct bc_ingest *ingest);

/* The source may have more. */
static inline bool bc__ingest_is_open(const struct bc_ingest *ingest) {
    return atomic_load_explicit(&ingest->state, memory_order_acquire) == BC_INGEST_OPEN;
}

static inline bool bc__ingest_exhausted(const struct bc_ingest *ingest) {
    return atomic_load_explicit(&ingest->state, memory_order_acquire) ==
           BC_INGEST_EXHAUSTED;
}

#endif
