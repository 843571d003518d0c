/* Many threads on one cache that functions read. Run under ThreadSanitizer. */
#include <pthread.h>

#include "object.h"

enum { THREADS = 8 };

struct shared {
    struct object object;
    struct counting_source expected;
    int64_t n_batches;
    struct bc_cache *cache;
    struct bc_reader *reader;
    _Atomic int seen[OBJECT_BATCHES];
    _Atomic int turn;
};

static struct shared *open_shared(int grows) {
    static struct shared shared;
    memset(&shared, 0, sizeof(shared));
    struct recording_dir dir;
    recording_dir_init(&dir);
    if (grows) {
        record_all(dir.path, 1);
    } else {
        object_record(dir.path);
    }
    object_init(&shared.object, dir.path);
    recording_dir_finish(&dir);
    shared.object.ahead_code = EAGAIN;
    shared.n_batches = grows ? BATCHES : OBJECT_BATCHES;
    counting_source_init(&shared.expected, shared.n_batches, grows ? ROWS : OBJECT_ROWS);
    shared.expected.grows = grows;
    shared.cache = object_cache(&shared.object);
    return &shared;
}

static void run(void *(*function)(void *), struct shared *shared) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, function, shared) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Reads all columns of each batch, or one column. */
static void *read_all(void *context) {
    struct shared *shared = context;
    if (atomic_fetch_add(&shared->turn, 1) % 2 == 0) {
        struct bc_reader *reader = new_reader(shared->cache);
        CHECK(counting_source_drain(&shared->expected, reader, 0) == shared->n_batches);
        bc_reader_unref(reader);
        return NULL;
    }
    static const int32_t column = 2;
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = &column;
    options.n_columns = 1;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(shared->cache, &options, &reader, NULL) == 0);
    for (int64_t n = 0;; n++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        if (array.release == NULL) {
            CHECK(n == shared->n_batches);
            break;
        }
        CHECK(array.n_children == 1 && array.children[0]->dictionary != NULL);
        array.release(&array);
    }
    bc_reader_unref(reader);
    return NULL;
}

static void test_readers_of_their_own(void) {
    for (int grows = 0; grows < 2; grows++) {
        struct shared *shared = open_shared(grows);
        run(read_all, shared);
        object_close(&shared->object, shared->cache);
    }
}

static void *read_shared(void *context) {
    struct shared *shared = context;
    for (;;) {
        struct ArrowArray array;
        struct bc_batch_info info;
        CHECK(bc_reader_next(shared->reader, &array, &info, NULL) == 0);
        if (array.release == NULL) return NULL;
        CHECK(atomic_fetch_add(&shared->seen[info.number], 1) == 0);
        counting_source_check(&shared->expected, &array, (int64_t)info.number);
    }
}

/* Each batch goes to one thread. */
static void test_one_reader(void) {
    struct shared *shared = open_shared(0);
    shared->reader = new_reader(shared->cache);
    run(read_shared, shared);
    for (int64_t i = 0; i < shared->n_batches; i++) CHECK(shared->seen[i] == 1);
    bc_reader_unref(shared->reader);
    object_close(&shared->object, shared->cache);
}

/* One thread closes the cache while seven threads read. */
static void *read_until_closed(void *context) {
    struct shared *shared = context;
    if (atomic_fetch_add(&shared->turn, 1) == THREADS / 2) {
        while (atomic_load(&shared->object.reads) < 40) continue;
        bc_cache_close(shared->cache);
        return NULL;
    }
    for (;;) {
        struct bc_reader *reader = NULL;
        struct bc_error error = {0};
        int code = bc_cache_reader(shared->cache, NULL, &reader, &error);
        for (int64_t n = 0; code == 0; n++) {
            struct ArrowArray array;
            code = bc_reader_next(reader, &array, NULL, &error);
            if (code != 0 || array.release == NULL) break;
            counting_source_check(&shared->expected, &array, n);
        }
        bc_reader_unref(reader);
        if (code == 0) continue;
        CHECK(code == EINVAL && strstr(error.message, "closed") != NULL);
        return NULL;
    }
}

static void test_close(void) {
    struct shared *shared = open_shared(0);
    run(read_until_closed, shared);
    CHECK(shared->object.releases == 1);
    object_close(&shared->object, shared->cache);
}

/* The file has no statistics, so that all threads gather them. */
static void *gather(void *context) {
    struct shared *shared = context;
    struct ArrowSchema schema;
    struct ArrowArray array;
    int32_t column = atomic_fetch_add(&shared->turn, 1) % 2;
    CHECK(bc_cache_statistics(shared->cache, &column, 1, &schema, &array, NULL) == 0);
    CHECK(array.length == shared->n_batches);
    schema.release(&schema);
    array.release(&array);
    return NULL;
}

static void test_statistics(void) {
    static struct shared shared;
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir.path;
    options.statistics = BC_STATISTICS_NEVER;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    bc_cache_unref(cache);
    object_init(&shared.object, dir.path);
    recording_dir_finish(&dir);
    shared.n_batches = BATCHES;
    shared.cache = object_cache(&shared.object);
    run(gather, &shared);
    object_close(&shared.object, shared.cache);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_readers_of_their_own), TAP_CASE(test_one_reader),
        TAP_CASE(test_close), TAP_CASE(test_statistics)};
    return TAP_RUN(cases);
}
