/* Calls that look at slots while batches are evicted behind readers. A call returns the
 * right numbers, or an error that the batch is evicted. */
#include <pthread.h>
#include <unistd.h>

#include "counting_source.h"

enum { ROWS = 3, ROUNDS = 4, LOOKERS = 3 };

struct scene {
    struct counting_source source;
    struct bc_cache *cache;
    struct bc_reader *reader;
    bool on_disk;
    pthread_barrier_t looked;
    atomic_bool over;
};

/* Returns whether the batches were still there. */
static bool look_at_rows(struct scene *scene) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(scene->cache, &stats);
    uint64_t first = stats.evicted;
    uint64_t starts[5];
    struct bc_error error = {0};
    uint64_t n = stats.batches - first < 4 ? stats.batches - first : 4;
    int code = bc_cache_row_starts(scene->cache, first, n, starts, &error);
    bool right = code == 0;
    CHECK(code == 0 || code == EINVAL);
    for (uint64_t i = 0; i <= n && code == 0; i++) CHECK(starts[i] == (first + i) * ROWS);
    if (code != 0) CHECK(strstr(error.message, "no longer cached") != NULL);
    uint64_t number;
    uint64_t within;
    uint64_t row = first * ROWS + ROWS + 1;
    code = bc_cache_find_row(scene->cache, row, &number, &within, &error);
    CHECK(code == 0 || code == EINVAL);
    if (code == 0) CHECK(number == first + 1 && within == 1);
    return right && code == 0;
}

static void look_at_file(struct scene *scene, bool measures) {
    struct bc_file_info info = {.struct_size = sizeof(info)};
    struct bc_error error = {0};
    uint64_t columns[3];
    int code = bc_cache_file_info(scene->cache, &info, measures ? columns : NULL, &error);
    if (code != 0) printf("# %s\n", error.message);
    CHECK(code == 0 && info.kind == (scene->on_disk ? BC_FILE_CACHE : BC_FILE_NONE));
}

static void *look(void *context) {
    struct scene *scene = context;
    /* Before an eviction, each call must succeed. */
    CHECK(look_at_rows(scene));
    pthread_barrier_wait(&scene->looked);
    while (!atomic_load(&scene->over)) {
        look_at_rows(scene);
        look_at_file(scene, true);
        look_at_file(scene, false);
    }
    return NULL;
}

static void look_while_evicting(const char *path, int64_t batches) {
    struct scene scene = {.on_disk = path != NULL};
    counting_source_init(&scene.source, batches, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = path;
    if (path != NULL) options.memory_capacity = 0;
    options.max_readers = 1;
    scene.cache = counting_source_cache(&scene.source, &options);
    scene.reader = new_reader(scene.cache);
    uint64_t n;
    CHECK(bc_cache_ingest(scene.cache, &n, NULL) == 0);
    CHECK(pthread_barrier_init(&scene.looked, NULL, LOOKERS + 1) == 0);
    pthread_t threads[LOOKERS];
    for (int i = 0; i < LOOKERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, look, &scene) == 0);
    }
    pthread_barrier_wait(&scene.looked);
    CHECK(counting_source_drain(&scene.source, scene.reader, 0) == batches);
    atomic_store(&scene.over, true);
    for (int i = 0; i < LOOKERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(pthread_barrier_destroy(&scene.looked) == 0);
    /* After the lookups end, nothing keeps their batches. */
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(scene.cache, &stats);
    CHECK(stats.evicted == (uint64_t)batches);
    CHECK(atomic_load(&scene.source.arrays_alive) == 0);
    bc_reader_unref(scene.reader);
    bc_cache_unref(scene.cache);
    counting_source_check_released(&scene.source);
}

static void test_looking_in_memory(void) {
    for (int i = 0; i < ROUNDS; i++) look_while_evicting(NULL, 2000);
}

static void test_looking_on_disk(void) {
    char *path = new_directory();
    for (int i = 0; i < ROUNDS; i++) look_while_evicting(path, 500);
    CHECK(rmdir(path) == 0);
    free(path);
}

/* So many batches that the memory of their slots is released. */
static void test_rows_of_evicted_batches(void) {
    enum { BATCHES = 18000, PASSED = 17000 };
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader *reader = new_reader(cache);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
    for (int64_t i = 0; i < PASSED; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        array.release(&array);
    }
    uint64_t *starts = malloc((BATCHES + 1) * sizeof(*starts));
    struct bc_error error = {0};
    CHECK(bc_cache_row_starts(cache, 0, BATCHES, starts, &error) == EINVAL);
    CHECK(strcmp(error.message,
                 "Batch 0 is no longer cached; the earliest batch still "
                 "cached is 17000") == 0);
    CHECK(bc_cache_row_starts(cache, PASSED, 0, starts, NULL) == EINVAL);
    CHECK(bc_cache_row_starts(cache, PASSED, BATCHES - PASSED, starts, NULL) == 0);
    for (uint64_t i = 0; i <= BATCHES - PASSED; i++) {
        CHECK(starts[i] == (PASSED + i) * ROWS);
    }
    CHECK(bc_cache_row_starts(cache, PASSED + 1, 0, starts, NULL) == 0);
    CHECK(starts[0] == (PASSED + 1) * ROWS);
    uint64_t number;
    uint64_t within;
    CHECK(bc_cache_find_row(cache, PASSED * ROWS - 1, &number, &within, NULL) == EINVAL);
    CHECK(bc_cache_find_row(cache, PASSED * ROWS, &number, &within, NULL) == 0);
    CHECK(number == PASSED && within == 0);
    free(starts);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_looking_in_memory),
        TAP_CASE(test_looking_on_disk),
        TAP_CASE(test_rows_of_evicted_batches),
    };
    return TAP_RUN(cases);
}
