/* Forks while other threads use the caches, and forks inside a source. A child reads the
 * recorded batches on any number of threads, and stores nothing. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "recording_dir.h"
#include "save.h"

enum { ROWS = 5, PATIENCE = 600 };

static void check_child(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (status != 0) printf("# status %d\n", status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- readers that a child inherits ---- */

enum { BATCHES = 300, CHILD_THREADS = 4, RUNS = 25 };

struct crowd {
    struct counting_source *source;
    struct bc_reader *reader;
    pthread_barrier_t ready;
    _Atomic int seen[BATCHES];
};

static void *share_reader(void *context) {
    struct crowd *crowd = context;
    pthread_barrier_wait(&crowd->ready);
    for (;;) {
        struct ArrowArray array;
        struct bc_batch_info info;
        CHECK(bc_reader_next(crowd->reader, &array, &info, NULL) == 0);
        if (array.release == NULL) return NULL;
        atomic_fetch_add(&crowd->seen[info.number], 1);
        counting_source_check(crowd->source, &array, (int64_t)info.number);
    }
}

/* Called in a child. Several threads share the reader, and exactly one thread gets each
 * batch from `first` on. */
static void share_out(struct counting_source *source, struct bc_reader *reader,
                      int first) {
    static struct crowd crowd;
    crowd.source = source;
    crowd.reader = reader;
    CHECK(pthread_barrier_init(&crowd.ready, NULL, CHILD_THREADS) == 0);
    pthread_t threads[CHILD_THREADS];
    for (int i = 0; i < CHILD_THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, share_reader, &crowd) == 0);
    }
    for (int i = 0; i < CHILD_THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < BATCHES; i++) CHECK(crowd.seen[i] == (i >= first));
}

static void inherit(const struct bc_cache_options *options) {
    for (int run = 0; run < RUNS; run++) {
        struct counting_source source;
        counting_source_init(&source, BATCHES, ROWS);
        struct bc_cache *cache = counting_source_cache(&source, options);
        struct bc_reader *reader = new_reader(cache);
        uint64_t batches;
        CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
        struct ArrowArray lent;
        CHECK(bc_reader_next(reader, &lent, NULL, NULL) == 0);
        pid_t child = fork();
        if (child == 0) {
            (void)alarm(PATIENCE);
            /* A grandchild inherits the borrows of the child. */
            child = fork();
            share_out(&source, reader, 1);
            if (child > 0) check_child(child);
            counting_source_check(&source, &lent, 0);
            bc_reader_unref(reader);
            bc_cache_unref(cache);
            _exit(0);
        }
        check_child(child);
        counting_source_check(&source, &lent, 0);
        CHECK(counting_source_drain(&source, reader, 1) == BATCHES);
        bc_reader_unref(reader);
        bc_cache_unref(cache);
        counting_source_check_released(&source);
    }
}

static void test_readers_shared_in_a_child(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    inherit(NULL);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    inherit(&options);
    options.max_readers = 0;
    options.memory_capacity = 0;
    options.disk_path = dir.caches;
    options.compression = BC_COMPRESSION_LZ4;
    inherit(&options);
    recording_dir_finish(&dir);
}

/* ---- forks while other threads work ---- */

/* Not under AddressSanitizer: if other threads allocate, that of gcc 12 leaves its locks
 * held in a child. */
#if !defined(__SANITIZE_ADDRESS__)

struct work {
    struct recording_dir *dir;
    struct counting_source source;
    struct bc_cache *cache;
    struct bc_reader *shared;
    atomic_bool over;
};

static void *read_and_look(void *context) {
    struct work *work = context;
    while (!atomic_load(&work->over)) {
        struct bc_reader *reader = new_reader(work->cache);
        CHECK(counting_source_drain(&work->source, reader, 0) == BATCHES);
        bc_reader_unref(reader);
        struct bc_file_info info = {.struct_size = sizeof(info)};
        uint64_t columns[3];
        CHECK(bc_cache_file_info(work->cache, &info, columns, NULL) == 0);
    }
    return NULL;
}

/* Creates caches and drops their last references while another thread forks. */
static void *make_and_drop(void *context) {
    struct work *work = context;
    for (int i = 0; !atomic_load(&work->over); i++) {
        struct counting_source source;
        counting_source_init(&source, 2, ROWS);
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        if (i % 3 == 1) options.disk_path = work->dir->caches;
        if (i % 3 == 2) options.prefetch = 1;
        struct bc_cache *cache = counting_source_cache(&source, &options);
        struct bc_reader *reader = new_reader(cache);
        bc_cache_unref(cache);
        CHECK(counting_source_drain(&source, reader, 0) == 2);
        bc_reader_unref(reader);
        counting_source_wait_released(&source);
    }
    return NULL;
}

static void look_in_child(struct work *work) {
    (void)alarm(PATIENCE);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(work->cache, &stats);
    CHECK(stats.batches == BATCHES);
    struct bc_file_info info = {.struct_size = sizeof(info)};
    CHECK(bc_cache_file_info(work->cache, &info, NULL, NULL) == 0);
    share_out(&work->source, work->shared, 0);
    bc_cache_close(work->cache);
    bc_reader_unref(work->shared);
    bc_cache_unref(work->cache);
    _exit(0);
}

static void test_forks_while_others_work(void) {
    enum { READERS = 2, MAKERS = 2, FORKS = 60 };
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct work work = {.dir = &dir};
    counting_source_init(&work.source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = dir.caches;
    options.memory_capacity = 0;
    work.cache = counting_source_cache(&work.source, &options);
    work.shared = new_reader(work.cache);
    uint64_t batches;
    CHECK(bc_cache_ingest(work.cache, &batches, NULL) == 0);
    pthread_t threads[READERS + MAKERS];
    for (int i = 0; i < READERS + MAKERS; i++) {
        void *(*live)(void *) = i < READERS ? read_and_look : make_and_drop;
        CHECK(pthread_create(&threads[i], NULL, live, &work) == 0);
    }
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) look_in_child(&work);
        check_child(child);
    }
    atomic_store(&work.over, true);
    for (int i = 0; i < READERS + MAKERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    bc_reader_unref(work.shared);
    bc_cache_unref(work.cache);
    counting_source_check_released(&work.source);
    recording_dir_finish(&dir);
}

#endif

/* ---- sources that fork ---- */

enum { AT = 3, ALL = 8, OTHER = 1000 };

enum where { IN_NEXT, IN_NEXT_AND_FAIL, IN_NEXT_AND_END, IN_RELEASE, IN_ARRAY, IN_POLL };

/* The point at which the source forks, once. */
static struct {
    enum where where;
    struct counting_source *source;
    int64_t at;
    atomic_bool forked;
    _Atomic int child; /* its process; 0 in the child; -1: not yet */
} scene;

static void fork_here(void) {
    if (atomic_exchange(&scene.forked, true)) return;
    event_store(&scene.child, fork());
    if (scene.child == 0) (void)alarm(PATIENCE);
}

static void forking_array_release(struct ArrowArray *array) {
    fork_here();
    counting_source_release_array(array);
}

static int forking_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct counting_source *source = scene.source;
    if (source->next == scene.at && scene.where <= IN_NEXT_AND_END) {
        fork_here();
        if (scene.child == 0) {
            /* From here on, the child's source produces different batches, or none. */
            source->next += OTHER;
            source->n_batches += scene.where == IN_NEXT ? OTHER : 0;
            if (scene.where == IN_NEXT_AND_FAIL) source->fail_at = source->next;
        }
    }
    int code = counting_source_next(stream, out);
    bool last = source->next == scene.at + 1;
    if (scene.where == IN_ARRAY && last && out->release != NULL) {
        out->release = forking_array_release;
    }
    return code;
}

static void forking_release(struct ArrowArrayStream *stream) {
    if (scene.where == IN_RELEASE) fork_here();
    counting_source_release(stream);
}

static int poll(void *context) {
    (void)context;
    if (scene.where == IN_POLL && scene.source->next == scene.at) fork_here();
    return 0;
}

static const struct bc_hooks hooks = {idle_enter, idle_leave, poll, NULL};

/* Checks that the child has exactly the batches before the fork. The child cannot store a
 * batch or change a file of its parent. */
static void check_in_child(struct bc_cache *cache, const struct recording_dir *dir,
                           int code, const struct bc_error *error) {
    bool at_end = scene.where == IN_RELEASE;
    CHECK(code == (at_end ? 0 : ECANCELED));
    if (!at_end) CHECK(strstr(error->message, "forked process") != NULL);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    int64_t n = (int64_t)stats.batches;
    int64_t stored = scene.at;
    if (stored < (int64_t)stats.resumed) stored = (int64_t)stats.resumed;
    /* A dictionary may keep the batch in memory. */
    if (scene.where == IN_ARRAY && n > stored) stored = n;
    CHECK(n == (at_end ? ALL : stored));
    CHECK(stats.state == (at_end ? BC_STATE_EXHAUSTED : BC_STATE_OPEN));
    struct bc_reader *reader = new_reader(cache);
    for (int64_t i = 0; i < n; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(scene.source, &array, i);
    }
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == (at_end ? 0 : ECANCELED));
    bc_reader_unref(reader);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(cache, (uint64_t)n, &batches, NULL) == 0);
    code = bc_cache_publish(cache, &batches, NULL);
    CHECK(code == 0 || code == EINVAL || code == ECANCELED);
    code = save_cache(cache, dir->other, 0, 0, NULL);
    CHECK(code == (at_end ? 0 : ECANCELED));
    bc_cache_close(cache);
    bc_cache_unref(cache);
    _exit(0);
}

static void check_in_parent(struct bc_cache *cache, const struct recording_dir *dir) {
    /* The prefetching thread may release the array later. */
    event_wait_while(&scene.child, -1);
    check_child(scene.child);
    struct bc_reader *reader = new_reader(cache);
    CHECK(counting_source_drain(scene.source, reader, 0) == ALL);
    bc_reader_unref(reader);
    uint64_t batches;
    CHECK(save_cache(cache, dir->other, 1, 0, NULL) == 0);
    CHECK(bc_file_verify(dir->other, NULL, &batches, NULL) == 0 && batches == ALL);
    CHECK(unlink(dir->other) == 0);
}

/* Makes an incomplete recording of `batches` batches. */
static void leave_recording(const struct bc_cache_options *options, uint64_t batches) {
    struct counting_source source;
    counting_source_init(&source, ALL, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, options);
    CHECK(bc_cache_ingest_to(cache, batches, &batches, NULL) == 0);
    bc_cache_unref(cache);
}

static void fork_at(const struct bc_cache_options *options, struct recording_dir *dir,
                    enum where where, int64_t at) {
    struct counting_source source;
    counting_source_init(&source, ALL, ROWS);
    source.fail_code = EPIPE;
    source.fail_text = "the pipe broke";
    scene.where = where;
    scene.source = &source;
    scene.at = at;
    scene.forked = false;
    scene.child = -1;
    struct bc_cache_options own = *options;
    own.hooks = &hooks;
    if (own.resume) {
        own.resume = 0;
        leave_recording(&own, 4);
        own.resume = 1;
    }
    struct ArrowArrayStream stream = counting_source_stream(&source);
    stream.get_next = forking_next;
    stream.release = forking_release;
    struct bc_cache *cache;
    CHECK(bc_cache_new(&stream, &own, &cache, NULL) == 0);
    struct bc_error error = {0};
    uint64_t batches;
    int code = bc_cache_ingest(cache, &batches, &error);
    /* If the cache prefetches, the child has that thread only, and ends with it. */
    if (scene.child == 0) check_in_child(cache, dir, code, &error);
    CHECK(code == 0 && batches == ALL);
    check_in_parent(cache, dir);
    bc_cache_unref(cache);
    counting_source_wait_released(&source);
    counting_source_check_released(&source);
    if (own.record_path != NULL) {
        CHECK(bc_file_verify(dir->path, NULL, &batches, NULL) == 0 && batches == ALL);
        CHECK(unlink(dir->path) == 0);
    }
    CHECK(directory_count(dir->root) == 0 && directory_count(dir->caches) == 0);
}

static void fork_everywhere(const struct bc_cache_options *options,
                            struct recording_dir *dir) {
    for (int where = IN_NEXT; where <= IN_RELEASE; where++) {
        fork_at(options, dir, (enum where)where, AT);
        fork_at(options, dir, (enum where)where, ALL);
    }
    /* The release of a batch that is stored on disk only. */
    if (options->memory_capacity == 0) fork_at(options, dir, IN_ARRAY, AT);
}

static void test_sources_that_fork(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
#if defined(__SANITIZE_ADDRESS__)
    /* If the child ends with the prefetching thread, the stack that refers to the cache
     * is lost, so the cache counts as leaked. */
    const uint64_t prefetch_max = 0;
#else
    const uint64_t prefetch_max = 2;
#endif
    for (uint64_t prefetch = 0; prefetch <= prefetch_max; prefetch += 2) {
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.prefetch = prefetch;
        fork_everywhere(&options, &dir);
        options.disk_path = dir.caches;
        fork_everywhere(&options, &dir);
        options.memory_capacity = 0;
        fork_everywhere(&options, &dir);
        options.write_policy = BC_WRITE_ON_EVICTION;
        fork_everywhere(&options, &dir);
        options.write_policy = BC_WRITE_ON_INSERTION;
        options.disk_path = NULL;
        options.record_path = dir.path;
        fork_everywhere(&options, &dir);
        options.durable = 1;
        fork_everywhere(&options, &dir);
        options.resume = 1;
        fork_at(&options, &dir, IN_NEXT, 1);
        fork_at(&options, &dir, IN_NEXT_AND_FAIL, 1);
        fork_at(&options, &dir, IN_NEXT, 6);
    }
    recording_dir_finish(&dir);
}

static void test_a_hook_that_forks(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = dir.caches;
    options.memory_capacity = 0;
    /* Hooks are polled at intervals. This clock shows that the first one is over. */
    bc__fault_clock(INT64_MAX / 2);
    fork_at(&options, &dir, IN_POLL, 0);
    bc__fault_clock(-1);
    recording_dir_finish(&dir);
}

/* A child uses the readers of a recording while its parent records. */
static void test_a_child_and_a_parent_that_records(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, ALL, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir.path;
    options.durable = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(cache, AT, &batches, NULL) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(PATIENCE);
        char byte;
        CHECK(read(ends[0], &byte, 1) == 1);
        CHECK(bc_cache_ingest_to(cache, AT, &batches, NULL) == 0 && batches == AT);
        CHECK(bc_cache_ingest(cache, &batches, NULL) == ECANCELED);
        CHECK(bc_cache_publish(cache, &batches, NULL) == 0 && batches == AT);
        bc_cache_unref(cache);
        _exit(0);
    }
    CHECK(bc_cache_ingest_to(cache, AT + 1, &batches, NULL) == 0 && batches == AT + 1);
    CHECK(write(ends[1], "", 1) == 1);
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == ALL);
    check_child(child);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    bc_cache_unref(cache);
    CHECK(bc_file_verify(dir.path, NULL, &batches, NULL) == 0 && batches == ALL);
    recording_dir_finish(&dir);
}

int main(void) {
#if defined(__SANITIZE_THREAD__)
    printf("1..0 # SKIP ThreadSanitizer follows no fork\n");
    return 0;
#endif
    static const struct tap_case cases[] = {
        TAP_CASE(test_readers_shared_in_a_child),
#if !defined(__SANITIZE_ADDRESS__)
        TAP_CASE(test_forks_while_others_work),
#endif
        TAP_CASE(test_sources_that_fork),
        TAP_CASE(test_a_hook_that_forks),
        TAP_CASE(test_a_child_and_a_parent_that_records),
    };
    return TAP_RUN(cases);
}
