/* Deltas of dictionaries, read by many threads in many orders while the dictionaries
 * grow. */
#include <pthread.h>

#include "delta_stream.h"
#include "recording_dir.h"

enum { THREADS = 4, BATCHES = 120, PARTS = 40, TURNS = 240 };

struct task {
    struct bc_cache *cache;
    uint32_t state;
};

static void *read_in_some_order(void *argument) {
    struct task *task = argument;
    struct ArrowArray kept[8] = {{.release = NULL}};
    int64_t numbers[8];
    for (int turn = 0; turn < TURNS; turn++) {
        task->state = task->state * 1664525U + 1013904223U;
        int64_t number = (int64_t)(task->state >> 8) % BATCHES;
        /* Some batches are kept while the memory of their dictionary grows. */
        struct ArrowArray *slot = &kept[turn % 8];
        if (slot->release != NULL) delta_check(slot, numbers[turn % 8], PARTS);
        CHECK(bc_cache_batch(task->cache, (uint64_t)number, slot, NULL, NULL) == 0);
        numbers[turn % 8] = number;
    }
    for (int i = 0; i < 8; i++) delta_check(&kept[i], numbers[i], PARTS);
    return NULL;
}

static void read_on_threads(const char *path, int copies) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.read_into_memory = copies;
    options.verify = copies;
    struct task tasks[THREADS];
    pthread_t threads[THREADS];
    struct bc_cache *cache;
    CHECK(bc_file_open(path, &options, &cache, NULL) == 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        tasks[i] = (struct task){cache, i * 7919 + 1};
        CHECK(pthread_create(&threads[i], NULL, read_in_some_order, &tasks[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    bc_cache_unref(cache);
}

static void test_many_orders(void) {
    struct recording_dir slot;
    recording_dir_init(&slot);
    for (int big = 0; big < 2; big++) {
        delta_write(slot.path, BATCHES, PARTS, big != 0);
        read_on_threads(slot.path, 0);
        read_on_threads(slot.path, 1);
    }
    recording_dir_finish(&slot);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_many_orders)};
    return TAP_RUN(cases);
}
