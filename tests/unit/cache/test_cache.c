/* The whole library on one thread: both tiers, errors, budgets, eviction, closing. */
#include <unistd.h>

#include "counting_source.h"

static void remove_directory(char *path) {
    /* rmdir succeeds only if every cache has removed its files. */
    CHECK(rmdir(path) == 0);
    free(path);
}

static void replay_twice(const struct bc_cache_options *options, int in_memory) {
    struct counting_source source;
    counting_source_init(&source, 20, 7);
    struct bc_cache *cache = counting_source_cache(&source, options);
    for (int pass = 0; pass < 2; pass++) {
        struct bc_reader *reader = new_reader(cache);
        CHECK(counting_source_drain(&source, reader, 0) == 20);
        CHECK(counting_source_drain(&source, reader, 20) == 20);
        bc_reader_unref(reader);
    }
    CHECK(atomic_load(&source.stream_alive) == 0);
    CHECK(atomic_load(&source.arrays_alive) == (in_memory ? 20 : 0));
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.batches == 20 && stats.rows == 140 && stats.exhausted == 1);
    CHECK(stats.source_calls == 21);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void test_memory(void) { replay_twice(NULL, 1); }

static void test_disk(void) {
    char *path = new_directory();
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = path;
    replay_twice(&options, 1);
    options.memory_capacity = 1;
    replay_twice(&options, 0);
    options.write_policy = BC_WRITE_ON_EVICTION;
    replay_twice(&options, 0);
    options.memory_capacity = BC_BYTES_DEFAULT;
    replay_twice(&options, 1);
    remove_directory(path);
}

static void test_arrays_outlive_everything(void) {
    char *path = new_directory();
    for (int disk = 0; disk < 2; disk++) {
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        if (disk) {
            options.disk_path = path;
            options.memory_capacity = 1;
        }
        struct counting_source source;
        counting_source_init(&source, 3, 5000);
        struct bc_cache *cache = counting_source_cache(&source, &options);
        struct bc_reader *reader = new_reader(cache);
        struct ArrowArray arrays[3];
        for (int i = 0; i < 3; i++) {
            CHECK(bc_reader_next(reader, &arrays[i], NULL, NULL) == 0);
        }
        bc_cache_close(cache);
        bc_reader_unref(reader);
        bc_cache_unref(cache);
        for (int i = 0; i < 3; i++) counting_source_check(&source, &arrays[i], i);
        counting_source_check_released(&source);
    }
    remove_directory(path);
}

static void test_source_errors_stay(void) {
    for (int64_t at = 0; at < 4; at++) {
        struct counting_source source;
        counting_source_init(&source, 10, 3);
        source.fail_at = at;
        source.fail_code = ENOTCONN;
        source.fail_text = "the wire broke";
        struct bc_cache *cache = counting_source_cache(&source, NULL);
        for (int pass = 0; pass < 3; pass++) {
            struct bc_reader *reader = new_reader(cache);
            struct ArrowArray array;
            struct bc_error error = {0};
            for (int64_t i = 0; i < at; i++) {
                CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
                counting_source_check(&source, &array, i);
            }
            for (int again = 0; again < 2; again++) {
                CHECK(bc_reader_next(reader, &array, NULL, &error) == ENOTCONN);
                CHECK(strcmp(error.message, "the wire broke") == 0);
            }
            uint64_t batches;
            CHECK(bc_cache_ingest(cache, &batches, NULL) == ENOTCONN);
            bc_reader_unref(reader);
            source.fail_at = -1; /* the source would work again, but is not called */
        }
        CHECK(atomic_load(&source.stream_alive) == 0);
        bc_cache_unref(cache);
        counting_source_check_released(&source);
    }
}

static void test_source_without_words(void) {
    struct counting_source source;
    counting_source_init(&source, 1, 1);
    source.fail_at = 0;
    source.fail_code = -1;
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct bc_error error = {0};
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, &error) == EIO);
    CHECK(strlen(error.message) > 10);
    bc_cache_unref(cache);
}

/* A batch that does not fit is kept until readers have moved past other batches. */
static void test_budget_loses_nothing(void) {
    struct counting_source source;
    counting_source_init(&source, 10, 100);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.memory_capacity = 5000;
    options.max_readers = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_error error = {0};
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, &error) == ENOMEM);
    CHECK(strcmp(error.message, "Memory cache capacity (5000 bytes) exceeded") == 0);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.batches > 0 && stats.batches < 10 && stats.memory_bytes <= 5000);
    int64_t calls = (int64_t)stats.source_calls;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == ENOMEM);
    bc_cache_stats(cache, &stats);
    CHECK((int64_t)stats.source_calls == calls);
    struct bc_reader *reader = new_reader(cache);
    CHECK(counting_source_drain(&source, reader, 0) == 10);
    bc_cache_stats(cache, &stats);
    CHECK(stats.evicted == 10 && stats.memory_bytes == 0);
    CHECK(atomic_load(&source.arrays_alive) == 0);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void test_disk_budget(void) {
    char *path = new_directory();
    struct counting_source source;
    counting_source_init(&source, 50, 100);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = path;
    options.disk_capacity = 20000;
    options.memory_capacity = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_error error = {0};
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, &error) == ENOMEM);
    CHECK(strstr(error.message, "Disk cache capacity (20000 bytes) exceeded: ") != NULL);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.disk_bytes <= 20000 && stats.batches > 0);
    struct bc_reader *reader = new_reader(cache);
    struct ArrowArray array;
    for (int64_t i = 0; i < (int64_t)stats.batches; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, i);
    }
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == ENOMEM);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
    remove_directory(path);
}

static void test_readers_max(void) {
    struct counting_source source;
    counting_source_init(&source, 6, 4);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 2;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader *first = new_reader(cache);
    CHECK(counting_source_drain(&source, first, 0) == 6);
    CHECK(atomic_load(&source.arrays_alive) == 6); /* the second reader may still come */
    struct bc_reader *second = new_reader(cache);
    struct ArrowArray array;
    for (int64_t i = 0; i < 3; i++) {
        CHECK(bc_reader_next(second, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, i);
        CHECK(atomic_load(&source.arrays_alive) == 5 - i);
    }
    struct bc_reader *third = NULL;
    struct bc_error error = {0};
    CHECK(bc_cache_reader(cache, NULL, &third, &error) == EINVAL && !third);
    CHECK(strcmp(error.message, "Maximum number of readers (2) has been reached") == 0);
    bc_reader_unref(second); /* orphaned: it keeps no batch */
    CHECK(atomic_load(&source.arrays_alive) == 0);
    bc_reader_unref(first);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* The source reads the cache that it feeds. */
struct loop {
    struct bc_cache *cache;
    int code;
};

static void read_own_cache(void *context, int64_t n) {
    struct loop *loop = context;
    struct bc_reader *reader = new_reader(loop->cache);
    struct ArrowArray array;
    for (int64_t i = 0; i < n; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        array.release(&array);
    }
    loop->code = bc_reader_next(reader, &array, NULL, NULL);
    bc_reader_unref(reader);
}

static void test_reentry_is_refused(void) {
    struct loop loop = {NULL, 0};
    struct counting_source source;
    counting_source_init(&source, 5, 2);
    source.before = read_own_cache;
    source.context = &loop;
    loop.cache = counting_source_cache(&source, NULL);
    struct bc_reader *reader = new_reader(loop.cache);
    CHECK(counting_source_drain(&source, reader, 0) == 5);
    CHECK(loop.code == EDEADLK);
    bc_reader_unref(reader);
    bc_cache_unref(loop.cache);
    counting_source_check_released(&source);
}

static void test_close(void) {
    struct counting_source source;
    counting_source_init(&source, 5, 2);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct bc_reader *reader = new_reader(cache);
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    bc_cache_close(cache);
    bc_cache_close(cache);
    CHECK(atomic_load(&source.stream_alive) == 0);
    CHECK(atomic_load(&source.arrays_alive) == 1); /* the one in this test */
    counting_source_check(&source, &array, 0);
    struct bc_error error = {0};
    CHECK(bc_reader_next(reader, &array, NULL, &error) == EINVAL);
    CHECK(strcmp(error.message, "Dataset has been closed") == 0);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == EINVAL);
    struct bc_reader *late;
    CHECK(bc_cache_reader(cache, NULL, &late, NULL) == EINVAL);
    CHECK(bc_reader_skip(reader, 1) == EINVAL);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void test_stream_contract(void) {
    struct counting_source source;
    counting_source_init(&source, 2, 2);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct ArrowArrayStream first;
    CHECK(bc_cache_stream(cache, &first, NULL) == 0);
    bc_cache_unref(cache);                  /* the stream keeps the recording */
    struct ArrowArrayStream stream = first; /* moved */
    for (int i = 0; i < 2; i++) {
        struct ArrowSchema schema;
        CHECK(stream.get_schema(&stream, &schema) == 0);
        CHECK(strcmp(schema.format, "+s") == 0 && schema.n_children == 3);
        schema.release(&schema);
    }
    struct ArrowArray array;
    for (int i = 0; i < 2; i++) {
        CHECK(stream.get_next(&stream, &array) == 0);
        counting_source_check(&source, &array, i);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(stream.get_next(&stream, &array) == 0 && array.release == NULL);
    }
    stream.release(&stream);
    CHECK(stream.release == NULL);
    counting_source_check_released(&source);
}

static void test_reservations_yield_to_batches(void) {
    struct counting_source source;
    counting_source_init(&source, 2, 100);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.memory_capacity = 4096;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    CHECK(bc_cache_reserve(cache, 4096) == 1);
    CHECK(bc_cache_reserve(cache, 1) == 0);
    struct bc_reader *reader = new_reader(cache);
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    counting_source_check(&source, &array, 0);
    CHECK(bc_cache_is_overcommitted(cache) == 1);
    bc_cache_unreserve(cache, 4096);
    CHECK(bc_cache_is_overcommitted(cache) == 0);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
}

static void test_skip(void) {
    struct counting_source source;
    counting_source_init(&source, 3, 2);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct bc_reader *reader = new_reader(cache);
    CHECK(bc_reader_skip(reader, 0) == EAGAIN); /* not recorded yet */
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == 3);
    CHECK(bc_reader_skip(reader, 1) == EAGAIN);
    CHECK(bc_reader_skip(reader, 0) == 0 && bc_reader_position(reader) == 1);
    CHECK(counting_source_drain(&source, reader, 1) == 3);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_memory),
                                            TAP_CASE(test_disk),
                                            TAP_CASE(test_arrays_outlive_everything),
                                            TAP_CASE(test_source_errors_stay),
                                            TAP_CASE(test_source_without_words),
                                            TAP_CASE(test_budget_loses_nothing),
                                            TAP_CASE(test_disk_budget),
                                            TAP_CASE(test_readers_max),
                                            TAP_CASE(test_reentry_is_refused),
                                            TAP_CASE(test_close),
                                            TAP_CASE(test_stream_contract),
                                            TAP_CASE(test_reservations_yield_to_batches),
                                            TAP_CASE(test_skip)};
    return TAP_RUN(cases);
}
