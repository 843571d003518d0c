/* Forks while another thread is inside the core. No two locks are taken in both orders,
 * and a child neither reads nor keeps the objects of its parent. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "cache/cache.h"
#include "recording_dir.h"

enum { ROWS = 5, ALL = 8, PATIENCE = 600 };

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

/* A thread that stays inside the source until `goes_on` is set. */
struct scene {
    struct counting_source source;
    struct bc_cache *cache;
    pthread_t producer;
    _Atomic int in_source;
    _Atomic int goes_on;
};

static void stay(void *context, int64_t number) {
    struct scene *scene = context;
    if (number > 0) return;
    event_store(&scene->in_source, 1);
    event_wait_for(&scene->goes_on, 1);
}

static void *ingest_one(void *context) {
    struct scene *scene = context;
    uint64_t batches;
    CHECK(bc_cache_ingest_to(scene->cache, 1, &batches, NULL) == 0);
    return NULL;
}

static void open_scene(struct scene *scene, const struct bc_cache_options *options) {
    *scene = (struct scene){.cache = NULL};
    counting_source_init(&scene->source, ALL, ROWS);
    scene->source.before = stay;
    scene->source.context = scene;
    scene->cache = counting_source_cache(&scene->source, options);
    CHECK(pthread_create(&scene->producer, NULL, ingest_one, scene) == 0);
    event_wait_for(&scene->in_source, 1);
}

static void close_scene(struct scene *scene) {
    CHECK(pthread_join(scene->producer, NULL) == 0);
    bc_cache_unref(scene->cache);
    counting_source_check_released(&scene->source);
}

static uint64_t waiting_in(struct bc_cache *cache) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    return stats.waiting;
}

/* ---- releases that fork ---- */

static pid_t child_of_release;
static bool forks_in_release;

static void fork_in_release(struct ArrowArray *array) {
    if (forks_in_release) {
        forks_in_release = false;
        child_of_release = fork_patiently();
    }
    counting_source_release_array(array);
}

static int next_to_fork(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    int code = counting_source_next(stream, out);
    if (code == 0 && out->release != NULL) out->release = fork_in_release;
    return code;
}

/* Creates an evicting cache with all batches recorded and no reader. */
static struct bc_cache *open_evicting(struct counting_source *source,
                                      uint64_t max_readers) {
    counting_source_init(source, ALL, ROWS);
    struct ArrowArrayStream stream = counting_source_stream(source);
    stream.get_next = next_to_fork;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = max_readers;
    struct bc_cache *cache;
    CHECK(bc_cache_new(&stream, &options, &cache, NULL) == 0);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == ALL);
    return cache;
}

static void test_a_release_that_forks_while_a_reader_leaves(void) {
    struct counting_source source;
    struct bc_cache *cache = open_evicting(&source, 2);
    struct bc_reader *ahead = new_reader(cache);
    struct bc_reader *behind = new_reader(cache);
    CHECK(counting_source_drain(&source, ahead, 0) == ALL);
    forks_in_release = true;
    bc_reader_unref(behind);
    CHECK(!forks_in_release);
    if (child_of_release == 0) {
        bc_reader_unref(ahead);
        bc_cache_unref(cache);
        _exit(0);
    }
    check_child(child_of_release);
    bc_reader_unref(ahead);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* ---- a recording that is resumed ---- */

enum { LEFT = 40 };

/* Forks before system call `at`, and exits once the child runs. The child exits when the
 * test closes `lives`. */
static struct {
    int at;
    int calls;
    int born[2];
    int lives[2];
} resuming;

static void live_on(void) {
    char byte = 0;
    CHECK(write(resuming.born[1], &byte, 1) == 1);
    CHECK(close(resuming.lives[1]) == 0);
    _exit((int)read(resuming.lives[0], &byte, 1));
}

static void fork_at_a_call(void *context, enum bc_fault_moment moment, int file) {
    (void)context;
    (void)file;
    if (moment != BC_MOMENT_CALL || ++resuming.calls != resuming.at) return;
    if (fork_patiently() == 0) live_on();
    char byte;
    CHECK(read(resuming.born[0], &byte, 1) == 1);
    _exit(0);
}

static int resume(const char *path, bool counts) {
    struct counting_source source;
    counting_source_init(&source, LEFT, ROWS);
    struct ArrowArrayStream stream = counting_source_stream(&source);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.resume = 1;
    struct bc_cache *cache;
    struct bc_error error = {0};
    if (counts) bc__fault_watch(fork_at_a_call, NULL);
    int code = bc_cache_new(&stream, &options, &cache, &error);
    bc__fault_watch(NULL, NULL);
    if (code != 0) printf("# %s\n", error.message);
    if (code == 0) bc_cache_unref(cache);
    return code;
}

/* A process resumes a recording, forks while it scans the file, and exits. */
static void leave_a_child(const char *path, int at) {
    CHECK(pipe(resuming.born) == 0 && pipe(resuming.lives) == 0);
    resuming.at = at;
    resuming.calls = 0;
    pid_t process = fork_patiently();
    if (process == 0) _exit(resume(path, true) == 0 ? 2 : 3);
    check_child(process);
    CHECK(close(resuming.born[0]) == 0 && close(resuming.born[1]) == 0);
    CHECK(close(resuming.lives[0]) == 0);
    CHECK(resume(path, false) == 0);
    CHECK(close(resuming.lives[1]) == 0);
}

static void test_a_child_keeps_no_lock_of_one_that_is_gone_on_with(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, LEFT + 1, ROWS);
    recording_write(dir.path, source, LEFT);
    resuming.at = 0;
    CHECK(resume(dir.path, true) == 0 && resuming.calls > LEFT);
    /* The scan lies between opening the file and truncating it. */
    int calls = resuming.calls;
    for (int at = calls / 4; at < calls * 3 / 4; at += calls / 8) {
        leave_a_child(dir.path, at);
    }
    recording_dir_finish(&dir);
}

/* ---- several bindings ---- */

static char order[16];

static void note(char letter) {
    size_t n = strlen(order);
    CHECK(n + 1 < sizeof(order));
    order[n] = letter;
}

static void note_before(void *context) { note(*(const char *)context); }
static void note_after(void *context) {
    note((char)(*(const char *)context - 'A' + 'a'));
}

static void test_bindings_nest_around_a_fork(void) {
    static char names[] = {'A', 'B'};
    for (int i = 0; i < 2; i++) {
        const struct bc_fork_calls calls = {note_before, note_after, note_after,
                                            &names[i]};
        CHECK(bc_watch_forks(&calls) == 0);
    }
    pid_t child = fork_patiently();
    if (child == 0) {
        CHECK(strcmp(order, "BAab") == 0);
        _exit(0);
    }
    check_child(child);
    CHECK(strcmp(order, "BAab") == 0);
}

/* Not under AddressSanitizer: if other threads allocate, that of gcc 12 leaves its locks
 * held in a child. */
#if !defined(__SANITIZE_ADDRESS__)

/* ---- pins ---- */

/* A pin on the stack of another thread, at batch 0 and then at the end. */
struct pinning {
    struct bc_cache *cache;
    pthread_barrier_t turns;
};

static void *pin_and_move(void *context) {
    struct pinning *pinning = context;
    struct bc_pin pin;
    bc__cache_pin_first(pinning->cache, &pin);
    pthread_barrier_wait(&pinning->turns);
    pthread_barrier_wait(&pinning->turns);
    bc__cache_move_pin(pinning->cache, &pin, ALL);
    pthread_barrier_wait(&pinning->turns);
    pthread_barrier_wait(&pinning->turns);
    bc__cache_unpin(pinning->cache, &pin);
    return NULL;
}

static void check_pin_in_child(struct bc_cache *cache, struct bc_pin *pin) {
    CHECK(cache->pins.first == &pin->link && pin->link.next == NULL &&
          pin->link.previous == NULL);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc__cache_move_pin(cache, pin, 3);
    bc_cache_stats(cache, &stats);
    CHECK(stats.evicted == 3);
    bc__cache_unpin(cache, pin);
    bc_cache_stats(cache, &stats);
    CHECK(stats.evicted == ALL && cache->pins.first == NULL);
    _exit(0);
}

static void test_a_child_keeps_its_own_pin_alone(void) {
    struct counting_source source;
    struct pinning pinning = {.cache = open_evicting(&source, 1)};
    CHECK(pthread_barrier_init(&pinning.turns, NULL, 2) == 0);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, pin_and_move, &pinning) == 0);
    pthread_barrier_wait(&pinning.turns);
    struct bc_pin pin;
    bc__cache_pin_first(pinning.cache, &pin);
    struct bc_reader *reader = new_reader(pinning.cache);
    CHECK(counting_source_drain(&source, reader, 0) == ALL);
    pthread_barrier_wait(&pinning.turns);
    pthread_barrier_wait(&pinning.turns);
    forks_in_release = true;
    bc__cache_move_pin(pinning.cache, &pin, 2);
    CHECK(!forks_in_release);
    if (child_of_release == 0) check_pin_in_child(pinning.cache, &pin);
    check_child(child_of_release);
    bc__cache_unpin(pinning.cache, &pin);
    pthread_barrier_wait(&pinning.turns);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(pthread_barrier_destroy(&pinning.turns) == 0);
    bc_reader_unref(reader);
    bc_cache_unref(pinning.cache);
    counting_source_check_released(&source);
}

/* ---- a thread that starts to wait ---- */

/* A member of the registry that a fork locks before the cache. */
static struct {
    struct bc_member member;
    struct scene *scene;
    _Atomic int forks;
} earlier;

static void wait_for_the_waiter(struct bc_member *member) {
    (void)member;
    event_store(&earlier.forks, 1);
    /* The core has no event for a new waiter, so this thread polls the count. */
    while (atomic_load(&earlier.scene->cache->ingest.waiters) == 0) (void)sched_yield();
}

static void do_nothing(struct bc_member *member) { (void)member; }

static void *fork_once(void *context) {
    (void)context;
    pid_t child = fork_patiently();
    if (child == 0) _exit(0);
    check_child(child);
    event_store(&earlier.scene->goes_on, 1);
    return NULL;
}

/* This test must be the first to wait: the process initialises the wait graph once. */
static void test_the_first_wait_while_another_thread_forks(void) {
    static const struct bc_member_calls calls = {wait_for_the_waiter, do_nothing,
                                                 do_nothing, NULL};
    struct scene scene;
    open_scene(&scene, NULL);
    earlier.scene = &scene;
    bc__member_add(BC_MEMBER_CACHE, &earlier.member, &calls);
    pthread_t threads[2];
    CHECK(pthread_create(&threads[0], NULL, fork_once, NULL) == 0);
    event_wait_for(&earlier.forks, 1);
    /* The fork continues once this thread has the ingest's lock. */
    CHECK(pthread_create(&threads[1], NULL, ingest_one, &scene) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    bc__member_remove(BC_MEMBER_CACHE, &earlier.member);
    close_scene(&scene);
}

/* ---- a binding's lock ---- */

/* A thread with the lock creates and drops a cache while another thread forks. */
static struct {
    pthread_mutex_t lock;
    _Atomic int is_used;
    _Atomic int forks;
    int between; /* 1 between the two calls of a fork */
} binding = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lock_binding(void *context) {
    CHECK(context == &binding);
    event_store(&binding.forks, 1);
    CHECK(pthread_mutex_lock(&binding.lock) == 0);
    CHECK(binding.between++ == 0);
}

static void unlock_binding(void *context) {
    CHECK(context == &binding);
    CHECK(binding.between-- == 1);
    CHECK(pthread_mutex_unlock(&binding.lock) == 0);
}

static void *use_binding(void *unused) {
    (void)unused;
    CHECK(pthread_mutex_lock(&binding.lock) == 0);
    event_store(&binding.is_used, 1);
    event_wait_for(&binding.forks, 1);
    struct counting_source source;
    counting_source_init(&source, 2, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
    CHECK(pthread_mutex_unlock(&binding.lock) == 0);
    return NULL;
}

static void test_a_binding_whose_lock_is_held_around_calls(void) {
    static const struct bc_fork_calls calls = {lock_binding, unlock_binding,
                                               unlock_binding, &binding};
    CHECK(bc_watch_forks(&calls) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, use_binding, NULL) == 0);
    event_wait_for(&binding.is_used, 1);
    pid_t child = fork_patiently();
    if (child == 0) {
        CHECK(pthread_mutex_lock(&binding.lock) == 0 && binding.between == 0);
        _exit(0);
    }
    check_child(child);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_mutex_lock(&binding.lock) == 0 && binding.between == 0);
    CHECK(pthread_mutex_unlock(&binding.lock) == 0);
}

/* ---- a waiting thread that forks ---- */

static struct scene *waited_in;
static pid_t child_of_hook = -1;
static _Thread_local bool forks_in_hook;

static int fork_among_waiting(void *context) {
    (void)context;
    if (!forks_in_hook || waiting_in(waited_in->cache) < 2) return 0;
    forks_in_hook = false;
    child_of_hook = fork_patiently();
    if (child_of_hook > 0) event_store(&waited_in->goes_on, 1);
    return 0;
}

static void test_a_child_has_no_waiting_threads(void) {
    static const struct bc_hooks hooks = {idle_enter, idle_leave, fork_among_waiting,
                                          NULL};
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.hooks = &hooks;
    struct scene scene;
    open_scene(&scene, &options);
    waited_in = &scene;
    pthread_t other;
    CHECK(pthread_create(&other, NULL, ingest_one, &scene) == 0);
    forks_in_hook = true;
    uint64_t batches;
    int code = bc_cache_ingest_to(scene.cache, 1, &batches, NULL);
    if (child_of_hook == 0) {
        CHECK(code == ECANCELED && waiting_in(scene.cache) == 0);
        _exit(0);
    }
    CHECK(code == 0);
    check_child(child_of_hook);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(waiting_in(scene.cache) == 0);
    close_scene(&scene);
}

#endif

int main(void) {
#if defined(__SANITIZE_THREAD__)
    printf("1..0 # SKIP ThreadSanitizer follows no fork\n");
    return 0;
#endif
    static const struct tap_case cases[] = {
        TAP_CASE(test_a_release_that_forks_while_a_reader_leaves),
        TAP_CASE(test_a_child_keeps_no_lock_of_one_that_is_gone_on_with),
#if !defined(__SANITIZE_ADDRESS__)
        TAP_CASE(test_the_first_wait_while_another_thread_forks),
        TAP_CASE(test_a_child_has_no_waiting_threads),
        TAP_CASE(test_a_child_keeps_its_own_pin_alone),
        TAP_CASE(test_a_binding_whose_lock_is_held_around_calls),
#endif
        TAP_CASE(test_bindings_nest_around_a_fork),
    };
    return TAP_RUN(cases);
}
