/* A follower opens a recording while a writer of the same process creates it. If the
 * writer then fails, the follower must not use it. */
#include <pthread.h>

#include "base/fault.h"
#include "cache/cache.h"
#include "recording_dir.h"

enum { BATCHES = 4, ROWS = 5 };

/* Call `nth` of the writer fails. Just before that call, a follower opens the file. */
static struct {
    pthread_t writer;
    const char *path;
    unsigned long calls, nth;
    struct bc_cache *follower; /* NULL: the recording did not exist yet */
} scene;

static void follow_and_fail(void *context, enum bc_fault_moment moment, int file) {
    (void)context;
    (void)file;
    bool is_writer = pthread_equal(pthread_self(), scene.writer) != 0;
    if (!is_writer || moment != BC_MOMENT_CALL || ++scene.calls != scene.nth) return;
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    (void)bc_file_open(scene.path, &options, &scene.follower, NULL);
    bc__fault_arm(BC_FAULT_SYS, 1, EIO);
}

static void check_follower(const struct counting_source *source, bool has_writer) {
    struct bc_cache *follower = scene.follower;
    if (follower == NULL) return;
    CHECK(has_writer || follower->writer == NULL);
    struct bc_reader *reader = new_reader(follower);
    if (has_writer) {
        CHECK(counting_source_drain(source, reader, 0) == BATCHES);
    } else {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) != 0);
    }
    bc_reader_unref(reader);
    bc_cache_unref(follower);
}

/* Returns true if the writer made that many calls. `*followed` counts the followers of
 * failed writers. */
static bool fail_at(const struct recording_dir *dir, unsigned long nth, uint64_t prefetch,
                    int *followed) {
    scene.path = dir->path;
    scene.writer = pthread_self();
    scene.calls = 0;
    scene.nth = nth;
    scene.follower = NULL;
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct ArrowArrayStream stream = counting_source_stream(&source);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir->path;
    options.prefetch = prefetch;
    struct bc_cache *cache = NULL;
    bc__fault_watch(follow_and_fail, NULL);
    int code = bc_cache_new(&stream, &options, &cache, NULL);
    bool fired = scene.calls >= nth;
    bc__fault_watch(NULL, NULL);
    bc__fault_arm(BC_FAULT_SYS, 0, 0);
    CHECK(code == 0 || fired);
    *followed += code != 0 && scene.follower != NULL;
    check_follower(&source, code == 0);
    bc_cache_unref(cache);
    if (code != 0) stream.release(&stream);
    counting_source_wait_released(&source);
    counting_source_check_released(&source);
    CHECK(unlink(dir->path) == 0 || code != 0);
    return fired;
}

static void test_a_writer_that_cannot_be_made_has_no_follower(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (uint64_t prefetch = 0; prefetch <= 2; prefetch += 2) {
        int followed = 0;
        unsigned long nth = 1;
        while (fail_at(&dir, nth, prefetch, &followed)) nth++;
        /* Starting the prefetching thread is the last step that can fail. */
        CHECK(nth > 4 && (prefetch == 0 || followed > 0));
    }
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_a_writer_that_cannot_be_made_has_no_follower)};
    return TAP_RUN(cases);
}
