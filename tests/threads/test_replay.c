/* Many threads on one cache. Run under ThreadSanitizer. */
#include <pthread.h>
#include <unistd.h>

#include "counting_source.h"

enum { THREADS = 8, BATCHES = 300 };

static void run(void *(*function)(void *), void *context, int n) {
    pthread_t threads[THREADS];
    CHECK(n <= THREADS);
    for (int i = 0; i < n; i++) {
        CHECK(pthread_create(&threads[i], NULL, function, context) == 0);
    }
    for (int i = 0; i < n; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

struct shared {
    struct counting_source source;
    struct bc_cache *cache;
    struct bc_reader *reader;
    _Atomic int64_t seen[BATCHES];
    _Atomic int64_t total;
};

static void *read_all(void *context) {
    struct shared *shared = context;
    for (int pass = 0; pass < 2; pass++) {
        struct bc_reader *reader = new_reader(shared->cache);
        CHECK(counting_source_drain(&shared->source, reader, 0) == BATCHES);
        bc_reader_unref(reader);
    }
    return NULL;
}

static void test_readers_of_their_own(void) {
    char *path = new_directory();
    for (int disk = 0; disk < 2; disk++) {
        static struct shared shared;
        memset(&shared, 0, sizeof(shared));
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        if (disk) {
            options.disk_path = path;
            options.memory_capacity = 4000; /* some in memory, most on disk */
        }
        counting_source_init(&shared.source, BATCHES, 5);
        shared.cache = counting_source_cache(&shared.source, &options);
        run(read_all, &shared, THREADS);
        struct bc_stats stats = {.struct_size = sizeof(stats)};
        bc_cache_stats(shared.cache, &stats);
        CHECK(stats.source_calls == BATCHES + 1);
        bc_cache_unref(shared.cache);
        counting_source_check_released(&shared.source);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

static void *read_shared(void *context) {
    struct shared *shared = context;
    for (;;) {
        struct ArrowArray array;
        struct bc_batch_info info;
        CHECK(bc_reader_next(shared->reader, &array, &info, NULL) == 0);
        if (array.release == NULL) return NULL;
        CHECK(atomic_fetch_add(&shared->seen[info.number], 1) == 0);
        atomic_fetch_add(&shared->total, 1);
        counting_source_check(&shared->source, &array, (int64_t)info.number);
    }
}

static void test_one_reader_shared(void) {
    for (uint64_t max_readers = 0; max_readers < 2; max_readers++) {
        static struct shared shared;
        memset(&shared, 0, sizeof(shared));
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.max_readers = max_readers;
        counting_source_init(&shared.source, BATCHES, 3);
        shared.cache = counting_source_cache(&shared.source, &options);
        shared.reader = new_reader(shared.cache);
        run(read_shared, &shared, THREADS);
        CHECK(shared.total == BATCHES);
        bc_reader_unref(shared.reader);
        bc_cache_unref(shared.cache);
        counting_source_check_released(&shared.source);
    }
}

static void *read_once(void *context) {
    struct shared *shared = context;
    struct bc_reader *reader = new_reader(shared->cache);
    CHECK(counting_source_drain(&shared->source, reader, 0) == BATCHES);
    bc_reader_unref(reader);
    return NULL;
}

/* Batches are evicted, and their pages punched, while other threads read. */
static void test_eviction(void) {
    char *path = new_directory();
    for (int disk = 0; disk < 2; disk++) {
        static struct shared shared;
        memset(&shared, 0, sizeof(shared));
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.max_readers = THREADS;
        if (disk) {
            options.disk_path = path;
            options.memory_capacity = 1;
        }
        counting_source_init(&shared.source, BATCHES, 3);
        shared.cache = counting_source_cache(&shared.source, &options);
        run(read_once, &shared, THREADS);
        struct bc_stats stats = {.struct_size = sizeof(stats)};
        bc_cache_stats(shared.cache, &stats);
        CHECK(stats.evicted == BATCHES && stats.memory_bytes == 0);
        CHECK(atomic_load(&shared.source.arrays_alive) == 0);
        bc_cache_unref(shared.cache);
        counting_source_check_released(&shared.source);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

enum { MANY = 4000 };

static void *ingest_or_read_many(void *context) {
    struct shared *shared = context;
    struct bc_reader *reader = new_reader(shared->cache);
    uint64_t batches = MANY;
    /* Half of the threads ingest first, so that small batches are written together. */
    if (atomic_fetch_add(&shared->total, 1) % 2 == 0) {
        CHECK(bc_cache_ingest(shared->cache, &batches, NULL) == 0);
    }
    CHECK(batches == MANY && counting_source_drain(&shared->source, reader, 0) == MANY);
    bc_reader_unref(reader);
    return NULL;
}

/* Batches are read before they are written, while they are, and after. */
static void test_many_small_batches_to_disk(void) {
    char *path = new_directory();
    for (uint64_t max_readers = 0; max_readers <= THREADS; max_readers += THREADS) {
        static struct shared shared;
        memset(&shared, 0, sizeof(shared));
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.max_readers = max_readers;
        options.disk_path = path;
        options.memory_capacity = 1;
        counting_source_init(&shared.source, MANY, 2);
        shared.cache = counting_source_cache(&shared.source, &options);
        run(ingest_or_read_many, &shared, THREADS);
        bc_cache_unref(shared.cache);
        counting_source_check_released(&shared.source);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

static void *read_until_closed(void *context) {
    struct shared *shared = context;
    struct bc_reader *reader;
    if (bc_cache_reader(shared->cache, NULL, &reader, NULL) != 0) return NULL;
    struct ArrowArray array;
    int64_t number = 0;
    while (bc_reader_next(reader, &array, NULL, NULL) == 0 && array.release != NULL) {
        counting_source_check(&shared->source, &array, number++);
        atomic_fetch_add(&shared->total, 1);
    }
    bc_reader_unref(reader);
    return NULL;
}

static void *close_soon(void *context) {
    struct shared *shared = context;
    while (atomic_load(&shared->total) < 50) sched_yield();
    bc_cache_close(shared->cache);
    return NULL;
}

static void test_close_while_reading(void) {
    char *path = new_directory();
    for (int round = 0; round < 20; round++) {
        static struct shared shared;
        memset(&shared, 0, sizeof(shared));
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        if (round % 2 == 1) {
            options.disk_path = path;
            options.memory_capacity = 1;
        }
        counting_source_init(&shared.source, BATCHES, 3);
        shared.cache = counting_source_cache(&shared.source, &options);
        pthread_t closer;
        CHECK(pthread_create(&closer, NULL, close_soon, &shared) == 0);
        run(read_until_closed, &shared, 4);
        CHECK(pthread_join(closer, NULL) == 0);
        counting_source_check_released(&shared.source);
        bc_cache_unref(shared.cache);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

/* Two threads run this at once. */
static void *leave_or_close(void *context) {
    struct shared *shared = context;
    bool leaves = atomic_fetch_add(&shared->total, 1) == 0;
    while (atomic_load(&shared->total) < 2) sched_yield();
    if (leaves) {
        bc_reader_unref(shared->reader);
    } else {
        bc_cache_close(shared->cache);
    }
    return NULL;
}

/* The close and the last reader release all batches at once. */
static void test_close_while_the_last_reader_leaves(void) {
    char *path = new_directory();
    for (int round = 0; round < 40; round++) {
        static struct shared shared;
        memset(&shared, 0, sizeof(shared));
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.max_readers = 1;
        if (round % 2 == 1) options.disk_path = path;
        counting_source_init(&shared.source, BATCHES, 1);
        shared.cache = counting_source_cache(&shared.source, &options);
        shared.reader = new_reader(shared.cache);
        uint64_t batches;
        CHECK(bc_cache_ingest(shared.cache, &batches, NULL) == 0 && batches == BATCHES);
        run(leave_or_close, &shared, 2);
        counting_source_check_released(&shared.source);
        bc_cache_unref(shared.cache);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

/* A source that blocks until the gate opens. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t at; /* stuck before this batch */
    int stuck;
    int open;
};

static void pass_gate(void *context, int64_t n) {
    struct gate *gate = context;
    if (n != gate->at) return;
    pthread_mutex_lock(&gate->lock);
    gate->stuck = 1;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open) pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void wait_until_stuck(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    while (!gate->stuck) pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void open_gate(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    gate->open = 1;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

/* While the source blocks, recorded batches are read, close returns and waiters wake. */
static void test_stuck_source_holds_up_nobody_else(void) {
    static struct shared shared;
    memset(&shared, 0, sizeof(shared));
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 3, 0, 0};
    counting_source_init(&shared.source, BATCHES, 3);
    shared.source.before = pass_gate;
    shared.source.context = &gate;
    shared.cache = counting_source_cache(&shared.source, NULL);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, read_until_closed, &shared) == 0);
    }
    wait_until_stuck(&gate);
    /* Each of the three threads has released the recorded batches. */
    while (atomic_load(&shared.total) < 9) sched_yield();
    struct bc_reader *reader = new_reader(shared.cache);
    struct ArrowArray array;
    for (int64_t i = 0; i < 3; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&shared.source, &array, i);
    }
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(shared.cache, &stats);
    CHECK(stats.batches == 3 && !stats.exhausted);
    bc_cache_close(shared.cache);
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == EINVAL);
    CHECK(atomic_load(&shared.source.arrays_alive) == 0);
    CHECK(atomic_load(&shared.source.stream_alive) == 1); /* the producer is inside */
    open_gate(&gate);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    counting_source_check_released(&shared.source);
    bc_reader_unref(reader);
    bc_cache_unref(shared.cache);
}

/* Two caches that feed each other. Batch k of `left` needs batch k - 1 of `right`. Batch
 * k of `right` needs batch k of `left`. */
struct pair {
    struct counting_source left, right;
    struct bc_cache *left_cache, *right_cache;
    struct bc_reader *of_left, *of_right;
};

static void take_one(struct bc_reader *reader) {
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    if (array.release != NULL) array.release(&array);
}

static void before_left(void *context, int64_t n) {
    struct pair *pair = context;
    if (n > 0) take_one(pair->of_right);
}

static void before_right(void *context, int64_t n) {
    struct pair *pair = context;
    if (n < BATCHES) take_one(pair->of_left);
}

static void *ingest(void *context) {
    uint64_t batches;
    CHECK(bc_cache_ingest(context, &batches, NULL) == 0 && batches == BATCHES);
    return NULL;
}

/* No thread waits for itself here, so no call may return EDEADLK. */
static void test_caches_that_feed_each_other(void) {
    for (int round = 0; round < 10; round++) {
        static struct pair pair;
        counting_source_init(&pair.left, BATCHES, 1);
        counting_source_init(&pair.right, BATCHES, 1);
        pair.left.before = before_left;
        pair.right.before = before_right;
        pair.left.context = pair.right.context = &pair;
        pair.left_cache = counting_source_cache(&pair.left, NULL);
        pair.right_cache = counting_source_cache(&pair.right, NULL);
        pair.of_left = new_reader(pair.left_cache);
        pair.of_right = new_reader(pair.right_cache);
        pthread_t threads[2];
        CHECK(pthread_create(&threads[0], NULL, ingest, pair.left_cache) == 0);
        CHECK(pthread_create(&threads[1], NULL, ingest, pair.right_cache) == 0);
        for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        bc_reader_unref(pair.of_left);
        bc_reader_unref(pair.of_right);
        bc_cache_unref(pair.left_cache);
        bc_cache_unref(pair.right_cache);
        counting_source_check_released(&pair.left);
        counting_source_check_released(&pair.right);
    }
}

/* The release of an array that blocks in the middle of an eviction. */
static struct gate eviction_gate;
static _Atomic int releases;

static void stuck_release(struct ArrowArray *array) {
    if (atomic_fetch_add(&releases, 1) == 5) pass_gate(&eviction_gate, 0);
    counting_source_release_array(array);
}

static int next_with_stuck_release(struct ArrowArrayStream *stream,
                                   struct ArrowArray *out) {
    int code = counting_source_next(stream, out);
    if (out->release != NULL) out->release = stuck_release;
    return code;
}

static void *drop_reader(void *context) {
    bc_reader_unref(context);
    return NULL;
}

static void pass_batches(const struct counting_source *source, struct bc_reader *reader,
                         int64_t first, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(source, &array, first + i);
    }
}

/* A reader moves while another thread evicts up to an older mark. The batches behind the
 * reader must be evicted too. */
static void test_eviction_goes_on_after_one_that_was_stuck(void) {
    eviction_gate =
        (struct gate){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0};
    struct counting_source source;
    counting_source_init(&source, BATCHES, 3);
    struct ArrowArrayStream stream = counting_source_stream(&source);
    stream.get_next = next_with_stuck_release;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 2;
    struct bc_cache *cache;
    CHECK(bc_cache_new(&stream, &options, &cache, NULL) == 0);
    struct bc_reader *dropped = new_reader(cache);
    struct bc_reader *reader = new_reader(cache);
    pass_batches(&source, reader, 0, 10);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, drop_reader, dropped) == 0);
    wait_until_stuck(&eviction_gate);
    pass_batches(&source, reader, 10, 3);
    open_gate(&eviction_gate);
    CHECK(pthread_join(thread, NULL) == 0);
    pass_batches(&source, reader, 13, 100);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.evicted == 113 && stats.memory_bytes == 0);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void *release_part(void *context) {
    struct ArrowArray *part = context;
    part->release(part);
    return NULL;
}

static void test_parts_released_on_other_threads(void) {
    for (int round = 0; round < 50; round++) {
        struct counting_source source;
        counting_source_init(&source, 1, 4);
        struct bc_cache *cache = counting_source_cache(&source, NULL);
        struct bc_reader *reader = new_reader(cache);
        struct ArrowArray parts[3];
        CHECK(bc_reader_next(reader, &parts[0], NULL, NULL) == 0);
        for (int c = 0; c < 2; c++) {
            parts[c + 1] = *parts[0].children[c];
            parts[0].children[c]->release = NULL;
        }
        pthread_t threads[3];
        for (int i = 0; i < 3; i++) {
            CHECK(pthread_create(&threads[i], NULL, release_part, &parts[i]) == 0);
        }
        bc_reader_unref(reader);
        bc_cache_unref(cache);
        for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        counting_source_check_released(&source);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_readers_of_their_own),
        TAP_CASE(test_one_reader_shared),
        TAP_CASE(test_eviction),
        TAP_CASE(test_many_small_batches_to_disk),
        TAP_CASE(test_close_while_reading),
        TAP_CASE(test_close_while_the_last_reader_leaves),
        TAP_CASE(test_stuck_source_holds_up_nobody_else),
        TAP_CASE(test_caches_that_feed_each_other),
        TAP_CASE(test_eviction_goes_on_after_one_that_was_stuck),
        TAP_CASE(test_parts_released_on_other_threads)};
    return TAP_RUN(cases);
}
