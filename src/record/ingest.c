#include "record/ingest.h"

#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "record/wait_graph.h"

/* A burst is at least BURST_BATCHES batches in one tick, which is a few milliseconds. */
enum { BURST_BATCHES = 64, BURST_SAMPLE = 16, TICK_MS_MAX = 10 };
/* One wait, and the time since the last poll, stay below 100 ms together. */
enum { POLL_MS = 30, WAIT_MS = 40 };
/* The interval at which a follower checks its file. */
enum { FOLLOW_MS = 10 };
/* The time of the thread's last poll. It is kept over calls, because many calls may
 * produce one batch each. */
static _Thread_local int64_t polled_ms;

static int load_state(const struct bc_ingest *ingest) {
    return atomic_load_explicit(&ingest->state, memory_order_acquire);
}

/* Returns true in the child of a fork. Foreign code may fork, even the source itself. A
 * batch from the child's copy of the source is not the parent's next batch. */
static bool ingest_is_forked(const struct bc_ingest *ingest) {
    return ingest->process != bc__sys_process();
}

static int forked_error(struct bc_error *error) {
    return bc__error_set_kind(
        error, BC_ERROR_FORKED, ECANCELED,
        "A forked process can only read the batches recorded before the fork: the "
        "process that made the cache calls the source");
}

int bc__ingest_init(struct bc_ingest *ingest, struct ArrowArrayStream *stream,
                    struct bc_store *store, const struct bc_ingest_options *options) {
    bc_assert(ingest != NULL && store != NULL);
    memset(ingest, 0, sizeof(*ingest));
    bc__wait_graph_init();
    int code = bc__mutex_init(&ingest->lock);
    if (code != 0) return code;
    code = bc__demand_init(&ingest->demand, &ingest->lock, options->prefetch);
    if (code == 0) {
        code = bc__mutex_init(&ingest->store_lock);
        if (code != 0) bc__demand_finish(&ingest->demand);
    }
    if (code != 0) {
        bc__mutex_finish(&ingest->lock);
        return code;
    }
    atomic_init(&ingest->state,
                options->exhausted ? BC_INGEST_EXHAUSTED : BC_INGEST_OPEN);
    ingest->store = store;
    ingest->reads_tier = stream == NULL && !options->exhausted;
    ingest->is_unlocked = options->is_unlocked;
    ingest->request = options->request;
    ingest->request_context = options->request_context;
    ingest->n_recorded = stream == NULL ? 0 : bc__store_published(store);
    if (options->hooks != NULL) ingest->hooks = *options->hooks;
    ingest->process = bc__sys_process();
    if (stream != NULL) {
        bc__source_init(&ingest->source, stream, store->schema, options->resumable);
    }
    return 0;
}

void bc__ingest_finish(struct bc_ingest *ingest) {
    bc_assert(load_state(ingest) != BC_INGEST_OPEN &&
              atomic_load(&ingest->producer) == 0);
    bc__source_finish(&ingest->source);
    bc__mutex_finish(&ingest->store_lock);
    bc__demand_finish(&ingest->demand);
    bc__mutex_finish(&ingest->lock);
}

void bc__ingest_undo(struct bc_ingest *ingest, struct ArrowArrayStream *out_stream) {
    bc_assert(atomic_load(&ingest->source.calls) == 0);
    if (out_stream != NULL) *out_stream = ingest->source.stream;
    ingest->source.stream.release = NULL;
    atomic_store(&ingest->state, BC_INGEST_CLOSED);
    bc__ingest_finish(ingest);
}

/* Releases the source and the pending batch. The caller is the producer, and has left
 * OPEN. */
static void release_source(struct bc_ingest *ingest) {
    struct bc_batch *pending = ingest->pending;
    ingest->pending = NULL;
    bc__batch_unref(pending);
    bc__store_release_retired(ingest->store, true);
    bc__source_release(&ingest->source);
}

/* Ends the recording in the store, unless it is closed. */
static int end_recording(struct bc_ingest *ingest, struct bc_error *error) {
    bc__mutex_lock(&ingest->store_lock);
    bool closed = load_state(ingest) == BC_INGEST_CLOSED;
    int code = closed ? 0 : bc__store_end(ingest->store, error);
    bc__mutex_unlock(&ingest->store_lock);
    return code;
}

/* Flushes the store, unless the recording is closed. */
static int flush_store(struct bc_ingest *ingest, struct bc_error *error) {
    if (ingest->store->tier == NULL) return 0;
    bc__mutex_lock(&ingest->store_lock);
    bool closed = load_state(ingest) == BC_INGEST_CLOSED;
    int code = closed ? 0 : bc__store_flush(ingest->store, error);
    bc__mutex_unlock(&ingest->store_lock);
    return code;
}

bool bc__ingest_has_pending(const struct bc_ingest *ingest) {
    return ingest->pending != NULL || ingest->source.held.release != NULL ||
           ingest->ended;
}

/* Pulls the next batch of the source into `pending`. At the end of the stream, `pending`
 * stays NULL. */
static int pull_pending(struct bc_ingest *ingest, int *out_next, struct bc_error *error) {
    if (ingest->pending != NULL || ingest->ended) return 0;
    bool final;
    /* Reading the clock takes as long as a call of a fast source. */
    ingest->source.sample = ingest->rate.is_burst ? BURST_SAMPLE : 1;
    int code = bc__source_pull(&ingest->source, &ingest->pending, &final, error);
    if (code != 0 && final) *out_next = BC_INGEST_FAILED;
    ingest->ended = code == 0 && ingest->pending == NULL;
    return code;
}

/* Counts a batch. Returns true while batches arrive in a burst. */
static bool is_burst(struct bc_arrival_rate *rate) {
    int64_t now = bc__sys_now_ms();
    int64_t passed = now - rate->tick_ms;
    if (passed > 0) {
        rate->is_burst = passed <= TICK_MS_MAX && rate->batches >= BURST_BATCHES;
        rate->tick_ms = now;
        rate->batches = 0;
    }
    rate->batches++;
    return rate->is_burst;
}

/* Marks the recording as failed, so that its followers do not wait for more. */
static void abort_store(struct bc_ingest *ingest) {
    bc__mutex_lock(&ingest->store_lock);
    /* A closed recording has no tier any more. */
    if (load_state(ingest) == BC_INGEST_FAILED) bc__store_abort(ingest->store);
    bc__mutex_unlock(&ingest->store_lock);
}

/* Publishes the next batch of a file. If the file does not have it yet, requests it from
 * the writer, or waits a moment. */
static int produce_from_file(struct bc_ingest *ingest, int *out_next,
                             struct bc_error *error) {
    bool ended = false;
    int code = 0;
    /* Closing the cache closes the file. A storage is scanned before the cache is known.
     */
    if (!ingest->is_unlocked) bc__mutex_lock(&ingest->store_lock);
    if (load_state(ingest) == BC_INGEST_OPEN) {
        code = bc__store_put_next(ingest->store, &ended, error);
        if (code != 0 && code != ENOMEM && code != EAGAIN) *out_next = BC_INGEST_FAILED;
        if (ended) *out_next = BC_INGEST_EXHAUSTED;
    }
    if (!ingest->is_unlocked) bc__mutex_unlock(&ingest->store_lock);
    bool failed = *out_next == BC_INGEST_FAILED;
    if ((code == EAGAIN || code == EOWNERDEAD) && ingest->request != NULL) {
        code = ingest->request(ingest->request_context, code, &failed, error);
        *out_next = failed ? BC_INGEST_FAILED : BC_INGEST_OPEN;
        if (ingest_is_forked(ingest)) {
            *out_next = BC_INGEST_OPEN;
            return forked_error(error);
        }
    }
    if (failed || code != EAGAIN) return code;
    bc__sys_sleep_ms(FOLLOW_MS);
    return 0;
}

/* Drops the pending batch, which was recorded before. Compares its row count first. */
static int skip_recorded(struct bc_ingest *ingest, int *out_next,
                         struct bc_error *error) {
    struct bc_batch *batch = ingest->pending;
    struct bc_index_entry entry;
    int code = bc__store_entry(ingest->store, ingest->n_skipped, &entry, error);
    if (code != 0) return code;
    if (batch == NULL) {
        *out_next = BC_INGEST_FAILED;
        return bc__error_set_kind(
            error, BC_ERROR_CHANGED, EINVAL,
            "The source is not the recorded one: it ended before recorded batch %llu",
            (unsigned long long)ingest->n_skipped);
    }
    uint64_t rows = (uint64_t)batch->nodes[0].length;
    if (rows != entry.rows) {
        *out_next = BC_INGEST_FAILED;
        return bc__error_set_kind(error, BC_ERROR_CHANGED, EINVAL,
                                  "The source is not the recorded one: its batch %llu "
                                  "has %llu rows, the recorded batch has %llu",
                                  (unsigned long long)ingest->n_skipped,
                                  (unsigned long long)rows,
                                  (unsigned long long)entry.rows);
    }
    ingest->n_skipped++;
    ingest->pending = NULL;
    bc__batch_unref(batch);
    return 0;
}

/* Stores one batch. The caller is the producer. `more`: the caller needs the next batch
 * too.
 * `out_next`: the state that follows. */
static int produce_from_stream(struct bc_ingest *ingest, bool more, int *out_next,
                               struct bc_error *error) {
    *out_next = BC_INGEST_OPEN;
    if (ingest->reads_tier) return produce_from_file(ingest, out_next, error);
    int code = pull_pending(ingest, out_next, error);
    if (ingest_is_forked(ingest)) {
        *out_next = BC_INGEST_OPEN;
        return forked_error(error);
    }
    if (code != 0) return code;
    if (ingest->n_skipped < ingest->n_recorded)
        return skip_recorded(ingest, out_next, error);
    if (ingest->ended) {
        code = end_recording(ingest, error);
        if (code == 0) *out_next = BC_INGEST_EXHAUSTED;
        return code;
    }
    more = more && is_burst(&ingest->rate);
    bc__mutex_lock(&ingest->store_lock);
    bool open = load_state(ingest) == BC_INGEST_OPEN;
    code = open ? bc__store_put(ingest->store, ingest->pending, more, error) : 0;
    bc__mutex_unlock(&ingest->store_lock);
    bc__store_release_retired(ingest->store, false);
    /* An invalid batch is a permanent failure. */
    if (code == EINVAL) *out_next = BC_INGEST_FAILED;
    if (code != 0) return code;
    struct bc_batch *stored = ingest->pending;
    ingest->pending = NULL;
    bc__batch_unref(stored);
    return 0;
}

/* Waits a moment for batch `number`, and releases the lock, which is held.
 * EDEADLK: the thread would wait for itself.
 * ENOMEM: no memory. */
static int wait_for_producer(struct bc_ingest *ingest, uint64_t number, uintptr_t self) {
    struct bc_waiter waiter;
    bool is_made = bc__waiter_init(&waiter, number, self) == 0;
    const _Atomic uintptr_t *producer =
        atomic_load(&ingest->producer) != 0 ? &ingest->producer : &ingest->demand.thread;
    const struct bc_wait_target target = {producer, &ingest->store->published, number,
                                          &ingest->state};
    struct bc_wait_edge wait;
    bool waits = is_made && bc__wait_edge_add(&wait, self, target);
    if (waits) bc__demand_raise(&ingest->demand, number);
    if (waits) bc__wait_queue_add(&ingest->waiting, &waiter);
    bc__mutex_unlock(&ingest->lock);
    if (!is_made) return ENOMEM;
    if (waits) {
        bc__wait_queue_wait_ms(&ingest->waiting, &waiter, &ingest->lock, WAIT_MS);
        bc__wait_edge_remove(&wait);
    }
    bc__waiter_finish(&waiter);
    return waits ? 0 : EDEADLK;
}

/* Acquires the producer role, or waits a moment for the producer. `out_taken`: this
 * thread is the producer. `waits`: the thread counts as a waiter, until its current call
 * ends.
 * EDEADLK: the thread would wait for itself.
 * ENOMEM: no memory. */
static int acquire_producer(struct bc_ingest *ingest, uint64_t number, uintptr_t self,
                            bool *out_taken, bool *waits) {
    *out_taken = false;
    bc__mutex_lock(&ingest->lock);
    bool wants = load_state(ingest) == BC_INGEST_OPEN &&
                 bc__store_published(ingest->store) <= number;
    bool takes = wants && atomic_load(&ingest->producer) == 0 &&
                 bc__demand_may_produce(&ingest->demand, self);
    if (wants && !takes) {
        if (!*waits) (void)atomic_fetch_add(&ingest->waiters, 1);
        *waits = true;
        return wait_for_producer(ingest, number, self);
    }
    if (takes) atomic_store(&ingest->producer, self);
    *out_taken = takes;
    bc__mutex_unlock(&ingest->lock);
    return 0;
}

static bool accept_any(void *context, uintptr_t thread) {
    (void)context;
    (void)thread;
    return true;
}

static bool may_produce(void *context, uintptr_t thread) {
    const struct bc_ingest *ingest = context;
    return bc__demand_may_produce(&ingest->demand, thread);
}

/* Unlists the threads whose wait is over, for bc__wait_queue_wake. Also unlists a thread
 * that is to produce the next batch, unless the caller `continues`. The lock is held. */
static struct bc_waiter *take_woken_waiters(struct bc_ingest *ingest, bool continues) {
    if (bc__wait_queue_is_empty(&ingest->waiting)) return NULL;
    bool open = load_state(ingest) == BC_INGEST_OPEN;
    struct bc_waiter *chain;
    chain = bc__wait_queue_take(&ingest->waiting,
                                open ? bc__store_published(ingest->store) : UINT64_MAX);
    /* A thread may wait for UINT64_MAX, which no published count exceeds. */
    while (!open && !bc__wait_queue_is_empty(&ingest->waiting)) {
        chain = bc__wait_queue_take_one(&ingest->waiting, chain, accept_any, NULL);
    }
    if (!open || continues || atomic_load(&ingest->producer) != 0) return chain;
    return bc__wait_queue_take_one(&ingest->waiting, chain, may_produce, ingest);
}

/* Wakes a thread to produce the next batch, if no thread is the producer. */
static void wake_producer(struct bc_ingest *ingest) {
    bc__mutex_lock(&ingest->lock);
    struct bc_waiter *chain = take_woken_waiters(ingest, false);
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
}

/* Releases the producer role. Moves to state `next` first, unless the recording was
 * closed meanwhile. `continues`: the thread acquires the role again at once. */
static void release_producer(struct bc_ingest *ingest, int next, bool continues) {
    bc__mutex_lock(&ingest->lock);
    if (load_state(ingest) == BC_INGEST_OPEN && next != BC_INGEST_OPEN) {
        atomic_store_explicit(&ingest->state, next, memory_order_release);
    }
    bool ended = load_state(ingest) != BC_INGEST_OPEN;
    if (!ended) atomic_store(&ingest->producer, 0);
    struct bc_waiter *chain = take_woken_waiters(ingest, continues);
    if (ended || !bc__ingest_has_pending(ingest)) bc__demand_end_stall(&ingest->demand);
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
    if (!ended || ingest_is_forked(ingest)) return;
    /* The state is final, so no other thread uses the source. */
    release_source(ingest);
    bc__mutex_lock(&ingest->lock);
    atomic_store(&ingest->producer, 0);
    bc__mutex_unlock(&ingest->lock);
}

/* Returns the result of a final state, or -1 while the state is OPEN. */
static int final_answer(struct bc_ingest *ingest, struct bc_error *error) {
    switch (load_state(ingest)) {
        case BC_INGEST_EXHAUSTED:
            return 0;
        case BC_INGEST_FAILED:
            return bc__error_copy(error, ingest->failure.code, &ingest->failure);
        case BC_INGEST_CLOSED:
            return bc__error_closed(error);
        default:
            return -1;
    }
}

int bc__ingest_failure(const struct bc_ingest *ingest, const char **out_message) {
    if (load_state(ingest) != BC_INGEST_FAILED) return 0;
    const char *message = ingest->source.message;
    *out_message = message == NULL ? ingest->failure.message : message;
    return ingest->failure.code;
}

/* Sets the error of a hook that returned `code`. */
static int hook_error(int code, struct bc_error *error) {
    code = bc__error_of_callback(code);
    if (code == ENOMEM) return bc__error_memory(error);
    return bc__error_set_kind(
        error, BC_ERROR_CANCELLED, code, "%s",
        code == ECANCELED ? "The caller is shutting down" : "Interrupted");
}

int bc__ingest_poll(const struct bc_ingest *ingest, struct bc_error *error) {
    if (ingest->hooks.poll == NULL) return 0;
    int64_t now = bc__sys_now_ms();
    if (now - polled_ms < POLL_MS) return 0;
    polled_ms = now;
    bc__assert_no_lock();
    int code = ingest->hooks.poll(ingest->hooks.context);
    if (code == 0) return 0;
    return hook_error(code, error);
}

int bc__ingest_enter_hooks(const struct bc_ingest *ingest, struct bc_hook_state *state,
                           struct bc_error *error) {
    *state = (struct bc_hook_state){{NULL, NULL}};
    if (ingest->hooks.enter == NULL) return 0;
    bc__assert_no_lock();
    int code = ingest->hooks.enter(ingest->hooks.context, state);
    return code == 0 ? 0 : hook_error(code, error);
}

void bc__ingest_leave_hooks(const struct bc_ingest *ingest, struct bc_hook_state *state) {
    if (ingest->hooks.leave != NULL) {
        ingest->hooks.leave(ingest->hooks.context, state);
    }
}

static int advance_to(struct bc_ingest *ingest, uint64_t number, bool *waits,
                      struct bc_error *error) {
    uintptr_t self = bc__sys_thread();
    for (;;) {
        if (bc__store_published(ingest->store) > number) return 0;
        int code = final_answer(ingest, error);
        if (code >= 0) return code;
        code = bc__ingest_poll(ingest, error);
        if (code != 0) return code;
        /* Checked each time, since hooks and releases may fork as well. */
        if (ingest_is_forked(ingest)) return forked_error(error);
        bool taken;
        code = acquire_producer(ingest, number, self, &taken, waits);
        if (code == ENOMEM) return bc__error_memory(error);
        if (code == EDEADLK) {
            return bc__error_set(error, EDEADLK,
                                 "The source reads batch %llu of its own cache: deadlock",
                                 (unsigned long long)bc__store_published(ingest->store));
        }
        if (!taken) continue;
        struct bc_error failure = {0};
        int next;
        bool more = bc__store_published(ingest->store) < number;
        code = produce_from_stream(ingest, more, &next, &failure);
        if (next == BC_INGEST_FAILED) ingest->failure = failure;
        bool continues = code == 0 && bc__store_published(ingest->store) <= number;
        release_producer(ingest, next, continues);
        if (code != 0) {
            int closed = final_answer(ingest, error);
            if (closed >= 0) return closed;
            return bc__error_copy(error, code, &failure);
        }
    }
}

/* Advances, and flushes before the return, so that other processes can read every
 * recorded batch in the file. A write that fails is repeated with the next batch, or at
 * the end. */
static int advance_and_flush(struct bc_ingest *ingest, uint64_t number,
                             struct bc_error *error) {
    bool waits = false;
    int code = advance_to(ingest, number, &waits, error);
    /* A child counts only its own threads. This one was counted in the parent. */
    if (waits && !ingest_is_forked(ingest)) (void)atomic_fetch_sub(&ingest->waiters, 1);
    if (code != 0) {
        /* This thread needs no batch any more. Threads that still wait raise the demand
         * again. */
        bc__demand_clear(&ingest->demand);
        wake_producer(ingest);
    }
    if (ingest_is_forked(ingest)) return code;
    (void)flush_store(ingest, NULL);
    if (load_state(ingest) == BC_INGEST_FAILED) abort_store(ingest);
    return code;
}

int bc__ingest_advance(struct bc_ingest *ingest, uint64_t number,
                       struct bc_error *error) {
    if (bc__store_published(ingest->store) > number) return 0;
    int code = final_answer(ingest, error);
    if (code >= 0) return code;
    if (ingest_is_forked(ingest)) return forked_error(error);
    struct bc_hook_state state;
    code = bc__ingest_enter_hooks(ingest, &state, error);
    if (code != 0) return code;
    code = advance_and_flush(ingest, number, error);
    bc__ingest_leave_hooks(ingest, &state);
    return code;
}

int bc__ingest_advance_for(const struct bc_ingest *asking, struct bc_ingest *ingest,
                           uint64_t number, struct bc_error *error) {
    if (load_state(ingest) != BC_INGEST_OPEN || ingest_is_forked(ingest)) return EAGAIN;
    if (bc__store_published(ingest->store) > number) {
        /* The batch may still be in memory, because a write failed. */
        int code = flush_store(ingest, error);
        return code == 0 ? EAGAIN : code;
    }
    int code = asking->hooks.enter == ingest->hooks.enter
                   ? advance_and_flush(ingest, number, error)
                   : bc__ingest_advance(ingest, number, error);
    /* The follower finds the end of the recording in the file. */
    return load_state(ingest) == BC_INGEST_OPEN ? code : EAGAIN;
}

void bc__ingest_forked(struct bc_ingest *ingest) {
    ingest->waiting.listed.first = NULL;
    atomic_store(&ingest->waiters, 0);
    bc__cond_forked(&ingest->demand.wanted);
}

void bc__ingest_wake_all(struct bc_ingest *ingest) {
    struct bc_waiter *chain = NULL;
    bc__mutex_lock(&ingest->lock);
    while (!bc__wait_queue_is_empty(&ingest->waiting)) {
        chain = bc__wait_queue_take_one(&ingest->waiting, chain, accept_any, NULL);
    }
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
}

void bc__ingest_close(struct bc_ingest *ingest) {
    bc_assert(ingest->store != NULL);
    bc__mutex_lock(&ingest->lock);
    bool was_open = load_state(ingest) == BC_INGEST_OPEN;
    if (was_open)
        atomic_store_explicit(&ingest->state, BC_INGEST_CLOSED, memory_order_release);
    bool free_source = was_open && atomic_load(&ingest->producer) == 0;
    struct bc_waiter *chain = take_woken_waiters(ingest, false);
    bc__cond_wake_all(&ingest->demand.wanted);
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
    bc__mutex_lock(&ingest->store_lock);
    bc__mutex_unlock(&ingest->store_lock);
    if (free_source) release_source(ingest);
}
