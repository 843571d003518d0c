/* Forks that meet a thread in the middle of something: no lock is taken in two orders,
 * and a child neither looks at nor keeps what is its parent's alone. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"
#include "place.h"

enum { ROWS = 5, ALL = 8, PATIENCE = 30 };

static pid_t fork_patiently(void) {
    pid_t child = fork();
    if (child == 0) (void)alarm(PATIENCE);
    return child;
}

static void check_child(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (status != 0) printf("# status %d\n", status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A thread that is inside the source until it is let go. */
struct scene {
    struct fixture fixture;
    struct bc_cache *cache;
    pthread_t producer;
    atomic_bool in_source;
    atomic_bool goes_on;
};

static void stay(void *context, int64_t number) {
    struct scene *scene = context;
    if (number > 0) return;
    atomic_store(&scene->in_source, true);
    while (!atomic_load(&scene->goes_on)) (void)usleep(100);
}

static void *ingest_one(void *context) {
    struct scene *scene = context;
    uint64_t batches;
    CHECK(bc_cache_ingest_to(scene->cache, 1, &batches, NULL) == 0);
    return NULL;
}

static void open_scene(struct scene *scene, const struct bc_cache_options *options) {
    *scene = (struct scene){.cache = NULL};
    fixture_init(&scene->fixture, ALL, ROWS);
    scene->fixture.before = stay;
    scene->fixture.context = scene;
    scene->cache = fixture_cache(&scene->fixture, options);
    CHECK(pthread_create(&scene->producer, NULL, ingest_one, scene) == 0);
    while (!atomic_load(&scene->in_source)) (void)usleep(100);
}

static void close_scene(struct scene *scene) {
    CHECK(pthread_join(scene->producer, NULL) == 0);
    bc_cache_unref(scene->cache);
    fixture_check_released(&scene->fixture);
}

/* Not under AddressSanitizer: where other threads allocate, gcc 12's leaves a child its
 * locks taken. */
#if !defined(__SANITIZE_ADDRESS__)

/* ---- a thread that begins to wait ---- */

/* A member of the registry whose turn in a fork comes before the cache's. */
static struct {
    struct bc_member member;
    struct scene *scene;
    atomic_bool forks;
} earlier;

static void wait_for_the_waiter(struct bc_member *member) {
    (void)member;
    atomic_store(&earlier.forks, true);
    while (atomic_load(&earlier.scene->cache->ingest.waiters) == 0) (void)usleep(100);
}

static void do_nothing(struct bc_member *member) { (void)member; }

static void *fork_once(void *context) {
    (void)context;
    pid_t child = fork_patiently();
    if (child == 0) _exit(0);
    check_child(child);
    atomic_store(&earlier.scene->goes_on, true);
    return NULL;
}

/* The first test: what a thread needs that waits is made once in a process. */
static void test_the_first_wait_while_another_thread_forks(void) {
    static const struct bc_member_calls calls = {wait_for_the_waiter, do_nothing,
                                                 do_nothing, NULL};
    struct scene scene;
    open_scene(&scene, NULL);
    earlier.scene = &scene;
    bc__member_add(BC_MEMBER_CACHE, &earlier.member, &calls);
    pthread_t threads[2];
    CHECK(pthread_create(&threads[0], NULL, fork_once, NULL) == 0);
    while (!atomic_load(&earlier.forks)) (void)usleep(100);
    /* The fork goes on when this thread has the ingest's lock. */
    CHECK(pthread_create(&threads[1], NULL, ingest_one, &scene) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    bc__member_remove(BC_MEMBER_CACHE, &earlier.member);
    close_scene(&scene);
}

#endif

int main(void) {
#if defined(__SANITIZE_THREAD__)
    printf("1..0 # SKIP ThreadSanitizer follows no fork\n");
    return 0;
#endif
    static const struct tap_case cases[] = {
#if !defined(__SANITIZE_ADDRESS__)
        TAP_CASE(test_the_first_wait_while_another_thread_forks),
#endif
    };
    return TAP_RUN(cases);
}
