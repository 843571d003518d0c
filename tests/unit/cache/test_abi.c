/* Structs of callers that were built with an older or a newer header, and the kinds of
 * errors. */
#include <limits.h>
#include <unistd.h>

#include "counting_source.h"
#include "recording_dir.h"
#include "save.h"

enum { BATCHES = 4, ROWS = 3 };

/* Options of a newer header. */
struct newer_options {
    struct bc_cache_options known;
    uint64_t unknown;
};

static void test_older_options(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.memory_capacity = 1 << 20;
    options.max_readers = 1;
    /* The struct in the caller's header ends after memory_capacity. */
    options.struct_size = offsetof(struct bc_cache_options, disk_capacity);
    struct bc_cache *cache = counting_source_cache(&source, &options);
    for (int i = 0; i < 2; i++) bc_reader_unref(new_reader(cache));
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.memory_capacity == 1 << 20 && stats.readers == 2);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void test_newer_options(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct ArrowArrayStream stream = counting_source_stream(&source);
    struct newer_options newer = {.known = BC_CACHE_OPTIONS_INIT, .unknown = 1};
    newer.known.struct_size = sizeof(newer);
    struct bc_cache *cache;
    struct bc_error error = {0};
    CHECK(bc_cache_new(&stream, &newer.known, &cache, &error) == E2BIG);
    CHECK(error.kind == BC_ERROR_INVALID && stream.release != NULL);
    newer.unknown = 0;
    CHECK(bc_cache_new(&stream, &newer.known, &cache, &error) == 0);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* An option that would have no effect is an error, and the source stays. */
static void test_options_of_recordings(void) {
    struct counting_source counting_source;
    counting_source_init(&counting_source, BATCHES, ROWS);
    struct ArrowArrayStream source = counting_source_stream(&counting_source);
    for (int i = 0; i < 2; i++) {
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.durable = i == 0;
        options.resume = i == 1;
        struct bc_cache *cache;
        struct bc_error error = {0};
        CHECK(bc_cache_new(&source, &options, &cache, &error) == EINVAL);
        CHECK(error.kind == BC_ERROR_INVALID && source.release != NULL);
    }
    source.release(&source);
    counting_source_check_released(&counting_source);
}

static void test_unknown_options(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct ArrowArrayStream stream = counting_source_stream(&source);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.statistics = BC_STATISTICS_NEVER + 1;
    struct bc_cache *cache;
    CHECK(bc_cache_new(&stream, &options, &cache, NULL) == EINVAL);
    CHECK(stream.release != NULL);
    stream.release(&stream);
    counting_source_check_released(&source);

    const struct bc_hooks no_leave = {.enter = idle_enter};
    struct bc_file_options opening = BC_FILE_OPTIONS_INIT;
    opening.hooks = &no_leave;
    CHECK(bc_file_open("there is none", &opening, &cache, NULL) == EINVAL);
}

static void test_no_size(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    struct bc_reader *reader;
    struct bc_error error = {0};
    static const size_t sizes[] = {0, sizeof(size_t) - 1, 1 << 20, SIZE_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        options.struct_size = sizes[i];
        CHECK(bc_cache_reader(cache, &options, &reader, &error) == EINVAL);
        CHECK(strstr(error.message, "initialiser") != NULL);
        struct bc_file_info info = {.struct_size = sizes[i], .kind = -1};
        CHECK(bc_cache_file_info(cache, &info, NULL, &error) == EINVAL);
        CHECK(info.kind == -1);
        struct bc_stats stats = {.struct_size = sizes[i]};
        bc_cache_stats(cache, &stats);
    }
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void check_untouched(const void *memory, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) CHECK(((const uint8_t *)memory)[i] == 0xaa);
}

static void test_older_results(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir.path;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);

    struct bc_stats stats;
    memset(&stats, 0xaa, sizeof(stats));
    stats.struct_size = offsetof(struct bc_stats, resumed);
    bc_cache_stats(cache, &stats);
    CHECK(stats.batches == BATCHES && stats.struct_size < sizeof(stats));
    check_untouched(&stats, offsetof(struct bc_stats, resumed), sizeof(stats));

    struct bc_file_info info;
    memset(&info, 0xaa, sizeof(info));
    info.struct_size = offsetof(struct bc_file_info, bytes);
    CHECK(bc_cache_file_info(cache, &info, NULL, NULL) == 0);
    CHECK(info.kind == BC_FILE_RECORDING && info.complete == 1);
    check_untouched(&info, offsetof(struct bc_file_info, bytes), sizeof(info));

    bc_cache_unref(cache);
    counting_source_check_released(&source);
    recording_dir_finish(&dir);
}

static void test_newer_results(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct {
        struct bc_stats known;
        uint64_t unknown;
    } stats = {.known = {.struct_size = sizeof(stats)}, .unknown = 1};
    bc_cache_stats(cache, &stats.known);
    CHECK(stats.unknown == 0 && stats.known.struct_size == sizeof(stats));
    struct {
        struct bc_file_info known;
        uint64_t unknown;
    } info = {.known = {.struct_size = sizeof(info)}, .unknown = 1};
    CHECK(bc_cache_file_info(cache, &info.known, NULL, NULL) == 0);
    CHECK(info.unknown == 0 && info.known.struct_size == sizeof(info));
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* An `out_` parameter is always set on success. */
static void test_out_parameters(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct ArrowArray array;
    struct bc_batch_info info;
    memset(&info, 0xaa, sizeof(info));
    CHECK(bc_cache_batch(cache, BATCHES, &array, &info, NULL) == 0);
    CHECK(array.release == NULL && info.rows == 0 && info.number == 0);
    const char *message = "untouched";
    CHECK(bc_cache_source_error(cache, &message) == 0 && message == NULL);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void test_kinds_of_caches(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.memory_capacity = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_error error = {0};
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, &error) == ENOMEM);
    CHECK(error.kind == BC_ERROR_OVER_BUDGET && error.code == ENOMEM);
    CHECK(bc_cache_publish(cache, &batches, &error) == EINVAL);
    CHECK(error.kind == BC_ERROR_NOT_ON_DISK);
    bc_cache_close(cache);
    CHECK(bc_cache_ingest(cache, &batches, &error) == EINVAL);
    CHECK(error.kind == BC_ERROR_CLOSED);
    bc_cache_unref(cache);
    counting_source_check_released(&source);

    counting_source_init(&source, BATCHES, ROWS);
    options = (struct bc_cache_options)BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    cache = counting_source_cache(&source, &options);
    struct bc_reader *reader = new_reader(cache);
    struct bc_reader *another;
    CHECK(bc_cache_reader(cache, NULL, &another, &error) == EINVAL);
    CHECK(error.kind == BC_ERROR_TOO_MANY);
    CHECK(counting_source_drain(&source, reader, 0) == BATCHES);
    struct ArrowArray array;
    CHECK(bc_cache_batch(cache, 0, &array, NULL, &error) == EINVAL);
    CHECK(error.kind == BC_ERROR_EVICTED);
    uint64_t number;
    uint64_t row;
    for (uint64_t i = 0; i <= BATCHES * ROWS; i++) {
        CHECK(bc_cache_find_row(cache, i, &number, &row, &error) == EINVAL);
        bool is_evicted = i < BATCHES * ROWS;
        CHECK(error.kind == (is_evicted ? BC_ERROR_EVICTED : BC_ERROR_INVALID));
    }
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* A source may return any errno. The kind of the error identifies a source error for
 * every reader. */
static void test_kind_of_sources(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    source.fail_at = 1;
    source.fail_code = ENOMEM;
    source.fail_text = "the source's own message";
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    for (int i = 0; i < 2; i++) {
        struct bc_error error = {0};
        uint64_t batches;
        CHECK(bc_cache_ingest(cache, &batches, &error) == ENOMEM);
        CHECK(error.kind == BC_ERROR_SOURCE);
        CHECK(strcmp(error.message, source.fail_text) == 0);
    }
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* A copy that fails because a batch of the cache cannot be read has the reader's kind. */
static void test_kind_of_a_failed_copy(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    recording_write(dir.path, source, UINT64_MAX);
    size_t size;
    char *bytes = file_read(dir.path, &size);
    char *text = memmem(bytes, size, "row 1", 5);
    CHECK(text != NULL);
    text[0] ^= 1;
    file_write(dir.path, bytes, size);
    free(bytes);
    struct bc_cache *cache;
    CHECK(bc_file_open(dir.path, NULL, &cache, NULL) == 0);
    /* A selection cannot be a link. */
    const int32_t columns[] = {1};
    CHECK(bc_cache_select(cache, columns, 1, NULL) == 0);
    struct bc_error error = {0};
    CHECK(save_cache(cache, dir.other, 0, 0, &error) == EBADMSG);
    CHECK(error.kind == BC_ERROR_CORRUPT && error.code == EBADMSG);
    CHECK(save_cache(cache, dir.other, 0, 0, NULL) == EBADMSG);
    bc_cache_unref(cache);
    recording_dir_finish_clean(&dir);
}

static int fail_to_enter(void *context, struct bc_hook_state *state) {
    (void)state;
    return *(const int *)context;
}

static void never_leave(void *context, struct bc_hook_state *state) {
    (void)context;
    (void)state;
    CHECK(false);
}

/* A callback of the caller may return any number. */
static void test_codes_that_are_no_errno(void) {
    static int codes[] = {-7, 1 << 16, 1 << 30, INT_MIN, INT_MAX};
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        struct counting_source source;
        counting_source_init(&source, BATCHES, ROWS);
        source.fail_at = 1;
        source.fail_code = codes[i];
        struct bc_cache *cache = counting_source_cache(&source, NULL);
        struct bc_error error = {0};
        uint64_t batches;
        CHECK(bc_cache_ingest(cache, &batches, &error) == EIO);
        CHECK(error.kind == BC_ERROR_SOURCE && error.code == EIO);
        bc_cache_unref(cache);

        counting_source_init(&source, BATCHES, ROWS);
        const struct bc_hooks hooks = {fail_to_enter, never_leave, NULL, &codes[i]};
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.hooks = &hooks;
        cache = counting_source_cache(&source, &options);
        CHECK(bc_cache_ingest(cache, &batches, &error) == EIO);
        CHECK(error.kind == BC_ERROR_CANCELLED && error.code == EIO);
        bc_cache_unref(cache);
        counting_source_check_released(&source);
    }
}

static int32_t kind_of_opening(const char *path) {
    struct bc_cache *cache;
    struct bc_error error = {0};
    CHECK(bc_file_open(path, NULL, &cache, &error) == error.code && error.code != 0);
    return error.kind;
}

static void test_kinds_of_files(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    CHECK(kind_of_opening(dir.path) == BC_ERROR_SYSTEM);
    file_write(dir.path, "no Arrow data at all", 20);
    CHECK(kind_of_opening(dir.path) == BC_ERROR_NOT_ARROW);
    CHECK(unlink(dir.path) == 0);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    recording_write(dir.path, source, UINT64_MAX);
    struct bc_cache *cache;
    CHECK(bc_file_open(dir.path, NULL, &cache, NULL) == 0);
    struct bc_error error = {0};
    CHECK(save_cache(cache, dir.path, 0, 0, &error) == EEXIST);
    CHECK(error.kind == BC_ERROR_EXISTS);
    bc_cache_unref(cache);
    size_t size;
    char *bytes = file_read(dir.path, &size);
    CHECK(unlink(dir.path) == 0);
    file_write(dir.path, bytes, size / 2 / 64 * 64);
    CHECK(kind_of_opening(dir.path) == BC_ERROR_INCOMPLETE);
    free(bytes);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_older_options),
        TAP_CASE(test_newer_options),
        TAP_CASE(test_options_of_recordings),
        TAP_CASE(test_unknown_options),
        TAP_CASE(test_no_size),
        TAP_CASE(test_older_results),
        TAP_CASE(test_newer_results),
        TAP_CASE(test_out_parameters),
        TAP_CASE(test_kinds_of_caches),
        TAP_CASE(test_kind_of_sources),
        TAP_CASE(test_kinds_of_files),
        TAP_CASE(test_codes_that_are_no_errno),
        TAP_CASE(test_kind_of_a_failed_copy),
    };
    return TAP_RUN(cases);
}
