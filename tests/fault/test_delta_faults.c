/* Each allocation and each system call fails once while deltas of dictionaries are read.
 * The call reports the error, and the next try finds all values. */
#include "base/fault.h"
#include "delta_stream.h"
#include "recording_dir.h"
#include "sweep.h"

enum { BATCHES = 12, PARTS = 6 };

/* Reads the chains in turn, each from its end. */
static int64_t number_of(int64_t i) {
    return (i % 2) * PARTS + (PARTS - 1 - i / 2 * 5 % PARTS);
}

static int read_all(const char *path, int copies, struct bc_cache **cache,
                    struct bc_error *error) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    options.read_into_memory = copies;
    int code = *cache == NULL ? bc_file_open(path, &options, cache, error) : 0;
    for (int64_t i = 0; i < BATCHES && code == 0; i++) {
        struct ArrowArray array;
        int64_t number = number_of(i);
        code = bc_cache_batch(*cache, (uint64_t)number, &array, NULL, error);
        if (code == 0) delta_check(&array, number, PARTS);
    }
    return code;
}

static void sweep(const char *path, int copies, enum bc_fault_kind kind, int code) {
    unsigned long nth = 1;
    for (bool fired = true; fired; nth = sweep_next(nth)) {
        struct bc_cache *cache = NULL;
        struct bc_error error = {0};
        bc__fault_arm(kind, nth, code);
        int failed = read_all(path, copies, &cache, &error);
        fired = bc__fault_fired(kind) != 0;
        bc__fault_arm(kind, 0, 0);
        CHECK(failed == 0 || (fired && failed == code && error.code == code));
        CHECK(read_all(path, copies, &cache, NULL) == 0);
        bc_cache_unref(cache);
    }
    printf("# %lu places\n", nth - 1);
    CHECK(nth > 20);
}

static void test_faults(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int big = 0; big < 2; big++) {
        delta_write(dir.path, BATCHES, PARTS, big != 0);
        for (int copies = 0; copies < 2; copies++) {
            sweep(dir.path, copies, BC_FAULT_ALLOC, ENOMEM);
            sweep(dir.path, copies, BC_FAULT_SYS, EIO);
        }
    }
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_faults)};
    return TAP_RUN(cases);
}
