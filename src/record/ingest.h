/* The ingest: reads the source, stores its batches, and keeps the state of the recording.
 * One thread at a time is the producer.
 *
 *                  source ends                ┌───────────┐
 *            ┌───────────────────────────────▶│ EXHAUSTED │
 *       ┌────┴───┐   source fails             ├───────────┤
 *       │  OPEN  ├───────────────────────────▶│  FAILED   │ its error, for every reader
 *       └────┬───┘   bc__ingest_close         ├───────────┤
 *            └───────────────────────────────▶│  CLOSED   │
 *                                             └───────────┘
 *
 * While OPEN, a thread that needs a batch acquires the producer role. It pulls the batch,
 * stores it and releases the role. It holds no lock while it calls the source. Other
 * threads wait in a queue, each until its batch is published. When the producer stops, it
 * wakes a thread whose batch is not published yet. That thread becomes the producer. A
 * thread that leaves with an error also wakes a thread.
 *
 * A batch that could not be stored, because of a budget or the disk, is kept as
 * `pending`. It is stored before the next batch. If small batches arrive in a burst, the
 * disk may write several batches at once. It has written every batch before a call
 * returns. If the source is slow, each batch is written soon.
 *
 * The thread that leaves OPEN as the producer releases the source. If no thread is the
 * producer, close releases it.
 *
 * A fork's child stores nothing and changes no state. The source itself may fork, so the
 * producer checks again after the call of the source: ECANCELED. */
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

/* The arrival rate: batches of the current tick of a coarse clock, and whether the last
 * tick had many. */
struct bc_arrival_rate {
    int64_t tick_ms;
    int32_t batches;
    bool is_burst;
};

/* Requests the next batch from the writer of a followed file. No lock is held. If `code`
 * is EOWNERDEAD, the writer died: the function finds or starts another writer, or returns
 * the writer's own error, or EOWNERDEAD.
 * `out_failed`: true if the returned error is the recording's; false if it is temporary.
 * EAGAIN: the writer is not in this process, so the caller waits. */
typedef int bc_request(void *context, int code, bool *out_failed, struct bc_error *error);

struct bc_ingest {
    _Atomic int state; /* enum bc_ingest_state; written with the lock */
    struct bc_mutex lock;
    struct bc_wait_queue waiting; /* guarded by the lock */
    struct bc_mutex store_lock;   /* held while a batch is stored, never around foreign
                                  code; close acquires it once */
    _Atomic uintptr_t producer;   /* the producer's thread, or 0; written with the lock */
    _Atomic uint64_t waiters;     /* threads in a call that waits or has waited */
    struct bc_source source;      /* used by the producer only */
    bool reads_tier;     /* the batches come from the tier's file, not from a source */
    bool is_unlocked;    /* see bc_ingest_options */
    bc_request *request; /* of a followed file; else NULL */
    void *request_context;
    uint64_t n_skipped; /* the producer's: source batches compared with recorded ones, and
                           dropped */
    uint64_t n_recorded;         /* batches that the store had at the start */
    struct bc_batch *pending;    /* the producer's */
    bool ended;                  /* the producer's: the source has ended */
    struct bc_arrival_rate rate; /* the producer's */
    struct bc_error failure;     /* set before FAILED */
    struct bc_store *store;      /* borrowed */
    struct bc_hooks hooks;
    struct bc_demand demand;
    int64_t process;
};

struct bc_ingest_options {
    bool resumable;               /* get_next may be called again after EINTR */
    const struct bc_hooks *hooks; /* NULL: none */
    uint64_t prefetch;            /* batches; 0: no thread runs bc__prefetch_run */
    bc_request *request; /* without a stream: requests batches from the writer; or NULL */
    void *request_context;
    bool exhausted; /* the store has all batches; no stream */
    /* The tier's file is a storage: scanned without a lock, by the thread that opens it.
     */
    bool is_unlocked;
};

/* Initialises the ingest. On success the stream moves in. Batches in the store are taken
 * for the first batches of the stream. `stream`: NULL means that the tier's file has the
 * batches. Returns 0 or an errno. */
int bc__ingest_init(struct bc_ingest *ingest, struct ArrowArrayStream *stream,
                    struct bc_store *store, const struct bc_ingest_options *options);
/* Undoes bc__ingest_init, before any other call: the stream moves back. `out_stream`:
 * NULL means that there is none. */
void bc__ingest_undo(struct bc_ingest *ingest, struct ArrowArrayStream *out_stream);
/* Frees the members. Called after bc__ingest_close, when no thread is in a call. */
void bc__ingest_finish(struct bc_ingest *ingest);

/* Produces batches, or waits, until batch `number` is published or the source is
 * exhausted.
 * `number`: UINT64_MAX means all batches. Errors: those of bc_reader_next. */
int bc__ingest_advance(struct bc_ingest *ingest, uint64_t number, struct bc_error *error);

/* Calls the hooks around work that may take long. If `enter` fails, `leave` is not
 * called. Without hooks, they do nothing. */
int bc__ingest_enter_hooks(const struct bc_ingest *ingest, struct bc_hook_state *state,
                           struct bc_error *error);
void bc__ingest_leave_hooks(const struct bc_ingest *ingest, struct bc_hook_state *state);
/* Polls the hook for an interrupt, at most once in POLL_MS. The thread has entered the
 * hooks. */
int bc__ingest_poll(const struct bc_ingest *ingest, struct bc_error *error);

/* Like bc__ingest_advance(), for a thread that has entered the hooks of `asking`.
 * EAGAIN: there is nothing to request: the batch is in the file, or the recording is not
 * open. */
int bc__ingest_advance_for(const struct bc_ingest *asking, struct bc_ingest *ingest,
                           uint64_t number, struct bc_error *error);

/* Returns true if a batch, or the end of the stream, could not be stored yet. The lock is
 * held, and no thread is the producer. */
bool bc__ingest_has_pending(const struct bc_ingest *ingest);

/* Returns the errno of the source's failure, or 0 if it has not failed. `out_message`:
 * the message; valid as long as the ingest; set on failure only. */
int bc__ingest_failure(const struct bc_ingest *ingest, const char **out_message);
/* Returns the failure. Its message may be cut. The ingest has failed. */
static inline const struct bc_error *bc__ingest_error(const struct bc_ingest *ingest) {
    return &ingest->failure;
}

/* Wakes all waiting threads, which check their conditions again. The lock is not held. */
void bc__ingest_wake_all(struct bc_ingest *ingest);

/* Ends the recording, and wakes all waiting threads. Does not wait for a producer that is
 * in a call of the source. After the return, no batch is stored any more. */
void bc__ingest_close(struct bc_ingest *ingest);

/* Removes the waiting threads, in a fork's child, which does not have them. The lock is
 * held. */
void bc__ingest_forked(struct bc_ingest *ingest);

/* Returns true while the source may have more batches. */
static inline bool bc__ingest_is_open(const struct bc_ingest *ingest) {
    return atomic_load_explicit(&ingest->state, memory_order_acquire) == BC_INGEST_OPEN;
}

/* Returns true if the source has ended, and all batches are stored. */
static inline bool bc__ingest_exhausted(const struct bc_ingest *ingest) {
    return atomic_load_explicit(&ingest->state, memory_order_acquire) ==
           BC_INGEST_EXHAUSTED;
}

#endif
