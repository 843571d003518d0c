/* Opens a recording, and reads random batches. Prints microseconds as JSON.
 *
 *     bench_random FILE READS
 *
 * The first read of a batch verifies its checksums and faults its pages in. Later reads
 * show the cost of a mapped recording. Each figure is the minimum of several runs. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "batchcorder/batchcorder.h"

enum { OPENS = 20, ROUNDS = 5 };

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec * 1e-3;
}

static void fail(const struct bc_error *error) {
    (void)fprintf(stderr, "%s\n", error->message);
    exit(EXIT_FAILURE);
}

static struct bc_cache *open_best(const char *path, double *best) {
    struct bc_cache *cache = NULL;
    struct bc_error error;
    for (int i = 0; i < OPENS; i++) {
        bc_cache_unref(cache);
        double began = now();
        if (bc_file_open(path, NULL, &cache, &error) != 0) fail(&error);
        double took = now() - began;
        if (i == 0 || took < *best) *best = took;
    }
    return cache;
}

/* Reads the batches of these numbers. Returns the microseconds per batch. */
static double read_all(struct bc_cache *cache, const uint64_t *numbers, uint64_t n) {
    struct bc_error error;
    double began = now();
    for (uint64_t i = 0; i < n; i++) {
        struct ArrowArray array;
        if (bc_cache_batch(cache, numbers[i], &array, NULL, &error) != 0) fail(&error);
        array.release(&array);
    }
    return (now() - began) / (double)n;
}

int main(int argc, char **argv) {
    if (argc != 3) return EXIT_FAILURE;
    uint64_t n = strtoull(argv[2], NULL, 10);
    double open_us;
    struct bc_cache *cache = open_best(argv[1], &open_us);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    uint64_t *numbers = malloc(n * sizeof(*numbers));
    if (numbers == NULL || stats.batches == 0) return EXIT_FAILURE;
    bc_permutation(1, 0, n, numbers);
    for (uint64_t i = 0; i < n; i++) numbers[i] %= stats.batches;
    double first = read_all(cache, numbers, n);
    double again = first;
    for (int i = 0; i < ROUNDS; i++) {
        double took = read_all(cache, numbers, n);
        if (took < again) again = took;
    }
    printf("{\"open\": %.1f, \"first\": %.3f, \"again\": %.3f}\n", open_us, first, again);
    free(numbers);
    bc_cache_unref(cache);
    return EXIT_SUCCESS;
}
