/* A recording, its readers and its followers at the same time, some of which are
 * closed. */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "counting_source.h"
#include "save.h"

enum { BATCHES = 200, ROWS = 7, READERS = 3, FOLLOWERS = 3, ROUNDS = 6 };

static char path[4200];

static void check_stream(struct bc_cache *cache, int64_t batches) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    atomic_store(&source.arrays_alive, batches);
    struct bc_reader *reader = new_reader(cache);
    CHECK(counting_source_drain(&source, reader, 0) == batches);
    bc_reader_unref(reader);
}

static void *read_along(void *argument) {
    check_stream(argument, BATCHES);
    return NULL;
}

static struct bc_cache *open_following(void) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *cache;
    CHECK(bc_file_open(path, &options, &cache, NULL) == 0);
    return cache;
}

static void *follow(void *argument) {
    (void)argument;
    struct bc_cache *cache = open_following();
    check_stream(cache, BATCHES);
    bc_cache_unref(cache);
    return NULL;
}

/* Follows until it is closed, or to the end. */
static void *follow_until_closed(void *argument) {
    struct bc_reader *reader = argument;
    for (;;) {
        struct ArrowArray array;
        int code = bc_reader_next(reader, &array, NULL, NULL);
        CHECK(code == 0 || code == EINVAL);
        if (code != 0 || array.release == NULL) break;
        array.release(&array);
    }
    bc_reader_unref(reader);
    return NULL;
}

/* Makes every call that returns no batch. */
static void *look(void *argument) {
    struct bc_cache *cache = argument;
    for (int i = 0; i < 300; i++) {
        struct bc_stats stats = {.struct_size = sizeof(stats)};
        bc_cache_stats(cache, &stats);
        struct bc_file_info info = {.struct_size = sizeof(info)};
        uint64_t columns[3];
        int code = bc_cache_file_info(cache, &info, columns, NULL);
        CHECK(code == 0 || code == EINVAL);
        uint64_t batch;
        uint64_t row;
        code = bc_cache_find_row(cache, stats.rows / 2, &batch, &row, NULL);
        CHECK(code == EINVAL || batch == stats.rows / 2 / ROWS);
        (void)bc_cache_is_being_written(cache);
        uint64_t batches;
        code = bc_cache_publish(cache, &batches, NULL);
        CHECK(code == EINVAL || batches >= stats.batches);
    }
    return NULL;
}

static void count_call(void *context, int64_t number) {
    (void)number;
    event_count(context);
}

static void run(int round) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    _Atomic int produced = 0;
    source.before = count_call;
    source.context = &produced;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.memory_capacity = round % 2 == 0 ? 0 : BC_BYTES_DEFAULT;
    options.prefetch = round % 3 == 2 ? 4 : 0;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_cache *closed = open_following();
    pthread_t threads[READERS + FOLLOWERS + 3];
    size_t n = 0;
    for (int i = 0; i < READERS; i++) {
        CHECK(pthread_create(&threads[n++], NULL, read_along, cache) == 0);
    }
    for (int i = 0; i < FOLLOWERS; i++) {
        CHECK(pthread_create(&threads[n++], NULL, follow, NULL) == 0);
    }
    CHECK(pthread_create(&threads[n++], NULL, look, cache) == 0);
    CHECK(pthread_create(&threads[n++], NULL, look, closed) == 0);
    CHECK(pthread_create(&threads[n++], NULL, follow_until_closed, new_reader(closed)) ==
          0);
    event_wait_for(&produced, round * BATCHES / ROUNDS);
    bc_cache_close(closed);
    for (size_t i = 0; i < n; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    bc_cache_unref(closed);
    bc_cache_unref(cache);
    counting_source_wait_released(&source);
    counting_source_check_released(&source);
    uint64_t batches;
    CHECK(bc_file_verify(path, NULL, &batches, NULL) == 0 && batches == BATCHES);
    CHECK(unlink(path) == 0);
}

static void test_written_read_and_followed(void) {
    char *directory = new_directory();
    (void)snprintf(path, sizeof(path), "%s/x.arrows", directory);
    for (int round = 0; round < ROUNDS; round++) run(round);
    CHECK(rmdir(directory) == 0);
    free(directory);
}

/* Many threads read an opened recording, none of whose slots has been read before. */
static void *read_at_random(void *argument) {
    struct bc_cache *cache = argument;
    uint64_t order[BATCHES];
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    atomic_store(&source.arrays_alive, BATCHES);
    bc_permutation((uint64_t)(uintptr_t)order, 0, BATCHES, order);
    for (int i = 0; i < BATCHES; i++) {
        struct ArrowArray array;
        CHECK(bc_cache_batch(cache, order[i], &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, (int64_t)order[i]);
    }
    return NULL;
}

static void test_opened_and_read_at_random(void) {
    char *directory = new_directory();
    (void)snprintf(path, sizeof(path), "%s/x.arrows", directory);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *saved = counting_source_cache(&source, NULL);
    CHECK(save_cache(saved, path, 0, 0, NULL) == 0);
    bc_cache_unref(saved);
    for (int copies = 0; copies < 2; copies++) {
        struct bc_file_options options = BC_FILE_OPTIONS_INIT;
        options.read_into_memory = copies;
        options.verify = 1;
        struct bc_cache *cache;
        CHECK(bc_file_open(path, &options, &cache, NULL) == 0);
        pthread_t threads[READERS];
        for (int i = 0; i < READERS; i++) {
            CHECK(pthread_create(&threads[i], NULL, read_at_random, cache) == 0);
        }
        for (int i = 0; i < READERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        bc_cache_unref(cache);
    }
    CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    free(directory);
}

/* ---- a writer whose block could not be written ---- */

enum { FAST_FROM = 64, RECORDED = 100 };

/* Stops the clock, so that all batches of a tick are fast and share a block. Then fills
 * the disk. */
static void fill_the_disk(void *context, int64_t number) {
    struct rlimit *limit = context;
    if (number == FAST_FROM) bc__fault_clock(1005);
    if (number != RECORDED - 1) return;
    struct stat status;
    CHECK(stat(path, &status) == 0 && getrlimit(RLIMIT_FSIZE, limit) == 0);
    const struct rlimit full = {(rlim_t)status.st_size, limit->rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &full) == 0);
}

/* Reads from batch `number` to an error or the end. Returns the next batch number. */
static int64_t read_on(struct bc_reader *reader, const struct counting_source *source,
                       int64_t number, int *out_code) {
    for (;; number++) {
        struct ArrowArray array;
        *out_code = bc_reader_next(reader, &array, NULL, NULL);
        if (*out_code != 0 || array.release == NULL) return number;
        counting_source_check(source, &array, number);
    }
}

/* A follower in the writer's process has the pending block written, or gets the error. */
static void test_a_follower_of_a_block_that_waits(void) {
    char *directory = new_directory();
    (void)snprintf(path, sizeof(path), "%s/x.arrows", directory);
    (void)signal(SIGXFSZ, SIG_IGN);
    bc__fault_clock(1000);
    struct rlimit limit;
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    source.before = fill_the_disk;
    source.context = &limit;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    struct bc_cache *writer = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(writer, RECORDED, &batches, NULL) != 0);
    bc__fault_clock(-1);
    struct bc_cache *follower = open_following();
    CHECK(bc_cache_is_being_written(follower) == 1 &&
          bc_cache_is_being_written(writer) == 0);
    struct bc_reader *reader = new_reader(follower);
    struct counting_source expected;
    counting_source_init(&expected, BATCHES, ROWS);
    atomic_store(&expected.arrays_alive, BATCHES);
    int code;
    int64_t n = read_on(reader, &expected, 0, &code);
    CHECK(code != 0 && n > 0 && n < RECORDED);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(read_on(reader, &expected, n, &code) == BATCHES && code == 0);
    bc_reader_unref(reader);
    bc_cache_close(follower);
    CHECK(bc_cache_is_being_written(follower) == 0);
    bc_cache_unref(follower);
    bc_cache_unref(writer);
    counting_source_check_released(&source);
    CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    free(directory);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_written_read_and_followed),
        TAP_CASE(test_opened_and_read_at_random),
        TAP_CASE(test_a_follower_of_a_block_that_waits),
    };
    return TAP_RUN(cases);
}
