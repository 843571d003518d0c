/* Opens a recording, or any Arrow IPC file, and prints its batches.
 *
 *     read FILE */
#include <batchcorder/batchcorder.h>
#include <stdio.h>

static int fail(const struct bc_error *error) {
    fprintf(stderr, "%s\n", error->message);
    return 1;
}

int main(int argc, char **argv) {
    struct bc_cache *cache;
    struct bc_error error;
    if (argc != 2) return 2;
    if (bc_file_verify(argv[1], NULL, NULL, &error) != 0) return fail(&error);
    if (bc_file_open(argv[1], NULL, &cache, &error) != 0) return fail(&error);

    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    printf("%llu rows in %llu batches\n", (unsigned long long)stats.rows,
           (unsigned long long)stats.batches);

    /* Read each batch, in a random order that is the same at each run. */
    uint64_t order[64];
    uint64_t n = stats.batches < 64 ? stats.batches : 64;
    bc_permutation(1, 0, n, order);
    for (uint64_t i = 0; i < n; i++) {
        struct ArrowArray batch;
        if (bc_cache_batch(cache, order[i], &batch, NULL, &error) != 0)
            return fail(&error);
        printf("batch %llu: %lld rows\n", (unsigned long long)order[i],
               (long long)batch.length);
        batch.release(&batch);
    }
    bc_cache_unref(cache);
    return 0;
}
