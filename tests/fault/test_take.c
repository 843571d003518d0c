/* Rows by their indices: in any order, from both tiers, without memory, and refused. */
#include <unistd.h>

#include "base/fault.h"
#include "counting_source.h"

enum { BATCHES = 6, ROWS = 10, TAKEN = 9 };

static const uint64_t rows[TAKEN] = {59, 0, 33, 33, 7, 12, 41, 0, 58};

static int take(struct bc_cache *cache, uint64_t n, const int32_t *columns,
                int64_t n_columns, struct ArrowArray *out, struct bc_error *error) {
    struct ArrowSchema schema;
    int code = bc_cache_take(cache, rows, n, columns, n_columns, &schema, out, error);
    if (code != 0) return code;
    CHECK(schema.n_children == n_columns);
    schema.release(&schema);
    return 0;
}

static void check_taken(struct ArrowArray *array, int64_t n, int64_t n_columns) {
    CHECK(array->length == n && array->n_children == n_columns && array->offset == 0);
    for (int64_t k = 0; k < n_columns; k++) {
        const struct ArrowArray *x = array->children[k];
        CHECK(x->length == n && x->null_count == 0 && x->buffers[0] == NULL);
        const int64_t *values = x->buffers[1];
        for (int64_t i = 0; i < n; i++) CHECK(values[i] == (int64_t)rows[i]);
    }
    array->release(array);
}

static void test_rows_in_any_order(void) {
    static const int32_t x_twice[] = {0, 0};
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    char *directory = new_directory();
    for (int on_disk = 0; on_disk < 2; on_disk++) {
        if (on_disk) options.disk_path = directory;
        if (on_disk) options.memory_capacity = 1;
        struct counting_source source;
        counting_source_init(&source, BATCHES, ROWS);
        struct bc_cache *cache = counting_source_cache(&source, &options);
        uint64_t batches;
        CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
        struct ArrowArray array;
        for (int64_t n = 0; n <= TAKEN; n++) {
            for (int64_t n_columns = 0; n_columns < 3; n_columns++) {
                CHECK(take(cache, (uint64_t)n, x_twice, n_columns, &array, NULL) == 0);
                check_taken(&array, n, n_columns);
            }
        }
        /* The rows outlive the cache. */
        CHECK(take(cache, TAKEN, x_twice, 2, &array, NULL) == 0);
        bc_cache_unref(cache);
        counting_source_check_released(&source);
        check_taken(&array, TAKEN, 2);
    }
    CHECK(rmdir(directory) == 0);
    free(directory);
}

static void test_refused(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(cache, 3, &batches, NULL) == 0);
    struct ArrowArray array;
    struct bc_error error = {0};
    static const int32_t x_s[] = {0, 1};
    static const int32_t d_s[] = {2, 1};
    static const int32_t absent = 3;
    /* Rows 0 to 29 are recorded, and the first row is row 59. */
    CHECK(take(cache, 1, x_s, 1, &array, &error) == EINVAL);
    CHECK(bc_cache_take(cache, rows + 1, 1, x_s, 1, NULL, &array, &error) == 0);
    array.release(&array);
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    CHECK(take(cache, 2, x_s, 2, &array, &error) == ENOTSUP);
    CHECK(strstr(error.message, "Column 1 has no fixed width"));
    CHECK(take(cache, 0, d_s, 2, &array, &error) == ENOTSUP);
    CHECK(strstr(error.message, "Column 0 has no fixed width"));
    CHECK(bc_cache_take(cache, rows, 1, NULL, 0, NULL, &array, &error) == ENOTSUP);
    CHECK(take(cache, 2, &absent, 1, &array, &error) == EINVAL);
    for (uint64_t wrong = 60; wrong != 0; wrong = wrong == 60 ? UINT64_MAX : 0) {
        CHECK(bc_cache_take(cache, &wrong, 1, x_s, 1, NULL, &array, &error) == EINVAL);
    }
    bc_cache_close(cache);
    CHECK(take(cache, 2, x_s, 1, &array, &error) == EINVAL);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* The call is not one of the readers, and fails if a batch was evicted. */
static void test_evicted(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    static const int32_t x = 0;
    struct ArrowArray array;
    struct bc_error error = {0};
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    CHECK(take(cache, TAKEN, &x, 1, &array, NULL) == 0);
    check_taken(&array, TAKEN, 1);
    struct bc_reader *reader = new_reader(cache);
    for (int64_t i = 0; i < 2; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, i);
    }
    CHECK(take(cache, TAKEN, &x, 1, &array, &error) == EINVAL);
    CHECK(take(cache, 1, &x, 1, &array, NULL) == 0);
    check_taken(&array, 1, 1);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* A call without memory leaks nothing, and the next one succeeds. */
static void test_without_memory(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    static const int32_t x = 0;
    unsigned long failures = 0;
    for (bool fired = true; fired;) {
        struct ArrowArray array;
        struct bc_error error = {0};
        bc__fault_arm(BC_FAULT_ALLOC, failures + 1, ENOMEM);
        int code = take(cache, TAKEN, &x, 1, &array, &error);
        fired = bc__fault_fired(BC_FAULT_ALLOC);
        bc__fault_arm(BC_FAULT_ALLOC, 0, 0);
        CHECK(code == (fired ? ENOMEM : 0) && error.code == code);
        if (code == 0) check_taken(&array, TAKEN, 1);
        failures += fired;
    }
    CHECK(failures > 8);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_rows_in_any_order),
        TAP_CASE(test_refused),
        TAP_CASE(test_evicted),
        TAP_CASE(test_without_memory),
    };
    return TAP_RUN(cases);
}
