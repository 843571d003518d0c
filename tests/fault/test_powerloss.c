/* Simulated losses of power. A recording is made while all versions of its file are
 * kept; then files are put together at random as a disk may hold them after a loss at any
 * moment: of what was not synchronised, each page (or sector) is there as it was at some
 * moment since, or is not. No such file may give a wrong row, and of a durable recording
 * nothing is lost that a call had recorded.
 *
 * BC_POWERLOSS_STATES: how many in all; BC_POWERLOSS_SEED: others. */
#include "base/fault.h"
#include "recording_dir.h"

enum { STATES = 10000, MOMENTS_MAX = 4000, PAGE = 4096, SECTOR = 512, FAST_FROM = 64 };

/* The content of the file at one time. */
struct version {
    char *bytes;
    size_t size;
};

/* A moment at which the power may be lost. */
struct moment {
    int version;   /* the version that was written */
    int synced;    /* the version that is on the disk, or a later one; -1: none */
    int64_t acked; /* batches that a successful call has recorded */
};

struct history {
    struct recording_dir dir;
    int file; /* of the recording; -1: not yet */
    struct version versions[MOMENTS_MAX];
    int n_versions;
    struct moment moments[MOMENTS_MAX];
    int n_moments;
    int synced;
    int64_t acked;
    uint64_t seed;
};

struct plan {
    int64_t batches;
    int64_t rows;
    bool durable;
    bool grows;
    bool fast;     /* batches from FAST_FROM on are written together */
    int64_t start; /* batches recorded before the run, all on the disk */
    enum bc_compression compression;
};

static uint64_t draw(struct history *history, uint64_t below) {
    /* xorshift64* */
    history->seed ^= history->seed >> 12;
    history->seed ^= history->seed << 25;
    history->seed ^= history->seed >> 27;
    return (history->seed * 0x2545f4914f6cdd1d >> 33) % below;
}

/* ---- changes of the file ---- */

static void note_version(struct history *history) {
    struct stat status;
    CHECK(fstat(history->file, &status) == 0);
    size_t size = (size_t)status.st_size;
    char *bytes = malloc(size + 1);
    CHECK(bytes != NULL && pread(history->file, bytes, size, 0) == (ssize_t)size);
    if (history->n_versions > 0) {
        const struct version *last = &history->versions[history->n_versions - 1];
        if (last->size == size && memcmp(last->bytes, bytes, size) == 0) {
            free(bytes);
            return;
        }
    }
    CHECK(history->n_versions < MOMENTS_MAX);
    history->versions[history->n_versions++] = (struct version){bytes, size};
}

/* A loss of power before the file has its name loses nothing. */
static void note_moment(struct history *history) {
    const struct moment moment = {history->n_versions - 1, history->synced,
                                  history->acked};
    if (!file_exists(history->dir.path) || history->n_versions == 0) return;
    if (history->n_moments > 0) {
        const struct moment *last = &history->moments[history->n_moments - 1];
        if (memcmp(last, &moment, sizeof(moment)) == 0) return;
    }
    CHECK(history->n_moments < MOMENTS_MAX);
    history->moments[history->n_moments++] = moment;
}

static void watch(void *context, enum bc_fault_moment moment, int file) {
    struct history *history = context;
    if (history->file < 0) {
        char self[40];
        (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", file);
        history->file = open(file < 0 ? history->dir.path : self, O_RDONLY);
        if (history->file < 0) return;
    }
    note_version(history);
    if (moment == BC_MOMENT_SYNCED) history->synced = history->n_versions - 1;
    note_moment(history);
}

static void set_pace(void *context, int64_t number) {
    (void)context;
    if (number == FAST_FROM) bc__fault_clock(1005);
}

static void source_of(const struct plan *plan, struct counting_source *source) {
    counting_source_init(source, plan->batches, plan->rows);
    source->grows = plan->grows;
}

static struct bc_cache *record(const char *path, const struct plan *plan, bool resumes,
                               struct counting_source *source, int *out_code) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.memory_capacity = 0;
    options.durable = plan->durable;
    options.compression = plan->compression;
    options.resume = resumes;
    struct ArrowArrayStream stream = counting_source_stream(source);
    struct bc_cache *cache;
    *out_code = bc_cache_new(&stream, &options, &cache, NULL);
    if (*out_code == 0) return cache;
    stream.release(&stream);
    return NULL;
}

static void make_history(const struct plan *plan, struct history *history) {
    struct counting_source source;
    source_of(plan, &source);
    if (plan->start > 0) {
        recording_write(history->dir.path, source, (uint64_t)plan->start);
        history->acked = plan->start;
        watch(history, BC_MOMENT_SYNCED, -1);
    }
    if (plan->fast) {
        source.before = set_pace;
        bc__fault_clock(1000);
    }
    bc__fault_watch(watch, history);
    int code;
    struct bc_cache *cache =
        record(history->dir.path, plan, plan->start > 0, &source, &code);
    CHECK(code == 0);
    for (uint64_t end = 1; code == 0; end += plan->fast ? 200 : 1) {
        uint64_t batches;
        CHECK(bc_cache_ingest_to(cache, end, &batches, NULL) == 0);
        if ((int64_t)batches > history->acked) history->acked = (int64_t)batches;
        watch(history, BC_MOMENT_CALL, -1);
        if (batches < end) break;
    }
    bc__fault_watch(NULL, NULL);
    bc__fault_clock(-1);
    bc_cache_unref(cache);
    CHECK(close(history->file) == 0);
    CHECK(history->acked == plan->batches && history->n_moments > 15);
}

/* ---- files after a loss of power ---- */

/* Draws the version of a page that is on the disk; -1: none. */
static int draw_version(struct history *history, const struct moment *moment) {
    int n = moment->version - moment->synced;
    switch (draw(history, 3)) {
        case 0:
            return moment->synced;
        case 1:
            return moment->version;
        default:
            return moment->synced + (int)draw(history, (uint64_t)n + 1);
    }
}

static char *draw_state(struct history *history, const struct moment *moment,
                        size_t *out_size) {
    int of_size = draw_version(history, moment);
    size_t size = of_size < 0 ? 0 : history->versions[of_size].size;
    size_t unit = draw(history, 2) == 0 ? PAGE : SECTOR;
    char *bytes = calloc(1, size + 1);
    CHECK(bytes != NULL);
    for (size_t at = 0; at < size; at += unit) {
        int of_unit = draw_version(history, moment);
        if (of_unit < 0) continue;
        const struct version *version = &history->versions[of_unit];
        size_t end = at + unit < size ? at + unit : size;
        if (end > version->size) end = version->size;
        if (end > at) memcpy(bytes + at, version->bytes + at, end - at);
    }
    *out_size = size;
    return bytes;
}

static bool is_loss(int code) {
    return code == ENODATA || code == EINVAL || code == EBADMSG;
}

/* Reads to the end or the first error. Returns how many batches there are; `*out_code` is
 * the code after them. */
static int64_t read_all(struct bc_cache *cache, const struct plan *plan, int *out_code) {
    struct counting_source source;
    source_of(plan, &source);
    for (int64_t i = 0;; i++) {
        struct ArrowArray array;
        *out_code = bc_cache_batch(cache, (uint64_t)i, &array, NULL, NULL);
        if (*out_code != 0 || array.release == NULL) return i;
        CHECK(i < plan->batches);
        counting_source_check(&source, &array, i);
    }
}

/* Returns the batches of a file, which may be incomplete. */
static void check_open(const char *path, const struct plan *plan, int64_t acked) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    for (int partial = 0; partial < 2; partial++) {
        options.partial = partial;
        struct bc_cache *cache;
        int code = bc_file_open(path, &options, &cache, NULL);
        if (code != 0) {
            CHECK(is_loss(code));
            CHECK(!plan->durable || (!partial && code == ENODATA));
            continue;
        }
        int64_t batches = read_all(cache, plan, &code);
        bc_cache_unref(cache);
        CHECK(code == 0 || (!plan->durable && code == EBADMSG));
        CHECK(batches >= acked || !plan->durable);
        CHECK(partial || batches == plan->batches || code != 0);
    }
}

static void check_resume(const char *path, const struct plan *plan) {
    struct counting_source source;
    source_of(plan, &source);
    int code;
    struct bc_cache *cache = record(path, plan, true, &source, &code);
    if (cache == NULL) {
        CHECK(code == EEXIST || (!plan->durable && is_loss(code)));
        return;
    }
    uint64_t batches;
    code = bc_cache_ingest(cache, &batches, NULL);
    CHECK(code == 0 && batches == (uint64_t)plan->batches);
    bc_cache_unref(cache);
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    CHECK(bc_file_open(path, &options, &cache, NULL) == 0);
    int64_t right = read_all(cache, plan, &code);
    CHECK(code == 0 ? right == plan->batches : !plan->durable && code == EBADMSG);
    bc_cache_unref(cache);
}

static uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

enum { PLANS = 8 };

static struct history history;

static void begin(const struct plan *plan) {
    memset(&history, 0, sizeof(history));
    history.file = -1;
    history.synced = -1;
    history.seed = number_from("BC_POWERLOSS_SEED", 20) * 0x9e3779b97f4a7c15 + 1;
    recording_dir_init(&history.dir);
    make_history(plan, &history);
}

static void end(void) {
    for (int i = 0; i < history.n_versions; i++) free(history.versions[i].bytes);
    recording_dir_finish(&history.dir);
}

static void lose_power(struct plan plan) {
    begin(&plan);
    uint64_t states = number_from("BC_POWERLOSS_STATES", STATES) / PLANS;
    for (uint64_t i = 0; i < states; i++) {
        const struct moment *moment =
            &history.moments[draw(&history, (uint64_t)history.n_moments)];
        size_t size;
        char *bytes = draw_state(&history, moment, &size);
        file_write(history.dir.other, bytes, size);
        free(bytes);
        check_open(history.dir.other, &plan, moment->acked);
        if (i % 4 == 0) check_resume(history.dir.other, &plan);
    }
    end();
}

/* Returns how many batches a file has after a partial write: `n` bytes from `at` on are
 * written. */
static int64_t count_torn(const struct plan *plan, const struct version *before,
                          const struct version *after, size_t at, size_t n) {
    size_t size = at + n > before->size ? at + n : before->size;
    char *bytes = calloc(1, size + 1);
    CHECK(bytes != NULL);
    memcpy(bytes, before->bytes, before->size);
    memcpy(bytes + at, after->bytes + at, n);
    file_write(history.dir.other, bytes, size);
    free(bytes);
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    options.partial = 1;
    struct bc_cache *cache;
    CHECK(bc_file_open(history.dir.other, &options, &cache, NULL) == 0);
    int code;
    int64_t batches = read_all(cache, plan, &code);
    CHECK(code == 0);
    bc_cache_unref(cache);
    return batches;
}

/* At each byte of each write, the file must be an exact prefix. */
static void test_every_byte_of_every_write(void) {
    const struct plan plan = {.batches = 4, .rows = 5};
    begin(&plan);
    int64_t batches = 0;
    size_t states = 0;
    for (int i = history.moments[0].version; i + 1 < history.n_versions; i++) {
        const struct version *before = &history.versions[i];
        const struct version *after = &history.versions[i + 1];
        CHECK(after->size >= before->size);
        size_t at = 0;
        while (at < before->size && before->bytes[at] == after->bytes[at]) at++;
        size_t to = after->size;
        while (to <= before->size && before->bytes[to - 1] == after->bytes[to - 1]) to--;
        for (size_t n = 1; n <= to - at; n++, states++) {
            int64_t torn = count_torn(&plan, before, after, at, n);
            CHECK(torn == batches || (n == to - at && torn == batches + 1));
            batches = torn;
        }
    }
    CHECK(batches == plan.batches && states > 2000);
    end();
}

static void test_durable(void) {
    lose_power((struct plan){.batches = 9, .rows = 40, .durable = true});
}

static void test_durable_while_dictionaries_grow(void) {
    lose_power((struct plan){.batches = 9, .rows = 5, .durable = true, .grows = true});
}

static void test_durable_and_compressed(void) {
    lose_power((struct plan){
        .batches = 5, .rows = 900, .durable = true, .compression = BC_COMPRESSION_LZ4});
}

static void test_durable_and_resumed(void) {
    lose_power((struct plan){.batches = 9, .rows = 40, .durable = true, .start = 4});
}

static void test_durable_and_written_together(void) {
    lose_power((struct plan){
        .batches = FAST_FROM + 70, .rows = 30, .durable = true, .fast = true});
}

static void test_not_durable(void) {
    lose_power((struct plan){.batches = 9, .rows = 40});
}

static void test_not_durable_while_dictionaries_grow(void) {
    lose_power((struct plan){.batches = 9, .rows = 5, .grows = true});
}

static void test_not_durable_and_large(void) {
    lose_power((struct plan){.batches = 5, .rows = 900});
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_every_byte_of_every_write),
        TAP_CASE(test_durable),
        TAP_CASE(test_durable_while_dictionaries_grow),
        TAP_CASE(test_durable_and_compressed),
        TAP_CASE(test_durable_and_resumed),
        TAP_CASE(test_durable_and_written_together),
        TAP_CASE(test_not_durable),
        TAP_CASE(test_not_durable_while_dictionaries_grow),
        TAP_CASE(test_not_durable_and_large),
    };
    return TAP_RUN(cases);
}
