/* Each allocation and each system call of recording and opening fails once. The call
 * reports the error, leaks nothing and leaves no file. The recording is an exact prefix,
 * and a second try succeeds. */
#include "arrow_file.h"
#include "base/error.h"
#include "base/fault.h"
#include "cache/cache.h"
#include "recording_dir.h"
#include "save.h"
#include "sweep.h"

enum { BATCHES = 4, ROWS = 5, OLD_BATCHES = 2, OLD_ROWS = 3, FAST_FROM = 64 };

struct stage;

/* A call to test, and the state of the files before it. */
struct scenario {
    void (*prepare)(struct stage *stage);
    /* The call, repeated until it succeeds. */
    int (*act)(struct stage *stage, struct bc_error *error);
    /* Checks the state after a failure. */
    void (*check_failed)(struct stage *stage);
    /* Checks the state in the end, and releases everything. */
    void (*finish)(struct stage *stage);
    int64_t batches; /* 0: BATCHES of ROWS */
    int64_t rows;
    bool grows;    /* the dictionary grows */
    bool durable;  /* if a file is opened: it is read into memory */
    bool writable; /* a file is opened so that its batches may be written */
    bool on_disk;  /* the saved or published cache has a disk tier */
    bool replaces; /* replaces another recording */
    int poverty;   /* calls that the file system lacks */
    bool fast;     /* batches from FAST_FROM on are written together */
};

/* A run of a scenario, with one fault. */
struct stage {
    const struct scenario *scenario;
    struct recording_dir dir;
    struct counting_source source;
    struct ArrowArrayStream stream;
    struct bc_cache *cache;
    enum bc_fault_kind kind;
    unsigned long nth;
    int code;
    int failures;
    int64_t expected; /* batches in the end */
    int synced;       /* files that were synchronised since the last reset */
    bool resumes;
    uint64_t there; /* batches that resuming must find in the file */
    bool has_new;   /* the new recording has replaced the old one */
};

static void arm(const struct stage *stage) {
    bc__fault_arm(stage->kind, stage->nth, stage->code);
}

static void count_synced(void *context, enum bc_fault_moment moment, int file) {
    (void)file;
    struct stage *stage = context;
    stage->synced += moment == BC_MOMENT_SYNCED;
}

/* Called inside the source. The clock is stopped, so that all batches of a tick are
 * fast. */
static void set_pace(void *context, int64_t number) {
    if (number != FAST_FROM) return;
    struct stage *stage = context;
    bc__fault_clock(1005);
    if (stage->failures == 0) arm(stage);
}

static void reset_source(struct stage *stage) {
    const struct scenario *scenario = stage->scenario;
    counting_source_init(&stage->source, scenario->batches, scenario->rows);
    stage->source.grows = scenario->grows;
    if (!scenario->fast) return;
    stage->source.before = set_pace;
    stage->source.context = stage;
    bc__fault_clock(1000);
}

/* ---- recording ---- */

static int record(struct stage *stage, struct bc_error *error) {
    if (stage->cache == NULL) {
        if (stage->stream.release == NULL)
            stage->stream = counting_source_stream(&stage->source);
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.record_path = stage->dir.path;
        options.memory_capacity = 0;
        options.durable = stage->scenario->durable;
        options.resume = stage->resumes;
        options.key = "a key";
        options.prefetch = 0;
        int code = bc_cache_new(&stage->stream, &options, &stage->cache, error);
        if (code != 0) return code;
        struct bc_stats stats = {.struct_size = sizeof(stats)};
        bc_cache_stats(stage->cache, &stats);
        CHECK(stats.resumed >= stage->there);
        /* A resumed recording may have been started without one. */
        const char *key = bc_cache_key(stage->cache);
        CHECK(key == NULL ? stage->resumes : strcmp(key, "a key") == 0);
    }
    uint64_t batches = 0;
    int code = bc_cache_ingest(stage->cache, &batches, error);
    if (code == 0) CHECK(batches == (uint64_t)stage->expected);
    return code;
}

/* A failed synchronisation is never repeated. Batches published before it stay, also if
 * they are the whole recording. */
static void check_broken(struct stage *stage, bool complete) {
    int code = stage->cache->disk.file.broken;
    if (code >= BC_SYSTEM_ERROR) code = EIO;
    stage->synced = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t batches;
        struct bc_error error = {0};
        CHECK(bc_cache_ingest(stage->cache, &batches, &error) == code);
        CHECK(error.code == code);
        CHECK(bc_cache_ingest_to(stage->cache, 1, &batches, &error) == code);
        CHECK(save_cache(stage->cache, stage->dir.other, 0, 1, &error) == code);
    }
    CHECK(stage->synced == 0 && !file_exists(stage->dir.other));
    bc_cache_unref(stage->cache);
    stage->cache = NULL;
    counting_source_check_released(&stage->source);
    reset_source(stage);
    stage->resumes = !complete;
    if (!complete) return;
    CHECK(unlink(stage->dir.path) == 0);
    stage->there = 0;
}

static void check_recording_failed(struct stage *stage) {
    if (stage->cache == NULL) {
        CHECK(stage->stream.release != NULL && stage->source.next == 0);
        CHECK(directory_count(stage->dir.root) == stage->resumes);
        return;
    }
    CHECK(directory_count(stage->dir.root) == 1);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(stage->cache, &stats);
    bool complete;
    const struct scenario *scenario = stage->scenario;
    int64_t batches =
        recording_batches(stage->dir.path, scenario->rows, scenario->grows, &complete);
    bool broken = stage->cache->disk.file.broken != 0;
    CHECK(broken || (!complete && batches <= (int64_t)stats.batches));
    CHECK(batches <= (int64_t)stats.batches + 1);
    CHECK(batches == (int64_t)stats.batches || scenario->fast || scenario->durable);
    if (broken) check_broken(stage, complete);
}

static void finish_recording(struct stage *stage) {
    const struct scenario *scenario = stage->scenario;
    struct bc_reader *reader = new_reader(stage->cache);
    struct counting_source source = stage->source;
    atomic_store(&source.arrays_alive, scenario->batches);
    CHECK(counting_source_drain(&source, reader, 0) == stage->expected);
    bc_reader_unref(reader);
    bc_cache_unref(stage->cache);
    counting_source_check_released(&stage->source);
    bool complete;
    CHECK(recording_batches(stage->dir.path, scenario->rows, scenario->grows,
                            &complete) == stage->expected);
    CHECK(complete && directory_count(stage->dir.root) == 1);
}

static void leave_half(struct stage *stage) {
    recording_write(stage->dir.path, stage->source, BATCHES / 2);
    /* Unpublished bytes do no harm, and never appear later. */
    char rest[3000];
    memset(rest, 'x', sizeof(rest));
    memset(rest, 0, 8);
    int file = open(stage->dir.path, O_WRONLY | O_APPEND);
    CHECK(write(file, rest, sizeof(rest)) == sizeof(rest) && close(file) == 0);
    stage->resumes = true;
    stage->there = BATCHES / 2;
}

/* ---- saving and publishing ---- */

static void make_cache(struct stage *stage) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    if (stage->scenario->on_disk) {
        options.disk_path = stage->dir.caches;
        options.memory_capacity = 0;
    }
    stage->cache = counting_source_cache(&stage->source, &options);
    if (!stage->scenario->replaces) return;
    struct counting_source old;
    counting_source_init(&old, OLD_BATCHES, OLD_ROWS);
    recording_write(stage->dir.path, old, UINT64_MAX);
}

static int save(struct stage *stage, struct bc_error *error) {
    int replaces = stage->scenario->replaces || stage->has_new;
    return save_cache(stage->cache, stage->dir.path, replaces, stage->scenario->durable,
                      error);
}

/* A failed save leaves no file. Only a failed synchronisation of the directory is noticed
 * after the file has its name. */
static void check_save_failed(struct stage *stage) {
    const struct scenario *scenario = stage->scenario;
    CHECK(directory_count(stage->dir.root) == scenario->replaces);
    if (stage->cache->disk.file.broken != 0) {
        stage->synced = 0;
        struct bc_error error = {0};
        bool is_ours = bc__error_of_system(stage->code) != stage->code;
        int code = is_ours ? EIO : stage->code;
        CHECK(save(stage, &error) == code && error.code == code);
        CHECK(stage->synced == 0 &&
              directory_count(stage->dir.root) == scenario->replaces);
        bc_cache_unref(stage->cache);
        counting_source_check_released(&stage->source);
        reset_source(stage);
        struct scenario other = *scenario;
        other.replaces = false;
        stage->scenario = &other;
        make_cache(stage);
        stage->scenario = scenario;
    }
    if (!scenario->replaces) return;
    struct bc_cache *cache;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    CHECK(bc_file_open(stage->dir.path, NULL, &cache, NULL) == 0);
    bc_cache_stats(cache, &stats);
    bc_cache_unref(cache);
    if (stats.batches == BATCHES) {
        CHECK(scenario->durable);
        return;
    }
    bool complete;
    CHECK(recording_batches(stage->dir.path, OLD_ROWS, false, &complete) == OLD_BATCHES);
    CHECK(complete);
}

static void finish_save(struct stage *stage) {
    finish_recording(stage);
    CHECK(directory_count(stage->dir.caches) == 0);
}

static int share(struct stage *stage, struct bc_error *error) {
    uint64_t batches;
    int code = bc_cache_ingest_to(stage->cache, BATCHES / 2, &batches, error);
    if (code == 0) code = bc_cache_publish(stage->cache, &batches, error);
    if (code == 0) CHECK(batches >= BATCHES / 2);
    if (code == 0) code = bc_cache_ingest(stage->cache, &batches, error);
    if (code == 0) code = bc_cache_publish(stage->cache, &batches, error);
    if (code == 0) CHECK(batches == BATCHES);
    return code;
}

static void finish_share(struct stage *stage) {
    bool complete;
    const char *path = bc_cache_path(stage->cache);
    CHECK(recording_batches(path, ROWS, stage->scenario->grows, &complete) == BATCHES);
    CHECK(complete);
    bc_cache_unref(stage->cache);
    counting_source_check_released(&stage->source);
    CHECK(directory_count(stage->dir.caches) == 0 &&
          directory_count(stage->dir.root) == 0);
}

/* ---- opening ---- */

static void make_complete(struct stage *stage) {
    recording_write(stage->dir.path, stage->source, UINT64_MAX);
}

static void make_partial(struct stage *stage) {
    leave_half(stage);
    stage->expected = BATCHES / 2;
}

/* Writes a stream without checksums, as other libraries do. */
static void make_stream(struct stage *stage) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = stage->dir.caches;
    options.memory_capacity = 0;
    options.checksum = 0;
    struct bc_cache *cache = counting_source_cache(&stage->source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    size_t size;
    char *bytes = file_read(bc_cache_path(cache), &size);
    file_write(stage->dir.path, bytes, size);
    free(bytes);
    bc_cache_unref(cache);
}

/* An Arrow file has one version of each dictionary. */
static void make_file(struct stage *stage) {
    stage->source.n_batches = stage->expected = 2;
    make_complete(stage);
    arrow_file_from(stage->dir.path);
}

static int open_and_read(struct stage *stage, struct bc_error *error) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.partial = 1;
    options.verify = 1;
    options.read_into_memory = stage->scenario->durable;
    options.writable = stage->scenario->writable;
    int code = 0;
    if (stage->cache == NULL) {
        code = bc_file_open(stage->dir.path, &options, &stage->cache, error);
    }
    struct ArrowArray array;
    for (int64_t i = 0; code == 0; i++) {
        code = bc_cache_batch(stage->cache, (uint64_t)i, &array, NULL, error);
        if (code != 0) break;
        if (array.release == NULL) {
            CHECK(i == stage->expected);
            break;
        }
        counting_source_check(&stage->source, &array, i);
    }
    return code;
}

static int verify(struct stage *stage, struct bc_error *error) {
    const uint64_t untouched = 99;
    uint64_t batches = untouched;
    int code = bc_file_verify(stage->dir.path, NULL, &batches, error);
    CHECK(batches <= (uint64_t)stage->expected || (batches == untouched && code != 0));
    CHECK(code != 0 || batches == (uint64_t)stage->expected);
    return code;
}

static int look(struct stage *stage, struct bc_error *error) {
    int code = 0;
    if (stage->cache == NULL) {
        code = bc_file_open(stage->dir.path, NULL, &stage->cache, error);
    }
    static const int32_t columns[] = {2, 0};
    if (code == 0 && stage->cache->columns == NULL) {
        code = bc_cache_select(stage->cache, columns, 2, error);
    }
    struct bc_file_info info = {.struct_size = sizeof(info)};
    uint64_t bytes[2];
    if (code == 0) code = bc_cache_file_info(stage->cache, &info, bytes, error);
    if (code == 0) CHECK(info.complete && bytes[0] > 0 && bytes[1] == 8 * ROWS * BATCHES);
    struct ArrowSchema schema;
    if (code == 0) code = bc_cache_schema(stage->cache, &schema, error);
    if (code == 0) schema.release(&schema);
    uint64_t starts[BATCHES + 1];
    if (code == 0) code = bc_cache_row_starts(stage->cache, 0, BATCHES, starts, error);
    uint64_t batch;
    uint64_t row;
    if (code == 0) code = bc_cache_find_row(stage->cache, ROWS, &batch, &row, error);
    if (code == 0) CHECK(batch == 1 && row == 0 && starts[BATCHES] == BATCHES * ROWS);
    return code;
}

static void check_open_failed(struct stage *stage) {
    CHECK(directory_count(stage->dir.root) == 1);
}

static void finish_open(struct stage *stage) {
    bc_cache_unref(stage->cache);
    CHECK(directory_count(stage->dir.root) == 1);
}

/* ---- all of them ---- */

/* Runs the scenario with one fault. Returns true if the fault fired. */
static bool run(struct stage *stage) {
    const struct scenario *scenario = stage->scenario;
    stage->expected = scenario->batches;
    reset_source(stage);
    bc__fault_make_poor(scenario->poverty);
    if (scenario->prepare != NULL) scenario->prepare(stage);
    bc__fault_watch(count_synced, stage);
    if (!scenario->fast) arm(stage);
    for (;;) {
        struct bc_error error = {0};
        int code = scenario->act(stage, &error);
        if (code == 0) break;
        CHECK(code == error.code && error.message[0] != '\0');
        stage->failures++;
        if (stage->failures > 1) {
            printf("# fault %d at %lu: %d %s\n", stage->code, stage->nth, code,
                   error.message);
        }
        CHECK(stage->failures < 5);
        scenario->check_failed(stage);
    }
    bool fired = bc__fault_fired(stage->kind);
    bc__fault_arm(stage->kind, 0, 0);
    bc__fault_clock(-1);
    scenario->finish(stage);
    bc__fault_watch(NULL, NULL);
    bc__fault_make_poor(0);
    directory_clear(stage->dir.root);
    directory_clear(stage->dir.caches);
    return fired;
}

/* Fails call 1, 2, 3, ... until a run makes fewer calls. */
static void sweep(const struct scenario *scenario, enum bc_fault_kind kind, int code) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    bool fired = true;
    for (unsigned long nth = 1; fired; nth = sweep_next(nth)) {
        CHECK(nth < 10000);
        struct stage stage = {
            .scenario = scenario, .dir = dir, .kind = kind, .nth = nth, .code = code};
        fired = run(&stage);
        CHECK(stage.failures <= (fired && code != EINTR && code != BC_FAULT_SHORT));
        CHECK(fired || nth > 2);
    }
    recording_dir_finish(&dir);
}

static void sweep_all(struct scenario scenario) {
    static const int codes[] = {EIO,    ENOSPC,     EDQUOT, EFBIG, EMFILE,        ENOMEM,
                                EACCES, EOPNOTSUPP, EINVAL, EINTR, BC_FAULT_SHORT};
    if (scenario.batches == 0) scenario.batches = BATCHES;
    if (scenario.rows == 0) scenario.rows = ROWS;
    sweep(&scenario, BC_FAULT_ALLOC, ENOMEM);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        /* There, the errno means that another process works on the new name. */
        if (scenario.poverty == 2 && codes[i] == EACCES) continue;
        sweep(&scenario, BC_FAULT_SYS, codes[i]);
    }
}

static const struct scenario recording = {
    .act = record, .check_failed = check_recording_failed, .finish = finish_recording};
static const struct scenario saving = {.prepare = make_cache,
                                       .act = save,
                                       .check_failed = check_save_failed,
                                       .finish = finish_save};
static const struct scenario opening = {.prepare = make_complete,
                                        .act = open_and_read,
                                        .check_failed = check_open_failed,
                                        .finish = finish_open};

static void test_record(void) {
    struct scenario scenario = recording;
    sweep_all(scenario);
    scenario.grows = true;
    sweep_all(scenario);
    for (scenario.poverty = 1; scenario.poverty <= 2; scenario.poverty++) {
        sweep_all(scenario);
    }
}

static void test_record_durable(void) {
    struct scenario scenario = recording;
    scenario.durable = true;
    sweep_all(scenario);
}

/* The first temporary names are taken by a link, a pipe and a file of another process. A
 * dead process left the file of the next name. */
static void test_hidden_names_that_are_taken(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    char names[4][PATH_SIZE + 20];
    for (int i = 0; i < 4; i++) {
        (void)snprintf(names[i], sizeof(names[i]),
                       i == 0 ? "%s/.x.arrows.unfinished" : "%s/.x.arrows.unfinished-%d",
                       dir.root, i);
    }
    CHECK(symlink(dir.other, names[0]) == 0 && mkfifo(names[1], 0600) == 0);
    file_write(names[2], "mine", 4);
    file_write(names[3], "left", 4);
    int file = open(names[2], O_RDWR);
    CHECK(file >= 0 && bc__sys_lock(file) == 0);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    CHECK(save_cache(cache, dir.path, 0, 0, NULL) == 0);
    CHECK(directory_count(dir.root) == 4 && !file_exists(names[3]) &&
          file_exists(dir.path));
    CHECK(!file_exists(dir.other));
    char bytes[5] = "";
    CHECK(pread(file, bytes, 4, 0) == 4 && strcmp(bytes, "mine") == 0);
    CHECK(close(file) == 0);
    CHECK(save_cache(cache, dir.path, 1, 0, NULL) == 0 && !file_exists(names[2]));
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

/* Many processes may create one name at a time, but fewer than there are temporary
 * names. */
static void test_hidden_names_run_out(void) {
    enum { SOME = 100, ALL = 1000 };
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    for (int i = 0; i < ALL; i++) {
        char name[PATH_SIZE + 20];
        (void)snprintf(name, sizeof(name),
                       i == 0 ? "%s/.x.arrows.unfinished" : "%s/.x.arrows.unfinished-%d",
                       dir.root, i);
        CHECK(mkfifo(name, 0600) == 0);
        if (i != SOME) continue;
        CHECK(save_cache(cache, dir.path, 0, 0, NULL) == 0);
        CHECK(directory_count(dir.root) == SOME + 2);
    }
    CHECK(save_cache(cache, dir.path, 1, 0, NULL) == EBUSY);
    CHECK(directory_count(dir.root) == ALL + 1);
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

/* Starting the thread is the last step that can fail. The recording then has its name. */
static void test_prefetch_that_cannot_start(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir.path;
    options.prefetch = 1;
    int failures = 0;
    for (unsigned long nth = 1; nth < 10; nth++) {
        struct counting_source source;
        counting_source_init(&source, BATCHES, ROWS);
        struct ArrowArrayStream stream = counting_source_stream(&source);
        struct bc_cache *cache;
        bc__fault_arm(BC_FAULT_SYS, nth, EIO);
        int code = bc_cache_new(&stream, &options, &cache, NULL);
        bc__fault_arm(BC_FAULT_SYS, 0, 0);
        if (code == 0) {
            bc_cache_unref(cache);
            CHECK(unlink(dir.path) == 0);
            continue;
        }
        CHECK(stream.release != NULL && source.next == 0);
        CHECK(directory_count(dir.root) == 0);
        stream.release(&stream);
        failures++;
    }
    CHECK(failures > 4);
    recording_dir_finish(&dir);
}

/* 70 messages of more than 1 KB fill a block and more. */
static void test_record_together(void) {
    struct scenario scenario = recording;
    scenario.fast = true;
    scenario.batches = FAST_FROM + 70;
    scenario.rows = 30;
    sweep_all(scenario);
    scenario.durable = true;
    sweep_all(scenario);
}

static void test_resume(void) {
    struct scenario scenario = recording;
    scenario.prepare = leave_half;
    sweep_all(scenario);
    scenario.durable = scenario.grows = true;
    sweep_all(scenario);
}

/* A batch that a follower has read is not lost if there is no memory to keep it. */
static void test_follow(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, BATCHES, 5);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir.path;
    struct bc_cache *writer = counting_source_cache(&source, &options);
    uint64_t n;
    CHECK(bc_cache_ingest_to(writer, 3, &n, NULL) == 0);
    bool fired = true;
    for (unsigned long nth = 1; fired; nth = sweep_next(nth)) {
        struct bc_file_options follow = BC_FILE_OPTIONS_INIT;
        follow.follow = 1;
        struct bc_cache *cache;
        CHECK(bc_file_open(dir.path, &follow, &cache, NULL) == 0);
        bc__fault_arm(BC_FAULT_ALLOC, nth, ENOMEM);
        int code = bc_cache_ingest_to(cache, 3, &n, NULL);
        fired = bc__fault_fired(BC_FAULT_ALLOC);
        bc__fault_arm(BC_FAULT_ALLOC, 0, 0);
        CHECK(code == (fired ? ENOMEM : 0));
        CHECK(bc_cache_ingest_to(cache, 3, &n, NULL) == 0 && n == 3);
        struct counting_source first;
        counting_source_init(&first, 3, 5);
        atomic_store(&first.arrays_alive, 3);
        struct bc_reader_options three = BC_READER_OPTIONS_INIT;
        three.stop = 3;
        struct bc_reader *reader;
        CHECK(bc_cache_reader(cache, &three, &reader, NULL) == 0);
        CHECK(counting_source_drain(&first, reader, 0) == 3);
        bc_reader_unref(reader);
        bc_cache_unref(cache);
    }
    bc_cache_unref(writer);
    counting_source_check_released(&source);
    recording_dir_finish(&dir);
}

/* A follower must know the cache that produces its batches, or it would wait for ever. */
static void test_follow_a_leader(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    bool fired = true;
    for (unsigned long nth = 1; fired; nth = sweep_next(nth)) {
        struct counting_source source;
        counting_source_init(&source, BATCHES, 5);
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        options.record_path = dir.path;
        struct bc_cache *writer = counting_source_cache(&source, &options);
        struct bc_file_options follow = BC_FILE_OPTIONS_INIT;
        follow.follow = 1;
        struct bc_cache *cache;
        bc__fault_arm(BC_FAULT_SYS, nth, EIO);
        int code = bc_file_open(dir.path, &follow, &cache, NULL);
        fired = bc__fault_fired(BC_FAULT_SYS);
        bc__fault_arm(BC_FAULT_SYS, 0, 0);
        CHECK(code == 0 || fired);
        if (code == 0) {
            struct bc_reader *reader = new_reader(cache);
            CHECK(counting_source_drain(&source, reader, 0) == BATCHES);
            bc_reader_unref(reader);
            bc_cache_unref(cache);
        }
        bc_cache_unref(writer);
        CHECK(unlink(dir.path) == 0);
    }
    recording_dir_finish(&dir);
}

static void test_save(void) {
    for (int i = 0; i < 24; i++) {
        struct scenario scenario = saving;
        scenario.on_disk = (i & 1) != 0;
        scenario.replaces = (i & 2) != 0;
        scenario.durable = (i & 4) != 0;
        scenario.poverty = i / 8;
        sweep_all(scenario);
    }
}

static void test_share(void) {
    struct scenario scenario = saving;
    scenario.on_disk = true;
    scenario.act = share;
    scenario.check_failed = check_save_failed;
    scenario.finish = finish_share;
    sweep_all(scenario);
}

static void test_open(void) {
    static void (*const makers[])(struct stage *stage) = {make_complete, make_partial,
                                                          make_stream, make_file};
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct scenario scenario = opening;
        scenario.prepare = makers[i];
        sweep_all(scenario);
        scenario.writable = true;
        sweep_all(scenario);
        scenario.writable = false;
        scenario.durable = true;
        scenario.grows = makers[i] != make_file;
        sweep_all(scenario);
    }
}

static void test_verify(void) {
    struct scenario scenario = opening;
    scenario.act = verify;
    sweep_all(scenario);
}

static void test_select_and_describe(void) {
    struct scenario scenario = opening;
    scenario.act = look;
    sweep_all(scenario);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_record),
                                            TAP_CASE(test_record_durable),
                                            TAP_CASE(test_hidden_names_that_are_taken),
                                            TAP_CASE(test_hidden_names_run_out),
                                            TAP_CASE(test_prefetch_that_cannot_start),
                                            TAP_CASE(test_record_together),
                                            TAP_CASE(test_resume),
                                            TAP_CASE(test_follow),
                                            TAP_CASE(test_follow_a_leader),
                                            TAP_CASE(test_save),
                                            TAP_CASE(test_share),
                                            TAP_CASE(test_open),
                                            TAP_CASE(test_verify),
                                            TAP_CASE(test_select_and_describe)};
    return TAP_RUN(cases);
}
