/* The model of tests/threads/test_api.c: the results that random calls must have. */
#ifndef BC_TESTS_LIB_API_MODEL_H
#define BC_TESTS_LIB_API_MODEL_H

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "recording_dir.h"

enum { THREADS = 4, SLOTS = 5, BATCHES = 20, ROWS = 4, PATIENCE = 600, STEPS = 300 };

struct subject {
    struct counting_source source;
    struct bc_cache *cache;
    struct bc_reader *shared; /* shared by all threads, or NULL */
    _Atomic int seen[BATCHES];
    bool evicts;
    bool durable;
    char path[PATH_SIZE]; /* of a recording, or empty */
    struct subject *next;
};

struct world {
    pthread_mutex_t lock; /* guards the members below */
    struct subject *slots[SLOTS];
    struct subject *all;
    int made;
    struct recording_dir dir;
    double until; /* 0: STEPS steps for each thread */
    bool fails;   /* faults are injected */
    uint64_t seed;
    _Atomic uint64_t calls, given, refused, children;
};

struct thread {
    pthread_t handle;
    struct world *world;
    uint64_t state;
    char path[PATH_SIZE]; /* for the thread's files */
};

static inline double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* clock: a campaign's length */
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Returns a random number below `n`, by xorshift64*. */
static inline uint64_t below(struct thread *thread, uint64_t n) {
    thread->state ^= thread->state >> 12;
    thread->state ^= thread->state << 25;
    thread->state ^= thread->state >> 27;
    return (thread->state * 0x2545F4914F6CDD1DU >> 33) % n;
}

static inline bool one_in(struct thread *thread, uint64_t n) {
    return below(thread, n) == 0;
}

/* ---- the model ---- */

/* Returns how many batches the source produces before its end or its error. */
static inline int64_t batches_of(const struct subject *subject) {
    int64_t fails = subject->source.fail_at;
    return fails >= 0 && fails < BATCHES ? fails : BATCHES;
}

/* Checks that the code is an allowed failure: a limit, a closed cache, a failed source or
 * an injected fault. */
static inline void check_refused(struct thread *thread, const struct subject *subject,
                                 int code, const struct bc_error *error) {
    bool of_source = code == EPIPE && batches_of(subject) < BATCHES;
    bool of_fault = thread->world->fails &&
                    (code == EIO || code == ENOSPC || code == ENOLCK || code == EAGAIN);
    if (!of_source && !of_fault && code != EINVAL && code != ENOMEM) {
        printf("# %d %s\n", code, error->message);
    }
    CHECK(of_source || of_fault || code == EINVAL || code == ENOMEM);
    CHECK(error->message[0] != '\0' && error->code == code);
    atomic_fetch_add(&thread->world->refused, 1);
}

static inline void check_given(struct thread *thread, const struct subject *subject,
                               struct ArrowArray *array, int64_t number) {
    CHECK(number < batches_of(subject));
    counting_source_check(&subject->source, array, number);
    atomic_fetch_add(&thread->world->given, 1);
}

/* Reads at most `most` batches from batch `number` on. Returns 0 or the first error. */
static inline int read_on(struct thread *thread, const struct subject *subject,
                          struct bc_reader *reader, int64_t number, uint64_t most,
                          struct bc_error *error) {
    for (; most > 0; most--, number++) {
        struct ArrowArray array;
        struct bc_batch_info info;
        bool quick = one_in(thread, 2);
        int code = quick ? bc_reader_next_quick(reader, &array, &info, error)
                         : bc_reader_next(reader, &array, &info, error);
        if (code == EAGAIN) code = bc_reader_next(reader, &array, &info, error);
        if (code != 0) {
            CHECK(bc_reader_position(reader) == (uint64_t)number);
            return code;
        }
        if (array.release == NULL) {
            CHECK(number == BATCHES);
            return 0;
        }
        CHECK(info.number == (uint64_t)number && info.rows == ROWS);
        check_given(thread, subject, &array, number);
        if (one_in(thread, 6) && bc_reader_skip(reader, (uint64_t)number + 1) == 0) {
            number++;
        }
    }
    return 0;
}

/* Checks that the source's error comes after its last batch. */
static inline void check_failed_at(const struct subject *subject,
                                   const struct bc_reader *reader, int code) {
    uint64_t number = (uint64_t)batches_of(subject);
    CHECK(code != EPIPE || bc_reader_position(reader) == number);
}

/* Opens the file and checks its `batches` batches. */
static inline void check_file(struct thread *thread, const struct subject *subject,
                              const char *path, uint64_t batches) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.partial = 1;
    options.max_batches = batches;
    options.read_into_memory = one_in(thread, 2);
    options.writable = one_in(thread, 2);
    options.verify = 1;
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_file_open(path, &options, &cache, &error);
    if (code != 0) {
        check_refused(thread, subject, code, &error);
        return;
    }
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.batches == batches && stats.rows == batches * ROWS);
    for (uint64_t i = 0; i < batches; i++) {
        struct ArrowArray array;
        code = bc_cache_batch(cache, i, &array, NULL, &error);
        if (code != 0) check_refused(thread, subject, code, &error);
        if (code == 0) check_given(thread, subject, &array, (int64_t)i);
    }
    bc_cache_unref(cache);
}

#endif
