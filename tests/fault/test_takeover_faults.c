/* A follower takes over while an allocation or a system call fails. The failure loses no
 * batch: either the call can be repeated, or another process resumes the recording. */
#include "base/fault.h"
#include "successor.h"

static void check_complete(const char *path) {
    bool complete;
    CHECK(recording_batches(path, ROWS, false, &complete) == BATCHES && complete);
}

static void resume(const char *path) {
    struct counting_source source;
    struct bc_cache *cache = start_recording(&source, path, 1, 0);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* Returns true if a fault fired. */
static bool take_over(const char *path, enum bc_fault_kind kind, unsigned long nth,
                      int fault) {
    leave_recording(path, 3);
    struct successor successor;
    successor_init(&successor, path);
    struct bc_cache *follower = successor_follow(&successor);
    uint64_t batches = 0;
    bc__fault_arm(kind, nth, fault);
    int code = bc_cache_ingest(follower, &batches, NULL);
    bool fired = bc__fault_fired(kind);
    bc__fault_arm(kind, 0, 0);
    CHECK(code == 0 || fired);
    int again = bc_cache_ingest(follower, &batches, NULL);
    /* A failed allocation is never permanent. */
    CHECK(again == 0 || (code != 0 && kind == BC_FAULT_SYS));
    if (again == 0) check_batches(follower, 0, BATCHES);
    bc_cache_unref(follower);
    CHECK(successor.releases == 1);
    counting_source_check_released(&successor.source);
    if (again != 0) {
        bool complete;
        int64_t kept = recording_batches(path, ROWS, false, &complete);
        CHECK(kept >= 3);
        /* The writer may have completed the recording that its follower cannot read. */
        if (!complete) resume(path);
    }
    check_complete(path);
    CHECK(unlink(path) == 0);
    return fired;
}

static void sweep(enum bc_fault_kind kind, int fault) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    unsigned long nth = 1;
    while (take_over(dir.path, kind, nth, fault)) nth++;
    CHECK(nth > 10);
    recording_dir_finish_clean(&dir);
}

static void test_allocations(void) { sweep(BC_FAULT_ALLOC, ENOMEM); }
static void test_system_calls(void) { sweep(BC_FAULT_SYS, EIO); }
static void test_short_calls(void) { sweep(BC_FAULT_SYS, BC_FAULT_SHORT); }
static void test_full_disk(void) { sweep(BC_FAULT_SYS, ENOSPC); }

/* Without memory for the functions, the follower stays as it was. */
static void test_allow(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    leave_recording(dir.path, 3);
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *follower;
    CHECK(bc_file_open(dir.path, &options, &follower, NULL) == 0);
    struct successor successor;
    successor_init(&successor, dir.path);
    const struct bc_takeover takeover = {successor_begin, successor_release, &successor};
    bc__fault_arm(BC_FAULT_ALLOC, 1, ENOMEM);
    CHECK(bc_cache_allow_takeover(follower, &takeover, NULL) == ENOMEM);
    bc__fault_arm(BC_FAULT_ALLOC, 0, 0);
    CHECK(successor.releases == 0);
    CHECK(bc_cache_allow_takeover(follower, &takeover, NULL) == 0);
    check_batches(follower, 0, BATCHES);
    bc_cache_unref(follower);
    CHECK(successor.releases == 1);
    recording_dir_finish_clean(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_allocations), TAP_CASE(test_system_calls),
        TAP_CASE(test_short_calls), TAP_CASE(test_full_disk), TAP_CASE(test_allow)};
    return TAP_RUN(cases);
}
