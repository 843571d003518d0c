/* Files that are read while they are written. */
#include <pthread.h>

#include "recording.h"

static _Atomic int followed; /* batches that the follower has read */

static void *follow(void *argument) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *cache;
    CHECK(bc_file_open(argument, &options, &cache, NULL) == 0);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    atomic_store(&source.arrays_alive, BATCHES);
    struct bc_reader *reader = new_reader(cache);
    for (int64_t i = 0; i < BATCHES; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, i);
        event_count(&followed);
    }
    CHECK(counting_source_drain(&source, reader, BATCHES) == BATCHES);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    return NULL;
}

static void test_follow(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    struct bc_cache *cache = start_recording(&source, dir.path, 0, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, follow, dir.path) == 0);
    for (uint64_t i = 0; i <= BATCHES; i++) {
        uint64_t batches;
        event_wait_for(&followed, (int)i);
        CHECK(bc_cache_ingest_to(cache, i + 1, &batches, NULL) == 0);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    bc_cache_unref(cache);
    CHECK(unlink(dir.path) == 0);
    /* The writer is closed early. */
    cache = start_recording(&source, dir.path, 0, 0);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(cache, 2, &batches, NULL) == 0);
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *follower;
    CHECK(bc_file_open(dir.path, &options, &follower, NULL) == 0);
    CHECK(bc_cache_is_being_written(follower) == 1);
    bc_cache_close(cache);
    bc_cache_unref(cache);
    CHECK(bc_cache_is_being_written(follower) == 0);
    struct bc_reader *reader = new_reader(follower);
    for (int64_t i = 0; i < 2; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        atomic_store(&source.arrays_alive, 1);
        counting_source_check(&source, &array, i);
    }
    for (int i = 0; i < 2; i++) {
        struct ArrowArray array;
        struct bc_error error;
        CHECK(bc_reader_next(reader, &array, NULL, &error) == EOWNERDEAD);
    }
    bc_reader_unref(reader);
    bc_cache_unref(follower);
    recording_dir_finish_clean(&dir);
}

/* In a single thread, the follower produces the rest with the writer's source, also if no
 * other reference to the writer is left. It gets the source's error. */
static void test_follow_in_one_thread(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int fails = 0; fails < 2; fails++) {
        struct counting_source source;
        struct bc_cache *cache = start_recording(&source, dir.path, 0, 0);
        source.fail_at = fails ? 4 : -1;
        source.fail_code = EIO;
        source.fail_text = "the source broke";
        struct bc_file_options options = BC_FILE_OPTIONS_INIT;
        options.follow = 1;
        struct bc_cache *follower;
        CHECK(bc_file_open(dir.path, &options, &follower, NULL) == 0);
        bc_cache_unref(cache);
        uint64_t batches = 0;
        struct bc_error error = {0};
        int code = bc_cache_ingest(follower, &batches, &error);
        if (fails) {
            CHECK(code == EIO && strstr(error.message, "source") != NULL);
            CHECK(bc_cache_is_being_written(follower) == 0);
        } else {
            CHECK(code == 0 && batches == BATCHES);
        }
        bc_cache_unref(follower);
        counting_source_check_released(&source);
        struct bc_cache *left = NULL;
        CHECK(open_recording(dir.path, 0, 0, &left) == (fails ? ENODATA : 0));
        bc_cache_unref(left);
        CHECK(unlink(dir.path) == 0);
    }
    recording_dir_finish_clean(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_follow),
        TAP_CASE(test_follow_in_one_thread),
    };
    return TAP_RUN(cases);
}
