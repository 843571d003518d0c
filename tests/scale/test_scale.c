/* The work of a recording grows with its batches and no faster.
 *
 * Counted are the basic blocks that the core runs through (the compiler calls a function
 * of ours at each) and the bytes that it moves, so that no clock is needed. */
#include <unistd.h>

#include "fixture.h"

enum { FEW = 1000, TIMES = 8, BYTES_PER_STEP = 8 };

static uint64_t steps;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) { steps++; }

/* The linker sends the calls of the core's here. */
void *__real_memmove(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size) {
    steps += size / BYTES_PER_STEP;
    return __real_memmove(to, from, size);
}

void *__real_memcpy(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size) {
    steps += size / BYTES_PER_STEP;
    return __real_memcpy(to, from, size);
}

/* How a recording is read. */
struct plan {
    struct bc_cache_options options;
    bool ingests; /* before anything is read */
    int readers;  /* that take turns */
};

/* The steps that `batches` batches of one row take. */
static uint64_t count(const struct plan *plan, int64_t batches) {
    struct fixture fixture;
    fixture_init(&fixture, batches, 1);
    uint64_t before = steps;
    struct bc_cache *cache = fixture_cache(&fixture, &plan->options);
    uint64_t ingested = 0;
    if (plan->ingests) CHECK(bc_cache_ingest(cache, &ingested, NULL) == 0);
    struct bc_reader *readers[8];
    for (int i = 0; i < plan->readers; i++) readers[i] = fixture_reader(cache);
    for (int64_t number = 0; number < batches; number++) {
        for (int i = 0; i < plan->readers; i++) {
            struct ArrowArray array;
            CHECK(bc_reader_next(readers[i], &array, NULL, NULL) == 0);
            fixture_check(&fixture, &array, number);
        }
    }
    for (int i = 0; i < plan->readers; i++) bc_reader_unref(readers[i]);
    bc_cache_unref(cache);
    fixture_check_released(&fixture);
    return steps - before;
}

static void check(const struct plan *plan) {
    uint64_t few = count(plan, FEW);
    uint64_t many = count(plan, (int64_t)FEW * TIMES);
    printf("# %.1f steps a batch, then %.1f\n", (double)few / FEW,
           (double)many / FEW / TIMES);
    CHECK(few > (uint64_t)FEW * 100);
    CHECK(many < few * TIMES * 5 / 4);
}

/* On disk, which has room for all. */
static void check_on_disk(struct plan plan) {
    char *path = fixture_directory();
    plan.options.disk_path = path;
    plan.options.memory_bytes_max = 1;
    check(&plan);
    CHECK(rmdir(path) == 0);
    free(path);
}

static const struct plan plain = {BC_CACHE_OPTIONS_INIT, false, 1};

static void test_memory(void) { check(&plain); }

static void test_disk(void) { check_on_disk(plain); }

static void test_all_at_once(void) {
    struct plan plan = plain;
    plan.ingests = true;
    plan.readers = 2;
    check(&plan);
    check_on_disk(plan);
}

static void test_batches_go_as_they_are_passed(void) {
    for (int readers = 1; readers <= 4; readers += 3) {
        struct plan plan = plain;
        plan.options.readers_max = (uint64_t)readers;
        plan.readers = readers;
        check(&plan);
        check_on_disk(plan);
    }
}

static void test_all_at_once_then_passed(void) {
    struct plan plan = plain;
    plan.ingests = true;
    plan.options.readers_max = 1;
    check(&plan);
    check_on_disk(plan);
}

static void test_compression(void) {
    struct plan plan = plain;
    plan.options.compression = BC_COMPRESSION_LZ4;
    plan.options.readers_max = 1;
    check_on_disk(plan);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_memory),
                                            TAP_CASE(test_disk),
                                            TAP_CASE(test_all_at_once),
                                            TAP_CASE(test_batches_go_as_they_are_passed),
                                            TAP_CASE(test_all_at_once_then_passed),
                                            TAP_CASE(test_compression)};
    return TAP_RUN(cases);
}
