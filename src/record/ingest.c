#include "record/ingest.h"

#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "record/wait_graph.h"

/* A source is fast that gives so many batches in one tick, which is some milliseconds. */
enum { BURST_BATCHES = 64, BURST_SAMPLE = 16, TICK_MS_MAX = 10 };
/* One wait and what may have passed since the last poll stay below 100 ms in all. */
enum { POLL_MS = 30, WAIT_MS = 40 };
/* How often a file is looked at that somebody else is writing. */
enum { FOLLOW_MS = 10 };
/* The thread's, over all calls: a source that is asked for one batch a call is slow too.
 */
static _Thread_local int64_t polled_ms;

static int state_of(const struct bc_ingest *ingest) {
    return atomic_load_explicit(&ingest->state, memory_order_acquire);
}

/* A child of a fork that happened in foreign code, be it the source itself. What the
 * child's copy of the source gives is not the parent's next batch. */
static bool is_forked(const struct bc_ingest *ingest) {
    return ingest->process != bc__sys_process();
}

static int refuse_forked(struct bc_error *error) {
    return bc__error_set_kind(
        error, BC_ERROR_FORKED, ECANCELED,
        "A forked process reads what was recorded before the fork; only "
        "the process that made the cache can ask the source for more");
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
    bc_assert(state_of(ingest) != BC_INGEST_OPEN && atomic_load(&ingest->producer) == 0);
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

/* What the producer does when it has left OPEN. */
static void release_source(struct bc_ingest *ingest) {
    struct bc_batch *pending = ingest->pending;
    ingest->pending = NULL;
    bc__batch_unref(pending);
    bc__store_release_retired(ingest->store, true);
    bc__source_release(&ingest->source);
}

/* All was recorded: makes that known, unless the recording is closed. */
static int complete(struct bc_ingest *ingest, struct bc_error *error) {
    bc__mutex_lock(&ingest->store_lock);
    bool closed = state_of(ingest) == BC_INGEST_CLOSED;
    int code = closed ? 0 : bc__store_end(ingest->store, error);
    bc__mutex_unlock(&ingest->store_lock);
    return code;
}

/* Writes what waits for more batches, unless the recording is closed. */
static int flush(struct bc_ingest *ingest, struct bc_error *error) {
    if (ingest->store->tier == NULL) return 0;
    bc__mutex_lock(&ingest->store_lock);
    bool closed = state_of(ingest) == BC_INGEST_CLOSED;
    int code = closed ? 0 : bc__store_flush(ingest->store, error);
    bc__mutex_unlock(&ingest->store_lock);
    return code;
}

bool bc__ingest_has_pending(const struct bc_ingest *ingest) {
    return ingest->pending != NULL || ingest->source.held.release != NULL ||
           ingest->ended;
}

/* Makes the next batch of the source `pending`; leaves NULL where it has ended. */
static int pull(struct bc_ingest *ingest, int *out_next, struct bc_error *error) {
    if (ingest->pending != NULL || ingest->ended) return 0;
    bool final;
    /* Looking at the clock takes as long as some sources do. */
    ingest->source.sample = ingest->rate.is_burst ? BURST_SAMPLE : 1;
    int code = bc__source_pull(&ingest->source, &ingest->pending, &final, error);
    if (code != 0 && final) *out_next = BC_INGEST_FAILED;
    ingest->ended = code == 0 && ingest->pending == NULL;
    return code;
}

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

/* The source failed: whoever follows the recording need not wait for more. */
static void abandon(struct bc_ingest *ingest) {
    bc__mutex_lock(&ingest->store_lock);
    /* A recording that is closed has nothing under it. */
    if (state_of(ingest) == BC_INGEST_FAILED) bc__store_abort(ingest->store);
    bc__mutex_unlock(&ingest->store_lock);
}

/* The next batch of a file that has it already. Where it has none yet, has it brought, or
 * waits a moment. */
static int produce_from_file(struct bc_ingest *ingest, int *out_next,
                             struct bc_error *error) {
    bool ended = false;
    int code = 0;
    /* Closing the cache closes the file. */
    bc__mutex_lock(&ingest->store_lock);
    if (state_of(ingest) == BC_INGEST_OPEN) {
        code = bc__store_put_next(ingest->store, &ended, error);
        if (code != 0 && code != ENOMEM && code != EAGAIN) *out_next = BC_INGEST_FAILED;
        if (ended) *out_next = BC_INGEST_EXHAUSTED;
    }
    bc__mutex_unlock(&ingest->store_lock);
    if ((code == EAGAIN || code == EOWNERDEAD) && ingest->request != NULL) {
        code = ingest->request(ingest->request_context, code, error);
    }
    if (code != EAGAIN) return code;
    bc__sys_sleep_ms(FOLLOW_MS);
    return 0;
}

/* The pending batch is one that was recorded before: is it the same, as far as can be
 * told at once? */
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

/* The producer's work: brings one batch into the store; with `more`, the next one is
 * wanted too. Sets `*out_next` to the state that follows. */
static int produce_from_stream(struct bc_ingest *ingest, bool more, int *out_next,
                               struct bc_error *error) {
    *out_next = BC_INGEST_OPEN;
    if (ingest->reads_tier) return produce_from_file(ingest, out_next, error);
    int code = pull(ingest, out_next, error);
    if (is_forked(ingest)) {
        *out_next = BC_INGEST_OPEN;
        return refuse_forked(error);
    }
    if (code != 0) return code;
    if (ingest->n_skipped < ingest->n_recorded)
        return skip_recorded(ingest, out_next, error);
    if (ingest->ended) {
        code = complete(ingest, error);
        if (code == 0) *out_next = BC_INGEST_EXHAUSTED;
        return code;
    }
    more = more && is_burst(&ingest->rate);
    bc__mutex_lock(&ingest->store_lock);
    bool open = state_of(ingest) == BC_INGEST_OPEN;
    code = open ? bc__store_put(ingest->store, ingest->pending, more, error) : 0;
    bc__mutex_unlock(&ingest->store_lock);
    bc__store_release_retired(ingest->store, false);
    /* What a walk finds broken stays broken. */
    if (code == EINVAL) *out_next = BC_INGEST_FAILED;
    if (code != 0) return code;
    struct bc_batch *stored = ingest->pending;
    ingest->pending = NULL;
    bc__batch_unref(stored);
    return 0;
}

/* Waits a moment for batch `number`: 0, EDEADLK or ENOMEM. The lock is held before, and
 * not after. */
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

/* Takes the producer word, or waits a moment for who has it. `*out_taken`: this thread is
 * the producer now. `*waits`: it counts as a waiter, until the call that it is in ends.
 * EDEADLK: it would wait for itself. */
static int acquire_producer(struct bc_ingest *ingest, uint64_t number, uintptr_t self,
                            bool *out_taken, bool *waits) {
    *out_taken = false;
    bc__mutex_lock(&ingest->lock);
    bool wants = state_of(ingest) == BC_INGEST_OPEN &&
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

static bool may_wake(void *context, uintptr_t thread) {
    (void)context;
    (void)thread;
    return true;
}

static bool may_produce(void *context, uintptr_t thread) {
    const struct bc_ingest *ingest = context;
    return bc__demand_may_produce(&ingest->demand, thread);
}

/* Those whose wait is over, for bc__wait_queue_wake; and, unless the caller goes on with
 * it, one that is to bring the next batch. The lock is held. */
static struct bc_waiter *take_woken(struct bc_ingest *ingest, bool goes_on) {
    if (bc__wait_queue_is_empty(&ingest->waiting)) return NULL;
    bool open = state_of(ingest) == BC_INGEST_OPEN;
    struct bc_waiter *chain;
    chain = bc__wait_queue_take(&ingest->waiting,
                                open ? bc__store_published(ingest->store) : UINT64_MAX);
    /* UINT64_MAX is a number that is waited for, too. */
    while (!open && !bc__wait_queue_is_empty(&ingest->waiting)) {
        chain = bc__wait_queue_take_one(&ingest->waiting, chain, may_wake, NULL);
    }
    if (!open || goes_on || atomic_load(&ingest->producer) != 0) return chain;
    return bc__wait_queue_take_one(&ingest->waiting, chain, may_produce, ingest);
}

/* Calls another thread, where this one leaves and nobody brings the next batch. */
static void hand_on(struct bc_ingest *ingest) {
    bc__mutex_lock(&ingest->lock);
    struct bc_waiter *chain = take_woken(ingest, false);
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
}

/* Gives the producer word back, first moving to state `next` unless closed meanwhile. If
 * it `goes_on`, the thread takes the word again at once. */
static void release_producer(struct bc_ingest *ingest, int next, bool goes_on) {
    bc__mutex_lock(&ingest->lock);
    if (state_of(ingest) == BC_INGEST_OPEN && next != BC_INGEST_OPEN) {
        atomic_store_explicit(&ingest->state, next, memory_order_release);
    }
    bool ended = state_of(ingest) != BC_INGEST_OPEN;
    if (!ended) atomic_store(&ingest->producer, 0);
    struct bc_waiter *chain = take_woken(ingest, goes_on);
    if (ended || !bc__ingest_has_pending(ingest)) bc__demand_end_stall(&ingest->demand);
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
    if (!ended || is_forked(ingest)) return;
    /* The state is final: nobody else will touch the source. */
    release_source(ingest);
    bc__mutex_lock(&ingest->lock);
    atomic_store(&ingest->producer, 0);
    bc__mutex_unlock(&ingest->lock);
}

/* The answer when the state is final, or -1 while it is OPEN. */
static int final_answer(struct bc_ingest *ingest, struct bc_error *error) {
    switch (state_of(ingest)) {
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

int bc__ingest_failure(const struct bc_ingest *ingest, const char **out_words) {
    if (state_of(ingest) != BC_INGEST_FAILED) return 0;
    const char *words = ingest->source.words;
    *out_words = words == NULL ? ingest->failure.message : words;
    return ingest->failure.code;
}

/* The words for what the hooks said no with. */
static int refuse(int code, struct bc_error *error) {
    if (code == ENOMEM) return bc__error_memory(error);
    return bc__error_set_kind(error, BC_ERROR_CANCELLED, code, "%s",
                              code == ECANCELED ? "Cancelled" : "Interrupted");
}

static int check_interrupt(const struct bc_ingest *ingest, struct bc_error *error) {
    if (ingest->hooks.poll == NULL) return 0;
    int64_t now = bc__sys_now_ms();
    if (now - polled_ms < POLL_MS) return 0;
    polled_ms = now;
    bc__assert_no_lock();
    int code = ingest->hooks.poll(ingest->hooks.context);
    if (code == 0) return 0;
    return refuse(code, error);
}

static int advance(struct bc_ingest *ingest, uint64_t number, bool *waits,
                   struct bc_error *error) {
    uintptr_t self = bc__sys_thread();
    for (;;) {
        if (bc__store_published(ingest->store) > number) return 0;
        int code = final_answer(ingest, error);
        if (code >= 0) return code;
        code = check_interrupt(ingest, error);
        if (code != 0) return code;
        /* Each time: hooks and releases may fork as well. */
        if (is_forked(ingest)) return refuse_forked(error);
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
        bool goes_on = code == 0 && bc__store_published(ingest->store) <= number;
        release_producer(ingest, next, goes_on);
        if (code != 0) {
            int closed = final_answer(ingest, error);
            if (closed >= 0) return closed;
            return bc__error_copy(error, code, &failure);
        }
    }
}

/* Whoever leaves sees to it that others can read in the file what was recorded. What
 * cannot be written now is tried again with the next batch, or at the end. */
static int advance_and_flush(struct bc_ingest *ingest, uint64_t number,
                             struct bc_error *error) {
    bool waits = false;
    int code = advance(ingest, number, &waits, error);
    /* A child counts its own threads only, none of which waits. */
    if (waits && !is_forked(ingest)) (void)atomic_fetch_sub(&ingest->waiters, 1);
    if (code != 0) {
        /* Who gives up waiting wants nothing any more; who still waits says so again. */
        bc__demand_clear(&ingest->demand);
        hand_on(ingest);
    }
    if (is_forked(ingest)) return code;
    (void)flush(ingest, NULL);
    if (state_of(ingest) == BC_INGEST_FAILED) abandon(ingest);
    return code;
}

int bc__ingest_advance(struct bc_ingest *ingest, uint64_t number,
                       struct bc_error *error) {
    if (bc__store_published(ingest->store) > number) return 0;
    int code = final_answer(ingest, error);
    if (code >= 0) return code;
    if (is_forked(ingest)) return refuse_forked(error);
    if (ingest->hooks.enter == NULL) return advance_and_flush(ingest, number, error);
    struct bc_hook_state state = {{NULL, NULL}};
    bc__assert_no_lock();
    code = ingest->hooks.enter(ingest->hooks.context, &state);
    if (code != 0) return refuse(code, error);
    code = advance_and_flush(ingest, number, error);
    ingest->hooks.leave(ingest->hooks.context, &state);
    return code;
}

int bc__ingest_advance_for(const struct bc_ingest *asking, struct bc_ingest *ingest,
                           uint64_t number, struct bc_error *error) {
    if (state_of(ingest) != BC_INGEST_OPEN || is_forked(ingest)) return EAGAIN;
    if (bc__store_published(ingest->store) > number) {
        /* It may wait in the block, since a write failed. */
        int code = flush(ingest, error);
        return code == 0 ? EAGAIN : code;
    }
    int code = asking->hooks.enter == ingest->hooks.enter
                   ? advance_and_flush(ingest, number, error)
                   : bc__ingest_advance(ingest, number, error);
    /* What has become of it will be seen in the file. */
    return state_of(ingest) == BC_INGEST_OPEN ? code : EAGAIN;
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
        chain = bc__wait_queue_take_one(&ingest->waiting, chain, may_wake, NULL);
    }
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
}

void bc__ingest_close(struct bc_ingest *ingest) {
    bc_assert(ingest->store != NULL);
    bc__mutex_lock(&ingest->lock);
    bool was_open = state_of(ingest) == BC_INGEST_OPEN;
    if (was_open)
        atomic_store_explicit(&ingest->state, BC_INGEST_CLOSED, memory_order_release);
    bool free_source = was_open && atomic_load(&ingest->producer) == 0;
    struct bc_waiter *chain = take_woken(ingest, false);
    bc__cond_wake_all(&ingest->demand.wanted);
    bc__mutex_unlock(&ingest->lock);
    bc__wait_queue_wake(chain);
    bc__mutex_lock(&ingest->store_lock);
    bc__mutex_unlock(&ingest->store_lock);
    if (free_source) release_source(ingest);
}
