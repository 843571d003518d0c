/* Each allocation and each system call fails once. The cache reports the error, loses and
 * leaks nothing, and succeeds in a second try. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "counting_source.h"
#include "sweep.h"

/* The stream of a run, and how it is recorded and replayed. */
struct plan {
    struct bc_cache_options options;
    int64_t batches;
    int64_t rows; /* in each batch */
    bool grows;   /* the dictionary, instead of being replaced */
    /* From this batch on, batches arrive fast enough to share one write, and faults fire.
     * 0: no batch does. */
    int64_t fast_from;
};

/* The call that fails. */
struct fault {
    enum bc_fault_kind kind;
    unsigned long nth;
    int code; /* -1: the call transfers one byte */
};

static const struct plan small_plan = {BC_CACHE_OPTIONS_INIT, 4, 40, false, 0};

/* A run with one fault. */
struct campaign {
    const struct plan *plan;
    struct fault fault;
    struct counting_source source;
    struct bc_cache *cache;
    struct bc_reader *inside; /* reads published batches from inside the source */
    int failures;             /* calls that failed in the run */
    bool fired;               /* the fault fired */
};

/* Repeats the call until it succeeds. */
static void make(struct campaign *campaign) {
    struct ArrowArrayStream stream = counting_source_stream(&campaign->source);
    for (;;) {
        struct bc_error error = {0};
        int code =
            bc_cache_new(&stream, &campaign->plan->options, &campaign->cache, &error);
        if (code == 0) return;
        CHECK(campaign->cache == NULL && stream.release != NULL);
        CHECK(code == error.code && error.message[0] != '\0');
        CHECK(campaign->source.next == 0);
        campaign->failures++;
    }
}

static struct bc_reader *make_reader(struct campaign *campaign, uint64_t start) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.start = start;
    struct bc_reader *reader;
    while (bc_cache_reader(campaign->cache, &options, &reader, NULL) != 0) {
        campaign->failures++;
    }
    return reader;
}

static uint64_t published(struct campaign *campaign) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(campaign->cache, &stats);
    return stats.batches;
}

/* Reads batches up to `end`, or to the end of the stream. */
static void replay(struct campaign *campaign, struct bc_reader *reader, uint64_t end) {
    while (bc_reader_position(reader) < end) {
        int64_t number = (int64_t)bc_reader_position(reader);
        struct ArrowArray array;
        struct bc_error error = {0};
        int code = bc_reader_next(reader, &array, NULL, &error);
        if (code != 0) {
            CHECK(code == error.code && error.message[0] != '\0');
            CHECK(++campaign->failures < 5);
            continue;
        }
        if (array.release == NULL) {
            CHECK(number == campaign->plan->batches);
            return;
        }
        counting_source_check(&campaign->source, &array, number);
    }
}

static void arm(const struct fault *fault) {
    bc__fault_arm(fault->kind, fault->nth, fault->code);
}

static void disarm(struct campaign *campaign) {
    campaign->fired = campaign->fired || bc__fault_fired(campaign->fault.kind);
    bc__fault_arm(campaign->fault.kind, 0, 0);
}

/* Called inside the source. The clock is stopped, so that all batches of a tick are
 * fast. */
static void set_pace(void *context, int64_t number) {
    struct campaign *campaign = context;
    if (number < campaign->plan->fast_from || number == campaign->plan->batches) return;
    if (campaign->inside == NULL) {
        bc__fault_clock(1005);
        arm(&campaign->fault);
        campaign->inside = make_reader(campaign, BC_READER_FRONTIER);
    }
    replay(campaign, campaign->inside, published(campaign));
}

static void ingest(struct campaign *campaign) {
    uint64_t batches = 0;
    struct bc_error error = {0};
    while (bc_cache_ingest(campaign->cache, &batches, &error) != 0) {
        CHECK(error.message[0] != '\0');
        CHECK(++campaign->failures < 5);
    }
    CHECK(batches == (uint64_t)campaign->plan->batches);
    disarm(campaign);
    bc_reader_unref(campaign->inside);
    campaign->inside = NULL;
}

/* Checks that the file has every byte after the source has ended. */
static void check_file(struct campaign *campaign) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(campaign->cache, &stats);
    const char *path = bc_cache_path(campaign->cache);
    struct stat status;
    if (path == NULL || campaign->plan->options.max_readers > 0) return;
    CHECK(stats.exhausted && stat(path, &status) == 0);
    CHECK((uint64_t)status.st_size == stats.disk_bytes);
}

/* Records and replays twice, with one fault. Returns true if the fault fired.
 * `*out_failures`: calls that failed. */
static bool run(const struct plan *plan, const struct fault *fault, int *out_failures) {
    struct campaign campaign = {.plan = plan, .fault = *fault};
    counting_source_init(&campaign.source, plan->batches, plan->rows);
    campaign.source.grows = plan->grows;
    if (plan->fast_from > 0) {
        campaign.source.before = set_pace;
        campaign.source.context = &campaign;
        bc__fault_clock(1000);
    } else {
        arm(fault);
    }
    make(&campaign);
    if (plan->fast_from > 0) ingest(&campaign);
    for (int pass = 0; pass < 2; pass++) {
        struct bc_reader *reader = make_reader(&campaign, 0);
        replay(&campaign, reader, UINT64_MAX);
        bc_reader_unref(reader);
        check_file(&campaign);
    }
    bc_cache_unref(campaign.cache);
    counting_source_check_released(&campaign.source);
    bc__fault_clock(-1);
    disarm(&campaign);
    *out_failures = campaign.failures;
    return campaign.fired;
}

/* Fails call 1, 2, 3, ... until a run makes fewer calls. Returns how many calls
 * failed. */
static unsigned long sweep(enum bc_fault_kind kind, int code, const struct plan *plan) {
    for (unsigned long nth = 1;; nth = sweep_next(nth)) {
        CHECK(nth < 10000);
        struct fault fault = {kind, nth, code};
        int failures;
        if (!run(plan, &fault, &failures)) {
            CHECK(failures == 0);
            return nth - 1;
        }
        /* At most one call returns the error. Short transfers and interruptions are no
         * errors, and a batch that does not fit in memory is still written to disk. */
        CHECK(failures <= (code == -1 || code == EINTR ? 0 : 1));
    }
}

/* Injects each errno of the system, and checks that `path` is empty in the end. */
static void sweep_disk(struct plan plan) {
    static const int codes[] = {EIO, ENOSPC, EDQUOT, EFBIG, EMFILE, ENOMEM, EACCES};
    char *path = new_directory();
    plan.options.disk_path = path;
    CHECK(sweep(BC_FAULT_ALLOC, ENOMEM, &plan) > 5);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        CHECK(sweep(BC_FAULT_SYS, codes[i], &plan) > 2);
    }
    CHECK(sweep(BC_FAULT_SYS, EINTR, &plan) > 2);
    CHECK(sweep(BC_FAULT_SYS, -1, &plan) > 2);
    CHECK(rmdir(path) == 0);
    free(path);
}

static struct plan on_disk(void) {
    struct plan plan = small_plan;
    plan.options.memory_capacity = 1;
    return plan;
}

static void test_memory(void) { CHECK(sweep(BC_FAULT_ALLOC, ENOMEM, &small_plan) > 10); }

static void test_disk(void) { sweep_disk(on_disk()); }

static void test_disk_without_checksums(void) {
    struct plan plan = on_disk();
    plan.options.checksum = 0;
    sweep_disk(plan);
}

static void test_on_eviction(void) {
    struct plan plan = on_disk();
    plan.options.memory_capacity = 1000;
    plan.options.write_policy = BC_WRITE_ON_EVICTION;
    sweep_disk(plan);
}

static void test_compression(void) {
    for (int codec = BC_COMPRESSION_LZ4; codec <= BC_COMPRESSION_ZSTD; codec++) {
        struct plan plan = on_disk();
        plan.options.compression = codec;
        sweep_disk(plan);
    }
}

/* Two readers read one after the other. Batches are evicted behind the second reader. */
static void test_room_given_back(void) {
    struct plan plan = on_disk();
    plan.rows = 400;
    plan.options.max_readers = 2;
    sweep_disk(plan);
}

static void test_dictionaries_that_grow(void) {
    struct plan plan = on_disk();
    plan.grows = true;
    sweep_disk(plan);
    plan.options.max_readers = 2;
    sweep_disk(plan);
    plan.options.max_readers = 0;
    plan.options.compression = BC_COMPRESSION_LZ4;
    sweep_disk(plan);
}

/* 70 messages of more than 1 KB fill a block and more. */
static struct plan together(void) {
    struct plan plan = on_disk();
    plan.batches = 64 + 70;
    plan.rows = 30;
    plan.fast_from = 64;
    return plan;
}

static void test_written_together(void) { sweep_disk(together()); }

static void test_written_together_while_dictionaries_grow(void) {
    struct plan plan = together();
    plan.grows = true;
    plan.options.checksum = 0;
    sweep_disk(plan);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_memory),
        TAP_CASE(test_disk),
        TAP_CASE(test_disk_without_checksums),
        TAP_CASE(test_on_eviction),
        TAP_CASE(test_compression),
        TAP_CASE(test_room_given_back),
        TAP_CASE(test_dictionaries_that_grow),
        TAP_CASE(test_written_together),
        TAP_CASE(test_written_together_while_dictionaries_grow)};
    return TAP_RUN(cases);
}
