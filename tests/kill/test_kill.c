/* Processes are killed before every system call, and in the middle of every write. A
 * recording must then be an exact prefix, and a saved file must be complete or absent.
 * The next process must continue.
 *
 * BC_KILL_KEEP: a directory for copies of all files left behind, for other libraries to
 * read: MODE.BATCHESxROWS.HOW.N. */
#include <signal.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "recording_dir.h"
#include "save.h"

enum { OLD_BATCHES = 4, OLD_ROWS = 3, PART = 3 };

/* The file at the path before the test. */
enum before { NOTHING, OLD, UNFINISHED };

struct mode {
    const char *name;
    int64_t batches;
    int64_t rows;
    int64_t fast_from; /* batches from there on are written together; killed from there */
    enum before before;
    bool saves; /* at once, instead of recording */
    bool tier;  /* is only a cache */
    bool on_disk;
    bool durable;
    int poverty; /* calls that the file system lacks */
};

struct runner {
    const struct mode *mode;
    const struct recording_dir *dir;
    int code;        /* of the fault */
    unsigned long n; /* 0: none */
};

static void arm(const struct runner *runner) {
    bc__fault_arm(BC_FAULT_SYS, runner->n, runner->code);
}

/* Called inside the source. The clock is stopped, so that all batches of a tick are fast.
 */
static void set_pace(void *context, int64_t number) {
    const struct runner *runner = context;
    if (number != runner->mode->fast_from) return;
    bc__fault_clock(1005);
    arm(runner);
}

static void ingest(struct bc_cache *cache, const struct mode *mode) {
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    CHECK(batches == (uint64_t)mode->batches);
}

/* Records to the end, or resumes a recording. */
static void record(const struct runner *runner, struct counting_source *source) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = runner->dir->path;
    options.memory_capacity = 0;
    options.durable = runner->mode->durable;
    options.resume = file_exists(runner->dir->path);
    struct ArrowArrayStream stream = counting_source_stream(source);
    struct bc_cache *cache;
    int code = bc_cache_new(&stream, &options, &cache, NULL);
    if (code == EEXIST && options.resume) {
        /* The killed process had completed the recording. */
        stream.release(&stream);
        return;
    }
    CHECK(code == 0);
    ingest(cache, runner->mode);
    bc_cache_unref(cache);
}

static void save(const struct runner *runner, struct counting_source *source) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    if (runner->mode->on_disk) options.disk_path = runner->dir->caches;
    struct bc_cache *cache = counting_source_cache(source, &options);
    int replaces = file_exists(runner->dir->path);
    CHECK(save_cache(cache, runner->dir->path, replaces, runner->mode->durable, NULL) ==
          0);
    bc_cache_unref(cache);
}

static void fill_tier(const struct runner *runner, struct counting_source *source) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = runner->dir->caches;
    options.memory_capacity = 0;
    struct bc_cache *cache = counting_source_cache(source, &options);
    ingest(cache, runner->mode);
    bc_cache_unref(cache);
}

static void run(struct runner *runner) {
    const struct mode *mode = runner->mode;
    struct counting_source source;
    counting_source_init(&source, mode->batches, mode->rows);
    bc__fault_make_poor(mode->poverty);
    if (mode->fast_from > 0) {
        source.before = set_pace;
        source.context = runner;
        bc__fault_clock(1000);
    } else {
        arm(runner);
    }
    if (mode->tier) {
        fill_tier(runner, &source);
    } else if (mode->saves) {
        save(runner, &source);
    } else {
        record(runner, &source);
    }
}

/* True when the child came to its end; else it was killed. */
static bool run_in_child(struct runner *runner) {
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        run(runner);
        (void)fflush(stdout);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) {
        CHECK(WEXITSTATUS(status) == 0);
        return true;
    }
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return false;
}

/* ---- files before the test ---- */

static void prepare(const struct mode *mode, const struct recording_dir *dir) {
    if (mode->before == NOTHING) return;
    struct counting_source source;
    bool old = mode->before == OLD;
    counting_source_init(&source, old ? OLD_BATCHES : mode->batches,
                         old ? OLD_ROWS : mode->rows);
    recording_write(dir->path, source, old ? UINT64_MAX : PART);
}

/* ---- files after the test ---- */

/* Rows of each batch in the complete file at the path. */
static int64_t rows_of(const char *path) {
    struct bc_cache *cache;
    if (bc_file_open(path, NULL, &cache, NULL) != 0) return -1;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    bc_cache_unref(cache);
    return (int64_t)(stats.rows / stats.batches);
}

static void check_left(const struct mode *mode, const struct recording_dir *dir,
                       bool ended) {
    struct bc_cache *cache;
    bool complete;
    if (mode->tier) return;
    if (!file_exists(dir->path)) {
        CHECK(!ended && mode->before == NOTHING);
        CHECK(bc_file_open(dir->path, NULL, &cache, NULL) == ENOENT);
        return;
    }
    /* A name that was taken, and no more. */
    struct stat status;
    CHECK(stat(dir->path, &status) == 0);
    if (mode->poverty > 1 && status.st_size == 0) {
        CHECK(!ended);
        return;
    }
    if (mode->saves && rows_of(dir->path) == OLD_ROWS) {
        CHECK(!ended && mode->before == OLD);
        CHECK(recording_batches(dir->path, OLD_ROWS, false, &complete) == OLD_BATCHES);
        CHECK(complete);
        return;
    }
    int64_t batches = recording_batches(dir->path, mode->rows, false, &complete);
    CHECK(batches <= mode->batches && (!complete || batches == mode->batches));
    CHECK(complete || (!mode->saves && !ended));
    CHECK(mode->before != UNFINISHED || batches >= PART);
    if (complete) return;
    /* The writer is dead, and a follower gets that error. */
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    CHECK(bc_file_open(dir->path, &options, &cache, NULL) == 0);
    uint64_t followed;
    CHECK(bc_cache_ingest(cache, &followed, NULL) == EOWNERDEAD);
    bc_cache_unref(cache);
}

/* A process that was not killed leaves the recording, and no other file. */
static void check_end(const struct mode *mode, const struct recording_dir *dir) {
    bool complete;
    CHECK(directory_count(dir->caches) == 0);
    if (mode->tier) return;
    CHECK(recording_batches(dir->path, mode->rows, false, &complete) == mode->batches);
    CHECK(complete);
    CHECK(directory_count(dir->root) == 1);
}

/* A copy for other libraries, if BC_KILL_KEEP is set. */
static void keep(const struct mode *mode, const struct recording_dir *dir,
                 const char *how, unsigned long n) {
    const char *where = getenv("BC_KILL_KEEP");
    if (where == NULL || !file_exists(dir->path)) return;
    char name[PATH_SIZE];
    (void)snprintf(name, sizeof(name), "%s/%s.%lldx%lld.%s.%lu", where, mode->name,
                   (long long)mode->batches, (long long)mode->rows, how, n);
    size_t size;
    char *bytes = file_read(dir->path, &size);
    file_write(name, bytes, size);
    free(bytes);
}

/* Gives left cache directories an old time stamp. */
static void age(const char *path) {
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        static const struct timespec long_ago[2] = {{1000, 0}, {1000, 0}};
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        CHECK(utimensat(dirfd(dir), entry->d_name, long_ago, 0) == 0);
    }
    CHECK(closedir(dir) == 0);
}

/* Kills a process at call number 1, 2, 3, ... until one comes to its end before. */
static void sweep(const struct mode *mode, int code, const char *how) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    unsigned long n = 0;
    for (bool ended = false; !ended;) {
        CHECK(++n < 2000);
        prepare(mode, &dir);
        struct runner runner = {mode, &dir, code, n};
        ended = run_in_child(&runner);
        check_left(mode, &dir, ended);
        keep(mode, &dir, how, n);
        runner.n = 0;
        age(dir.caches);
        CHECK(run_in_child(&runner));
        check_end(mode, &dir);
        directory_clear(dir.root);
    }
    CHECK(n > 5);
    recording_dir_finish(&dir);
}

static void kill_everywhere(struct mode mode) {
    if (mode.batches == 0) mode.batches = 6;
    if (mode.rows == 0) mode.rows = 5;
    sweep(&mode, BC_FAULT_KILL, "before");
    sweep(&mode, BC_FAULT_KILL_HALF, "half");
}

static void test_record(void) { kill_everywhere((struct mode){.name = "record"}); }

static void test_record_durable(void) {
    kill_everywhere((struct mode){.name = "record_durable", .durable = true});
}

/* 70 messages of more than 1 KB fill a block and more. */
static void test_record_together(void) {
    kill_everywhere((struct mode){
        .name = "record_together", .batches = 64 + 70, .rows = 30, .fast_from = 64});
}

/* Without RENAME_NOREPLACE, and without links too. */
static void test_record_where_names_are_hard_to_take(void) {
    kill_everywhere((struct mode){.name = "record_by_link", .poverty = 1});
    kill_everywhere((struct mode){.name = "record_over_own", .poverty = 2});
}

static void test_resume(void) {
    kill_everywhere((struct mode){.name = "resume", .before = UNFINISHED});
}

static void test_resume_durable(void) {
    kill_everywhere(
        (struct mode){.name = "resume_durable", .before = UNFINISHED, .durable = true});
}

static void test_tier(void) {
    kill_everywhere((struct mode){.name = "tier", .tier = true});
}

static void test_save_copy(void) {
    kill_everywhere((struct mode){.name = "save_copy", .saves = true});
}

static void test_save_copy_where_names_are_hard_to_take(void) {
    kill_everywhere(
        (struct mode){.name = "save_copy_by_link", .saves = true, .poverty = 1});
    kill_everywhere(
        (struct mode){.name = "save_copy_over_own", .saves = true, .poverty = 2});
}

static void test_save_link(void) {
    kill_everywhere((struct mode){
        .name = "save_link", .saves = true, .on_disk = true, .durable = true});
}

static void test_save_copy_replaces(void) {
    kill_everywhere((struct mode){
        .name = "save_copy_replaces", .saves = true, .before = OLD, .durable = true});
}

static void test_save_link_replaces(void) {
    kill_everywhere((struct mode){
        .name = "save_link_replaces", .saves = true, .before = OLD, .on_disk = true});
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_record),
        TAP_CASE(test_record_durable),
        TAP_CASE(test_record_together),
        TAP_CASE(test_record_where_names_are_hard_to_take),
        TAP_CASE(test_resume),
        TAP_CASE(test_resume_durable),
        TAP_CASE(test_tier),
        TAP_CASE(test_save_copy),
        TAP_CASE(test_save_copy_where_names_are_hard_to_take),
        TAP_CASE(test_save_link),
        TAP_CASE(test_save_copy_replaces),
        TAP_CASE(test_save_link_replaces),
    };
    return TAP_RUN(cases);
}
