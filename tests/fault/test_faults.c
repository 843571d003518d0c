/* Every allocation and every system call fails once, at each place in turn: the error is
 * reported, nothing is lost or leaked, and a second try succeeds. */
#include <unistd.h>

#include "base/fault.h"
#include "fixture.h"

enum { BATCHES = 4, ROWS = 40 };

/* Tries until it works: `failures` counts the tries that did not. */
static struct bc_cache *make(struct fixture *fixture,
                             const struct bc_cache_options *options, int *failures) {
    struct ArrowArrayStream stream = fixture_stream(fixture);
    for (;;) {
        struct bc_cache *cache = NULL;
        struct bc_error error = {0, ""};
        if (bc_cache_new(&stream, options, &cache, &error) == 0) return cache;
        CHECK(cache == NULL && stream.release != NULL && error.message[0] != '\0');
        CHECK(fixture->next == 0);
        ++*failures;
    }
}

static struct bc_reader *make_reader(struct bc_cache *cache, int *failures) {
    struct bc_reader *reader;
    while (bc_cache_reader(cache, NULL, &reader, NULL) != 0) ++*failures;
    return reader;
}

/* Records and replays twice; how many calls failed on the way. */
static int campaign(const struct bc_cache_options *options) {
    struct fixture fixture;
    fixture_init(&fixture, BATCHES, ROWS);
    int failures = 0;
    struct bc_cache *cache = make(&fixture, options, &failures);
    for (int pass = 0; pass < 2; pass++) {
        struct bc_reader *reader = make_reader(cache, &failures);
        for (int64_t number = 0;;) {
            struct ArrowArray array;
            struct bc_error error = {0, ""};
            int code = bc_reader_next(reader, &array, NULL, &error);
            if (code != 0) {
                CHECK(code == error.code && error.message[0] != '\0');
                failures++;
                CHECK(failures < 5);
                continue;
            }
            if (array.release == NULL) {
                CHECK(number == BATCHES);
                break;
            }
            fixture_check(&fixture, &array, number++);
        }
        bc_reader_unref(reader);
    }
    bc_cache_unref(cache);
    fixture_check_released(&fixture);
    return failures;
}

/* Fails call number 1, 2, 3, ... until a run needs fewer calls than that. Gives the
 * number of places. */
static unsigned long sweep(enum bc_fault_kind kind, int code,
                           const struct bc_cache_options *options) {
    for (unsigned long nth = 1;; nth++) {
        CHECK(nth < 10000);
        bc__fault_arm(kind, nth, code);
        int failures = campaign(options);
        int fired = bc__fault_fired(kind);
        bc__fault_arm(kind, 0, 0);
        if (!fired) {
            CHECK(failures == 0);
            return nth - 1;
        }
        /* At most one call sees it; one byte at a time and interruptions are no failures
         * at all, and some are made good for: a batch for which memory has no room is
         * still written to disk. */
        CHECK(failures <= (code == -1 || code == EINTR ? 0 : 1));
    }
}

static void test_memory_allocations(void) {
    CHECK(sweep(BC_FAULT_ALLOC, ENOMEM, NULL) > 10);
}

static void on_disk(enum bc_fault_kind kind, int code, enum bc_write_policy policy) {
    char *path = fixture_directory();
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = path;
    options.memory_bytes_max = policy == BC_WRITE_ON_INSERTION ? 1 : 1000;
    options.write_policy = policy;
    CHECK(sweep(kind, code, &options) > 5);
    CHECK(rmdir(path) == 0);
    free(path);
}

static void test_disk_allocations(void) {
    on_disk(BC_FAULT_ALLOC, ENOMEM, BC_WRITE_ON_INSERTION);
    on_disk(BC_FAULT_ALLOC, ENOMEM, BC_WRITE_ON_EVICTION);
}

static void test_compression(void) {
    char *path = fixture_directory();
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = path;
    options.memory_bytes_max = 1;
    for (int codec = BC_COMPRESSION_LZ4; codec <= BC_COMPRESSION_ZSTD; codec++) {
        options.compression = codec;
        CHECK(sweep(BC_FAULT_ALLOC, ENOMEM, &options) > 5);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

/* With room given back, and many batches asked for at once. */
static void test_eviction_on_disk(void) {
    char *path = fixture_directory();
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = path;
    options.memory_bytes_max = 1;
    options.readers_max = 2;
    CHECK(sweep(BC_FAULT_ALLOC, ENOMEM, &options) > 5);
    CHECK(sweep(BC_FAULT_SYS, EIO, &options) > 5);
    CHECK(rmdir(path) == 0);
    free(path);
}

static void test_disk_calls(void) {
    static const int codes[] = {EIO, ENOSPC, EACCES, EMFILE, ENOMEM};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        on_disk(BC_FAULT_SYS, codes[i], BC_WRITE_ON_INSERTION);
    }
    on_disk(BC_FAULT_SYS, EIO, BC_WRITE_ON_EVICTION);
}

static void test_short_writes_and_interruptions(void) {
    on_disk(BC_FAULT_SYS, -1, BC_WRITE_ON_INSERTION);
    on_disk(BC_FAULT_SYS, EINTR, BC_WRITE_ON_INSERTION);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_memory_allocations), TAP_CASE(test_disk_allocations),
        TAP_CASE(test_eviction_on_disk),   TAP_CASE(test_compression),
        TAP_CASE(test_disk_calls),         TAP_CASE(test_short_writes_and_interruptions)};
    return TAP_RUN(cases);
}
