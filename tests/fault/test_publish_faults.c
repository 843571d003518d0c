/* Published batches stay after any later failure. Another process reads the recording
 * before each system call of the writer, and touches the batches again at the end. */
#include <sys/wait.h>

#include "base/fault.h"
#include "recording_dir.h"
#include "sweep.h"

enum { BATCHES = 4, ROWS = 500 };

/* Another process. It opens the recording for each request, and keeps the last batch. */
struct onlooker {
    const char *path;
    pid_t process;
    int ask[2], answer[2];
    unsigned long calls, nth; /* the writer's call that fails */
};

/* The batch that the other process keeps. */
struct held {
    struct bc_cache *cache;
    struct ArrowArray array;
    uint64_t batches;
    bool complete;
};

static void let_go(struct held *held) {
    if (held->cache == NULL) return;
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    counting_source_check(&source, &held->array, (int64_t)held->batches - 1);
    bc_cache_unref(held->cache);
    held->cache = NULL;
}

static void look_on(const char *path, struct held *held) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.partial = 1;
    struct bc_cache *cache;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    struct bc_file_info info = {.struct_size = sizeof(info)};
    if (bc_file_open(path, &options, &cache, NULL) != 0) return;
    bc_cache_stats(cache, &stats);
    CHECK(bc_cache_file_info(cache, &info, NULL, NULL) == 0);
    bool complete = info.complete != 0;
    CHECK(stats.batches >= held->batches && complete >= held->complete);
    if (stats.batches == held->batches && complete == held->complete) {
        bc_cache_unref(cache);
        return;
    }
    let_go(held);
    *held = (struct held){.cache = cache, .batches = stats.batches, .complete = complete};
    CHECK(bc_cache_batch(cache, stats.batches - 1, &held->array, NULL, NULL) == 0);
}

static void be_onlooker(const struct onlooker *onlooker) {
    struct held held = {.cache = NULL};
    char word;
    CHECK(close(onlooker->ask[1]) == 0 && close(onlooker->answer[0]) == 0);
    while (read(onlooker->ask[0], &word, 1) == 1) {
        look_on(onlooker->path, &held);
        CHECK(write(onlooker->answer[1], &word, 1) == 1);
    }
    let_go(&held);
    _exit(0);
}

static void begin_onlooker(struct onlooker *onlooker) {
    CHECK(pipe(onlooker->ask) == 0 && pipe(onlooker->answer) == 0);
    (void)fflush(stdout);
    onlooker->process = fork();
    if (onlooker->process == 0) be_onlooker(onlooker);
    CHECK(close(onlooker->ask[0]) == 0 && close(onlooker->answer[1]) == 0);
}

static void end_onlooker(struct onlooker *onlooker) {
    CHECK(close(onlooker->ask[1]) == 0 && close(onlooker->answer[0]) == 0);
    int status;
    CHECK(waitpid(onlooker->process, &status, 0) == onlooker->process && status == 0);
}

static void have_looked_on(void *context, enum bc_fault_moment moment, int file) {
    (void)file;
    struct onlooker *onlooker = context;
    char word = 'x';
    CHECK(write(onlooker->ask[1], &word, 1) == 1);
    CHECK(read(onlooker->answer[0], &word, 1) == 1);
    bool now = moment == BC_MOMENT_CALL && ++onlooker->calls == onlooker->nth;
    if (now) bc__fault_arm(BC_FAULT_SYS, 1, EIO);
}

/* Fails call `nth` while batch `last` is recorded; BATCHES means the end of the
 * recording. Returns true if there was such a call. */
static bool fail_before_an_onlooker(const struct recording_dir *dir, unsigned long nth,
                                    bool durable, uint64_t last) {
    struct onlooker onlooker = {.path = dir->path, .nth = nth};
    begin_onlooker(&onlooker);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir->path;
    options.memory_capacity = 0;
    options.durable = durable;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t n;
    CHECK(bc_cache_ingest_to(cache, last, &n, NULL) == 0);
    bc__fault_watch(have_looked_on, &onlooker);
    int code = bc_cache_ingest_to(cache, last + 1, &n, NULL);
    bool fired = onlooker.calls >= nth;
    CHECK(code == 0 || (fired && code == EIO));
    code = bc_cache_ingest(cache, &n, NULL);
    CHECK(code == 0 || code == EIO);
    bc__fault_watch(NULL, NULL);
    bc__fault_arm(BC_FAULT_SYS, 0, 0);
    bc_cache_unref(cache);
    end_onlooker(&onlooker);
    counting_source_check_released(&source);
    CHECK(unlink(dir->path) == 0);
    return fired;
}

/* Readers keep valid bytes of published batches after any failure. */
static void test_what_is_published_stays(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int i = 0; i < 4; i++) {
        bool fired = true;
        for (unsigned long nth = 1; fired; nth = sweep_next(nth)) {
            fired = fail_before_an_onlooker(&dir, nth, i % 2 != 0, i < 2 ? 2 : BATCHES);
            CHECK(fired || nth > 2);
        }
    }
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_what_is_published_stays)};
    return TAP_RUN(cases);
}
