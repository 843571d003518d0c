/* Many threads wait for one thread that produces the batches. Each thread gets its batch,
 * although other threads are interrupted, fail or close the cache. */
#include <pthread.h>
#include <sched.h>

#include "counting_source.h"

enum {
    BATCHES = 12,
    ROWS = 3,
    THREADS = 200,
    STACK = 1 << 17,
    CLOSE_AT = 3,
    YIELDS = 20
};

struct scene {
    struct counting_source source;
    struct bc_cache *cache;
    _Atomic int64_t given;
    _Atomic int begun;    /* threads that are about to ask */
    _Atomic int produced; /* calls of the source */
    _Atomic int closed;
    _Atomic int ended; /* threads that reached the end, or the error in `code` */
    int code;
};

static _Thread_local int polls_left = -1;

static int poll(void *context) {
    (void)context;
    if (polls_left < 0) return 0;
    return polls_left-- == 0 ? EINTR : 0;
}

static const struct bc_hooks hooks = {idle_enter, idle_leave, poll, NULL};

/* Called before batch `n` is made: lets the other threads run up to it. Before the first
 * batch all threads begin, and batch CLOSE_AT waits for the close, if there is one. */
static void let_wait(void *context, int64_t n) {
    struct scene *scene = context;
    event_wait_for(&scene->begun, THREADS);
    event_count(&scene->produced);
    if (scene->code == EINVAL && n + 1 == CLOSE_AT) event_wait_for(&scene->closed, 1);
    for (int i = 0; i < YIELDS; i++) (void)sched_yield();
}

static void *read_all(void *context) {
    struct scene *scene = context;
    struct bc_reader *reader = new_reader(scene->cache);
    event_count(&scene->begun);
    for (int64_t number = 0;; number++) {
        struct ArrowArray array;
        int code = bc_reader_next(reader, &array, NULL, NULL);
        CHECK(code == 0 || code == scene->code);
        if (code != 0 || array.release == NULL) break;
        counting_source_check(&scene->source, &array, number);
        atomic_fetch_add(&scene->given, 1);
    }
    atomic_fetch_add(&scene->ended, 1);
    bc_reader_unref(reader);
    return NULL;
}

/* Reads to the end, with an interruption of each call. */
static void *read_interrupted(void *context) {
    struct scene *scene = context;
    struct bc_reader *reader = new_reader(scene->cache);
    event_count(&scene->begun);
    for (int64_t number = 0;;) {
        struct ArrowArray array;
        polls_left = 0;
        int code = bc_reader_next(reader, &array, NULL, NULL);
        CHECK(code == 0 || code == EINTR);
        if (code != 0) continue;
        if (array.release == NULL) break;
        counting_source_check(&scene->source, &array, number++);
        atomic_fetch_add(&scene->given, 1);
    }
    atomic_fetch_add(&scene->ended, 1);
    bc_reader_unref(reader);
    return NULL;
}

/* Waits for a later batch, or for the end. */
static void *ingest_far(void *context) {
    struct scene *scene = context;
    static _Atomic uint64_t turn;
    event_count(&scene->begun);
    uint64_t wanted = atomic_fetch_add(&turn, 1) % (BATCHES + 2);
    uint64_t batches;
    int code = bc_cache_ingest_to(scene->cache, wanted, &batches, NULL);
    CHECK(code == 0 || code == scene->code);
    CHECK(code != 0 || batches >= (wanted < BATCHES ? wanted : BATCHES));
    atomic_fetch_add(&scene->ended, 1);
    return NULL;
}

static void run(struct scene *scene, const struct bc_cache_options *options,
                void *(*const *lives)(void *), int n_lives) {
    scene->source.before = let_wait;
    scene->source.context = scene;
    scene->cache = counting_source_cache(&scene->source, options);
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, STACK) == 0);
    static pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], &attributes, lives[i % n_lives], scene) == 0);
    }
    if (scene->code == EINVAL) {
        event_wait_for(&scene->produced, CLOSE_AT);
        bc_cache_close(scene->cache);
        event_store(&scene->closed, 1);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    CHECK(atomic_load(&scene->ended) == THREADS);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(scene->cache, &stats);
    CHECK(stats.waiting == 0 && stats.readers <= THREADS);
    bc_cache_unref(scene->cache);
    counting_source_wait_released(&scene->source);
    counting_source_check_released(&scene->source);
}

static void *(*const all_kinds[])(void *) = {read_all, read_interrupted, ingest_far};
static void *(*const readers[])(void *) = {read_all};

static void test_each_has_its_batch(void) {
    for (uint64_t prefetch = 0; prefetch < 6; prefetch += 3) {
        struct scene scene = {.code = 0};
        counting_source_init(&scene.source, BATCHES, ROWS);
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.hooks = &hooks;
        options.prefetch = prefetch;
        run(&scene, &options, all_kinds, 3);
        CHECK(scene.given == (int64_t)BATCHES * (THREADS - THREADS / 3));
    }
}

static void test_the_source_fails(void) {
    for (int64_t at = 0; at < BATCHES; at += 5) {
        struct scene scene = {.code = EPIPE};
        counting_source_init(&scene.source, BATCHES, ROWS);
        scene.source.fail_at = at;
        scene.source.fail_code = EPIPE;
        scene.source.fail_text = "the pipe broke";
        run(&scene, NULL, readers, 1);
        CHECK(scene.given == at * THREADS);
    }
}

static void test_closing_wakes_all(void) {
    struct scene scene = {.code = EINVAL};
    counting_source_init(&scene.source, 1000, ROWS);
    run(&scene, NULL, readers, 1);
}

/* If a batch does not fit, each thread that waits for it gets ENOMEM. */
static void test_a_budget_refuses(void) {
    for (uint64_t prefetch = 0; prefetch < 6; prefetch += 3) {
        struct scene scene = {.code = ENOMEM};
        counting_source_init(&scene.source, BATCHES, 400);
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.memory_capacity = 40000;
        options.prefetch = prefetch;
        run(&scene, &options, readers, 1);
        CHECK(scene.given > 0 && scene.given < (int64_t)BATCHES * THREADS);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_each_has_its_batch),
        TAP_CASE(test_the_source_fails),
        TAP_CASE(test_closing_wakes_all),
        TAP_CASE(test_a_budget_refuses),
    };
    return TAP_RUN(cases);
}
