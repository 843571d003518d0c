/* Followers continue the recordings of dead writers. */
#include <pthread.h>

#include "cache/cache.h"
#include "successor.h"

/* Reads all batches of the follower, in order and once. */
static void drain(struct bc_cache *follower) { check_batches(follower, 0, BATCHES); }

static void check_complete(const char *path) {
    struct bc_cache *cache;
    CHECK(open_recording(path, 0, 0, &cache) == 0);
    drain(cache);
    bc_cache_unref(cache);
}

static void finish(struct bc_cache *follower, struct successor *successor) {
    bc_cache_unref(follower);
    CHECK(successor->releases == 1);
    counting_source_check_released(&successor->source);
}

/* The writer died after `left` batches. A reader that has read them goes on, and a new
 * reader has all batches. */
static void take_over_after(const char *path, uint64_t left, int grows) {
    leave_growing(path, left, grows);
    struct successor successor;
    successor_init(&successor, path);
    successor.grows = grows;
    struct bc_cache *follower = successor_follow(&successor);
    struct bc_reader *reader = new_reader(follower);
    struct counting_source expected;
    counting_source_init(&expected, BATCHES, ROWS);
    expected.grows = grows;
    for (uint64_t i = 0; i < left; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&expected, &array, (int64_t)i);
    }
    CHECK(successor.calls == 0 && successor.releases == 0);
    CHECK(counting_source_drain(&expected, reader, (int64_t)left) == BATCHES);
    CHECK(successor.calls == 1);
    bc_reader_unref(reader);
    check_batches(follower, grows, BATCHES);
    finish(follower, &successor);
    struct bc_cache *cache;
    CHECK(open_recording(path, 0, 0, &cache) == 0);
    check_batches(cache, grows, BATCHES);
    bc_cache_unref(cache);
    CHECK(unlink(path) == 0);
}

static void test_after_every_batch(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (uint64_t left = 0; left <= BATCHES; left++) {
        for (int grows = 0; grows < 2; grows++) take_over_after(dir.path, left, grows);
    }
    recording_dir_finish_clean(&dir);
}

/* While `begin` returns no writer, the follower looks again. */
static void test_no_writer_yet(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    leave_recording(dir.path, 3);
    struct successor successor;
    successor_init(&successor, dir.path);
    successor.refusals = 3;
    struct bc_cache *follower = successor_follow(&successor);
    drain(follower);
    CHECK(successor.calls == 4);
    finish(follower, &successor);
    recording_dir_finish_clean(&dir);
}

/* The caller can repeat a call that failed with these errnos. */
static void test_temporary_errors(void) {
    static const int codes[] = {EINTR, ENOMEM, ECANCELED};
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        leave_recording(dir.path, 3);
        struct successor successor;
        successor_init(&successor, dir.path);
        successor.refusals = 2;
        successor.code = codes[i];
        struct bc_cache *follower = successor_follow(&successor);
        for (int n = 0; n < 2; n++) {
            uint64_t batches;
            struct bc_error error;
            CHECK(bc_cache_ingest(follower, &batches, &error) == codes[i]);
            CHECK(error.kind ==
                  (codes[i] == ENOMEM ? BC_ERROR_NO_MEMORY : BC_ERROR_CANCELLED));
            CHECK(error.message[0] != '\0');
        }
        drain(follower);
        finish(follower, &successor);
        CHECK(unlink(dir.path) == 0);
    }
    recording_dir_finish_clean(&dir);
}

/* Any other errno is the error of all readers, after the recorded batches. */
static void test_permanent_errors(void) {
    static const int codes[] = {EIO, EAGAIN, EOWNERDEAD, EACCES, -1};
    struct recording_dir dir;
    recording_dir_init(&dir);
    leave_recording(dir.path, 3);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct successor successor;
        successor_init(&successor, dir.path);
        successor.refusals = 1;
        successor.code = codes[i];
        successor.text = i % 2 == 0 ? "no second source" : NULL;
        struct bc_cache *follower = successor_follow(&successor);
        for (int n = 0; n < 2; n++) {
            struct bc_reader *reader = new_reader(follower);
            struct bc_error error;
            for (int k = 0; k <= 3; k++) {
                struct ArrowArray array;
                int code = bc_reader_next(reader, &array, NULL, &error);
                CHECK(code == (k < 3 ? 0 : codes[i] < 0 ? EIO : codes[i]));
                if (code == 0) array.release(&array);
            }
            CHECK(strstr(error.message, i % 2 == 0 ? "second source" : "take over") !=
                  NULL);
            bc_reader_unref(reader);
        }
        CHECK(successor.calls == 1);
        bc_cache_unref(follower);
        CHECK(successor.releases == 1);
    }
    recording_dir_finish_clean(&dir);
}

static void test_the_second_source_fails(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    /* Before, at and after the end of the recorded batches. */
    for (int64_t fail_at = 1; fail_at <= 5; fail_at += 2) {
        leave_recording(dir.path, 3);
        struct successor successor;
        successor_init(&successor, dir.path);
        successor.fail_at = fail_at;
        struct bc_cache *follower = successor_follow(&successor);
        for (int n = 0; n < 2; n++) {
            uint64_t batches;
            struct bc_error error;
            CHECK(bc_cache_ingest(follower, &batches, &error) == EIO);
            CHECK(error.kind == BC_ERROR_SOURCE);
            CHECK(strcmp(error.message, "the second source broke") == 0);
        }
        finish(follower, &successor);
        CHECK(successor.calls == 1);
        struct bc_cache *left;
        CHECK(open_recording(dir.path, 0, 0, &left) == ENODATA);
        CHECK(unlink(dir.path) == 0);
    }
    recording_dir_finish_clean(&dir);
}

static void move_away(struct successor *successor) {
    CHECK(rename(successor->path, successor->context) == 0);
    leave_recording(successor->path, 2);
}

/* The path of the recording names no file or another file, before `begin` is called or
 * while it runs. */
static void test_another_file(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int i = 0; i < 4; i++) {
        leave_recording(dir.path, 3);
        struct successor successor;
        successor_init(&successor, dir.path);
        successor.context = dir.other;
        if (i >= 2) successor.before = move_away;
        successor.refusals = i == 3;
        successor.code = EIO;
        struct bc_cache *follower = successor_follow(&successor);
        if (i == 0) CHECK(unlink(dir.path) == 0);
        if (i == 1) move_away(&successor);
        for (int n = 0; n < 2; n++) {
            uint64_t batches;
            struct bc_error error;
            CHECK(bc_cache_ingest(follower, &batches, &error) == EOWNERDEAD);
            CHECK(error.kind == BC_ERROR_WRITER_DIED);
            CHECK(strstr(error.message, "writer died") != NULL);
        }
        CHECK(successor.calls == (i >= 2));
        bc_cache_unref(follower);
        CHECK(successor.releases == 1);
        (void)unlink(dir.path);
        (void)unlink(dir.other);
    }
    recording_dir_finish_clean(&dir);
}

static void close_writer_of(struct bc_cache *follower) {
    struct bc_cache *writer = bc__cache_writer_of(follower->identity);
    CHECK(writer != NULL);
    bc_cache_close(writer);
    bc_cache_unref(writer);
}

/* Each writer is closed after another batch. The follower takes over each time. */
static void test_again_and_again(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    leave_recording(dir.path, 0);
    struct successor successor;
    successor_init(&successor, dir.path);
    struct bc_cache *follower = successor_follow(&successor);
    for (uint64_t i = 1; i < BATCHES; i++) {
        uint64_t batches;
        CHECK(bc_cache_ingest_to(follower, i, &batches, NULL) == 0 && batches == i);
        CHECK(successor.calls == (int)i && successor.releases == 0);
        close_writer_of(follower);
    }
    drain(follower);
    CHECK(successor.calls == BATCHES);
    finish(follower, &successor);
    check_complete(dir.path);
    recording_dir_finish_clean(&dir);
}

static void test_without_a_follower(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    leave_recording(dir.path, 3);
    struct successor successor;
    successor_init(&successor, dir.path);
    const struct bc_takeover takeover = {successor_begin, successor_release, &successor};
    struct bc_cache *cache;
    struct bc_error error;
    CHECK(open_recording(dir.path, 1, 0, &cache) == 0);
    CHECK(bc_cache_allow_takeover(cache, &takeover, &error) == EINVAL);
    CHECK(error.kind == BC_ERROR_INVALID);
    bc_cache_unref(cache);
    struct bc_cache *follower = successor_follow(&successor);
    CHECK(bc_cache_allow_takeover(follower, &takeover, &error) == EBUSY);
    CHECK(successor.releases == 0);
    bc_cache_close(follower);
    CHECK(successor.releases == 1);
    CHECK(bc_cache_allow_takeover(follower, &takeover, &error) == EINVAL);
    CHECK(error.kind == BC_ERROR_CLOSED);
    bc_cache_unref(follower);
    CHECK(successor.releases == 1 && successor.calls == 0);
    recording_dir_finish_clean(&dir);
}

/* ---- threads ---- */

enum { THREADS = 4 };

static void *read_all(void *follower) {
    drain(follower);
    return NULL;
}

static void join_all(const pthread_t *threads) {
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Several threads read one follower, and several followers. A single `begin` resumes. */
static void test_threads(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int shared = 0; shared < 2; shared++) {
        leave_recording(dir.path, 3);
        struct successor successors[THREADS];
        struct bc_cache *followers[THREADS];
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            successor_init(&successors[i], dir.path);
            followers[i] =
                shared && i > 0 ? followers[0] : successor_follow(&successors[i]);
        }
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_create(&threads[i], NULL, read_all, followers[i]) == 0);
        }
        join_all(threads);
        for (int i = 0; i < (shared ? 1 : THREADS); i++)
            finish(followers[i], &successors[i]);
        check_complete(dir.path);
        CHECK(unlink(dir.path) == 0);
    }
    recording_dir_finish_clean(&dir);
}

struct closing {
    struct bc_cache *follower;
    _Atomic int inside;
    _Atomic int closed;
};

static void wait_for_close(struct successor *successor) {
    struct closing *closing = successor->context;
    event_store(&closing->inside, 1);
    event_wait_for(&closing->closed, 1);
    CHECK(successor->releases == 0);
}

static void *read_until_closed(void *context) {
    uint64_t batches;
    struct bc_error error;
    struct closing *closing = context;
    CHECK(bc_cache_ingest(closing->follower, &batches, &error) == EINVAL);
    CHECK(error.kind == BC_ERROR_CLOSED);
    return NULL;
}

/* The follower is closed while a thread is inside `begin`: the functions stay until it
 * returns, and the new writer is closed. */
static void test_closed_inside_begin(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    leave_recording(dir.path, 3);
    struct closing closing = {.follower = NULL};
    struct successor successor;
    successor_init(&successor, dir.path);
    successor.before = wait_for_close;
    successor.context = &closing;
    closing.follower = successor_follow(&successor);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, read_until_closed, &closing) == 0);
    event_wait_for(&closing.inside, 1);
    bc_cache_close(closing.follower);
    event_store(&closing.closed, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(successor.releases == 1 && successor.calls == 1);
    counting_source_check_released(&successor.source);
    CHECK(bc__cache_writer_of(closing.follower->identity) == NULL);
    bc_cache_unref(closing.follower);
    recording_dir_finish_clean(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_after_every_batch),
        TAP_CASE(test_no_writer_yet),
        TAP_CASE(test_temporary_errors),
        TAP_CASE(test_permanent_errors),
        TAP_CASE(test_the_second_source_fails),
        TAP_CASE(test_another_file),
        TAP_CASE(test_again_and_again),
        TAP_CASE(test_without_a_follower),
        TAP_CASE(test_threads),
        TAP_CASE(test_closed_inside_begin),
    };
    return TAP_RUN(cases);
}
