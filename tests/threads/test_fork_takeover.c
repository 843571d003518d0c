/* Forks inside and around a take-over. A child never takes over, and the parent goes on.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "successor.h"

enum { LEFT = 3, PATIENCE = 600 };

static void check_child(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void check_in_child(struct bc_cache *follower) {
    uint64_t batches;
    struct bc_error error;
    CHECK(bc_cache_ingest(follower, &batches, &error) == ECANCELED);
    CHECK(error.kind == BC_ERROR_FORKED);
    struct ArrowArray array;
    CHECK(bc_cache_batch(follower, LEFT - 1, &array, NULL, NULL) == 0);
    array.release(&array);
}

static pid_t child_of_begin;

/* In the child, `begin` returns no writer. */
static void fork_inside(struct successor *successor) {
    (void)fflush(stdout);
    child_of_begin = fork();
    if (child_of_begin != 0) return;
    (void)alarm(PATIENCE);
    successor->refusals = INT_MAX;
}

static void take_over(bool forks_inside) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    leave_recording(dir.path, LEFT);
    struct successor successor;
    successor_init(&successor, dir.path);
    if (forks_inside) successor.before = fork_inside;
    struct bc_cache *follower = successor_follow(&successor);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(follower, LEFT, &batches, NULL) == 0);
    (void)fflush(stdout);
    pid_t child = forks_inside ? -1 : fork();
    struct bc_error error;
    int code = child == 0 ? ECANCELED : bc_cache_ingest(follower, &batches, &error);
    if (child == 0 || child_of_begin == 0) {
        CHECK(code == ECANCELED);
        check_in_child(follower);
        bc_cache_unref(follower);
        CHECK(successor.releases == 0);
        _exit(0);
    }
    CHECK(code == 0 && batches == BATCHES);
    check_child(forks_inside ? child_of_begin : child);
    bc_cache_unref(follower);
    CHECK(successor.releases == 1 && successor.calls == 1);
    counting_source_check_released(&successor.source);
    recording_dir_finish_clean(&dir);
}

static void test_fork_before(void) {
    child_of_begin = -1;
    take_over(false);
}

static void test_fork_inside(void) { take_over(true); }

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_fork_before),
                                            TAP_CASE(test_fork_inside)};
    return TAP_RUN(cases);
}
