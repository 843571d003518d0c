/* The prefetching thread. Run under ThreadSanitizer. */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "counting_source.h"

enum { BATCHES = 200, AHEAD = 5, THREADS = 4 };

/* Checks that one thread makes every call of the source. */
struct watch {
    struct counting_source source;
    struct bc_cache *cache;
    pthread_t caller;
    int64_t calls;
    _Atomic int stuck_at; /* the call that waits until `open`, or -1 */
    _Atomic int is_stuck;
    _Atomic int open;
    int code; /* the result of the source's own call */
};

static void watch_call(void *context, int64_t n) {
    struct watch *watch = context;
    if (watch->calls++ == 0) watch->caller = pthread_self();
    CHECK(pthread_equal(watch->caller, pthread_self()));
    if (n != atomic_load(&watch->stuck_at)) return;
    atomic_store(&watch->is_stuck, 1);
    while (!atomic_load(&watch->open)) (void)sched_yield();
}

static struct bc_cache_options prefetching(uint64_t ahead) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.prefetch = ahead;
    return options;
}

static void start(struct watch *watch, const struct bc_cache_options *options) {
    memset(watch, 0, sizeof(*watch));
    watch->stuck_at = -1;
    counting_source_init(&watch->source, BATCHES, 3);
    watch->source.before = watch_call;
    watch->source.context = watch;
    watch->cache = counting_source_cache(&watch->source, options);
}

static uint64_t recorded(struct bc_cache *cache) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    return stats.batches;
}

static void wait_until_recorded(struct bc_cache *cache, uint64_t batches) {
    while (recorded(cache) < batches) (void)sched_yield();
}

/* The prefetching thread may release the source and its batches after the cache is
 * gone. */
static void finish(struct watch *watch) {
    bc_cache_unref(watch->cache);
    while (atomic_load(&watch->source.stream_alive) != 0 ||
           atomic_load(&watch->source.arrays_alive) != 0) {
        (void)sched_yield();
    }
}

static void test_stays_so_far_ahead(void) {
    struct watch watch;
    struct bc_cache_options options = prefetching(AHEAD);
    start(&watch, &options);
    CHECK(recorded(watch.cache) == 0); /* there is no reader yet */
    struct bc_reader *reader = new_reader(watch.cache);
    wait_until_recorded(watch.cache, AHEAD);
    for (int64_t i = 0; i < 20; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&watch.source, &array, i);
        wait_until_recorded(watch.cache, (uint64_t)i + 1 + AHEAD);
        CHECK(recorded(watch.cache) == (uint64_t)i + 1 + AHEAD);
    }
    CHECK(counting_source_drain(&watch.source, reader, 20) == BATCHES);
    CHECK(!pthread_equal(watch.caller, pthread_self()));
    bc_reader_unref(reader);
    finish(&watch);
}

static void *drain(void *context) {
    struct watch *watch = context;
    for (int pass = 0; pass < 2; pass++) {
        struct bc_reader *reader = new_reader(watch->cache);
        CHECK(counting_source_drain(&watch->source, reader, 0) == BATCHES);
        bc_reader_unref(reader);
    }
    return NULL;
}

static void test_many_readers(void) {
    char *path = new_directory();
    for (uint64_t ahead = 1; ahead <= 1000; ahead *= 10) {
        struct watch watch;
        struct bc_cache_options options = prefetching(ahead);
        options.disk_path = ahead == 10 ? path : NULL;
        options.memory_capacity = ahead == 10 ? 1 : BC_BYTES_DEFAULT;
        start(&watch, &options);
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_create(&threads[i], NULL, drain, &watch) == 0);
        }
        for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(watch.calls == BATCHES + 1);
        finish(&watch);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

static void test_all_of_it_when_asked(void) {
    struct watch watch;
    struct bc_cache_options options = prefetching(1);
    start(&watch, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(watch.cache, 7, &batches, NULL) == 0 && batches >= 7);
    CHECK(bc_cache_ingest(watch.cache, &batches, NULL) == 0 && batches == BATCHES);
    struct ArrowArray array;
    CHECK(bc_cache_batch(watch.cache, 100, &array, NULL, NULL) == 0);
    counting_source_check(&watch.source, &array, 100);
    finish(&watch);
}

/* close does not wait for a stuck source. The prefetching thread releases the source. */
static void test_close_while_the_source_is_stuck(void) {
    struct watch watch;
    struct bc_cache_options options = prefetching(AHEAD);
    start(&watch, &options);
    atomic_store(&watch.stuck_at, 3);
    struct bc_reader *reader = new_reader(watch.cache);
    while (!atomic_load(&watch.is_stuck)) (void)sched_yield();
    struct ArrowArray array;
    for (int64_t i = 0; i < 3; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&watch.source, &array, i);
    }
    bc_cache_close(watch.cache);
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == EINVAL);
    bc_reader_unref(reader);
    CHECK(atomic_load(&watch.source.stream_alive) == 1);
    struct bc_cache *cache = watch.cache;
    watch.cache = NULL;
    bc_cache_unref(cache); /* the prefetching thread frees it */
    atomic_store(&watch.open, 1);
    finish(&watch);
}

/* A full budget stops the prefetching thread. A reader that needs the batch gets ENOMEM.
 * The reader and the thread continue once there is room. */
static void test_a_budget(void) {
    struct watch watch;
    struct bc_cache_options options = prefetching(AHEAD);
    options.max_readers = 1;
    options.memory_capacity = 400;
    start(&watch, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(watch.cache, &batches, NULL) == ENOMEM);
    CHECK(bc_cache_ingest(watch.cache, &batches, NULL) == ENOMEM);
    uint64_t full = recorded(watch.cache);
    CHECK(full > 0 && full < BATCHES);
    CHECK(watch.calls == (int64_t)full + 1);
    struct bc_reader *reader = new_reader(watch.cache);
    CHECK(counting_source_drain(&watch.source, reader, 0) == BATCHES);
    CHECK(watch.calls == BATCHES + 1);
    bc_reader_unref(reader);
    finish(&watch);
}

static void test_an_error_stays(void) {
    struct watch watch;
    struct bc_cache_options options = prefetching(1000);
    start(&watch, &options);
    watch.source.fail_at = 4;
    watch.source.fail_code = EPIPE;
    watch.source.fail_text = "the pipe broke";
    for (int pass = 0; pass < 2; pass++) {
        struct bc_reader *reader = new_reader(watch.cache);
        struct ArrowArray array;
        struct bc_error error = {0};
        for (int64_t i = 0; i < 4; i++) {
            CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
            counting_source_check(&watch.source, &array, i);
        }
        CHECK(bc_reader_next(reader, &array, NULL, &error) == EPIPE);
        CHECK(strcmp(error.message, "the pipe broke") == 0);
        bc_reader_unref(reader);
    }
    const char *words;
    CHECK(bc_cache_source_error(watch.cache, &words) == EPIPE);
    CHECK(strcmp(words, "the pipe broke") == 0);
    CHECK(watch.calls == 5);
    finish(&watch);
}

static void read_own_cache(void *context, int64_t n) {
    struct watch *watch = context;
    if (n != 2) return;
    struct ArrowArray array;
    CHECK(bc_cache_batch(watch->cache, 1, &array, NULL, NULL) == 0);
    counting_source_check(&watch->source, &array, 1);
    watch->code = bc_cache_batch(watch->cache, 2, &array, NULL, NULL);
}

static void test_a_source_that_reads_its_own_cache(void) {
    struct watch watch;
    struct bc_cache_options options = prefetching(1);
    start(&watch, &options);
    watch.source.before = read_own_cache;
    struct bc_reader *reader = new_reader(watch.cache);
    CHECK(counting_source_drain(&watch.source, reader, 0) == BATCHES);
    CHECK(watch.code == EDEADLK);
    bc_reader_unref(reader);
    finish(&watch);
}

static int refuse_once(void *context, struct bc_hook_state *state) {
    (void)state;
    return atomic_exchange((_Atomic int *)context, 0) ? ECANCELED : 0;
}

static void let(void *context, struct bc_hook_state *state) {
    (void)context;
    (void)state;
}

/* If a binding ends the prefetching thread, readers call the source themselves. */
static void test_a_thread_that_is_sent_home(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, 3);
    _Atomic int refuses = 1;
    const struct bc_hooks hooks = {refuse_once, let, NULL, &refuses};
    struct bc_cache_options options = prefetching(AHEAD);
    options.hooks = &hooks;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader *reader = new_reader(cache);
    while (atomic_load(&refuses)) (void)sched_yield();
    CHECK(counting_source_drain(&source, reader, 0) == BATCHES);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* The cache and its readers are dropped at any moment. */
static void test_dropped_at_once(void) {
    for (int i = 0; i < 100; i++) {
        struct watch watch;
        struct bc_cache_options options = prefetching(AHEAD);
        start(&watch, &options);
        struct bc_reader *reader = new_reader(watch.cache);
        struct ArrowArray array;
        for (int64_t k = 0; k < i % 7; k++) {
            CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
            counting_source_check(&watch.source, &array, k);
        }
        bc_reader_unref(reader);
        finish(&watch);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_stays_so_far_ahead),
        TAP_CASE(test_many_readers),
        TAP_CASE(test_all_of_it_when_asked),
        TAP_CASE(test_close_while_the_source_is_stuck),
        TAP_CASE(test_a_budget),
        TAP_CASE(test_an_error_stays),
        TAP_CASE(test_a_source_that_reads_its_own_cache),
        TAP_CASE(test_a_thread_that_is_sent_home),
        TAP_CASE(test_dropped_at_once),
    };
    return TAP_RUN(cases);
}
