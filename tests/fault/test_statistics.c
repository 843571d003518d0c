/* Statistics through the public API: gathered, recorded, damaged, and without memory. */
#include "base/fault.h"
#include "disk/trailer.h"
#include "recording.h"
#include "sweep.h"

/* A table of statistics. */
struct table {
    struct ArrowSchema schema;
    struct ArrowArray array;
};

static int table_get(struct bc_cache *cache, struct table *out) {
    struct bc_error error = {0};
    int code = bc_cache_statistics(cache, NULL, 0, &out->schema, &out->array, &error);
    if (code != 0) CHECK(error.code == code && error.message[0] != '\0');
    return code;
}

static void table_free(struct table *table) {
    table->schema.release(&table->schema);
    table->array.release(&table->array);
}

static int64_t int_at(const struct ArrowArray *array, int64_t i) {
    return ((const int64_t *)array->buffers[1])[i];
}

/* Checks column x, which counts the rows, and the nulls of column s, every third row. */
static void table_check(const struct table *table, int64_t first, int64_t n) {
    CHECK(table->schema.n_children == 5 && table->array.n_children == 5);
    CHECK(strcmp(table->schema.children[2]->name, "x") == 0);
    CHECK(table->array.length == n);
    const struct ArrowArray *x = table->array.children[2];
    const struct ArrowArray *s = table->array.children[3];
    for (int64_t i = 0; i < n; i++) {
        int64_t row = (first + i) * ROWS;
        int64_t nulls = 0;
        for (int64_t r = row; r < row + ROWS; r++) nulls += r % 3 == 0;
        CHECK(int_at(table->array.children[0], i) == first + i);
        CHECK(int_at(table->array.children[1], i) == ROWS);
        CHECK(int_at(x->children[0], i) == 0 && int_at(x->children[1], i) == row);
        CHECK(int_at(x->children[2], i) == row + ROWS - 1);
        CHECK(int_at(s->children[0], i) == nulls);
    }
}

static void check(struct bc_cache *cache, int64_t first, int64_t n) {
    struct table table;
    CHECK(table_get(cache, &table) == 0);
    table_check(&table, first, n);
    table_free(&table);
}

static struct bc_cache *make(struct counting_source *source, const char *disk_path,
                             int32_t policy) {
    counting_source_init(source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.statistics = policy;
    options.disk_path = disk_path;
    if (disk_path != NULL) options.memory_capacity = 0;
    return counting_source_cache(source, &options);
}

static void test_while_recording(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int i = 0; i < 4; i++) {
        struct counting_source source;
        struct bc_cache *cache =
            make(&source, i % 2 == 0 ? NULL : dir.root,
                 i < 2 ? BC_STATISTICS_DEFAULT : BC_STATISTICS_ALWAYS);
        uint64_t batches;
        check(cache, 0, 0);
        CHECK(bc_cache_ingest_to(cache, 3, &batches, NULL) == 0);
        check(cache, 0, 3);
        CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
        check(cache, 0, BATCHES);
        check(cache, 0, BATCHES);
        bc_cache_unref(cache);
        counting_source_check_released(&source);
    }
    recording_dir_finish_clean(&dir);
}

static void test_never(void) {
    struct counting_source source;
    struct bc_cache *cache = make(&source, NULL, BC_STATISTICS_NEVER);
    struct table table;
    CHECK(table_get(cache, &table) == EINVAL);
    bc_cache_close(cache);
    CHECK(table_get(cache, &table) == EINVAL);
    bc_cache_unref(cache);
    cache = make(&source, NULL, BC_STATISTICS_DEFAULT);
    bc_cache_close(cache);
    CHECK(table_get(cache, &table) == EINVAL);
    bc_cache_unref(cache);
}

static void check_path(const struct table *table, int64_t child, const char *path) {
    struct ArrowStringView found = ArrowCharView("");
    CHECK(ArrowMetadataGetValue(table->schema.children[child]->metadata,
                                ArrowCharView("batchcorder.path"), &found) == 0);
    CHECK(found.size_bytes == (int64_t)strlen(path));
    CHECK(memcmp(found.data, path, strlen(path)) == 0);
}

/* A path has the index of the column in the cache, not in the file. */
static void test_selected_columns(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 0);
    struct bc_cache *cache;
    struct table table;
    const int32_t selected[] = {2, 0, 2};
    const int32_t last[] = {1, 2};
    CHECK(open_recording(dir.path, 0, 0, &cache) == 0);
    CHECK(bc_cache_select(cache, selected, 3, NULL) == 0);
    CHECK(table_get(cache, &table) == 0 && table.schema.n_children == 5);
    CHECK(strcmp(table.schema.children[3]->name, "x") == 0);
    check_path(&table, 2, "0");
    check_path(&table, 3, "1");
    check_path(&table, 4, "2");
    table_free(&table);
    CHECK(bc_cache_statistics(cache, last, 2, &table.schema, &table.array, NULL) == 0);
    CHECK(table.schema.n_children == 4);
    check_path(&table, 2, "1");
    check_path(&table, 3, "2");
    CHECK(int_at(table.array.children[2]->children[1], 1) == ROWS);
    table_free(&table);
    const int32_t none = 3;
    CHECK(bc_cache_statistics(cache, &none, 1, &table.schema, &table.array, NULL) ==
          EINVAL);
    bc_cache_unref(cache);
    recording_dir_finish_clean(&dir);
}

static void test_columns(void) {
    struct counting_source source;
    struct bc_cache *cache = make(&source, NULL, BC_STATISTICS_DEFAULT);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    struct table table;
    const int32_t columns[] = {2, 0};
    CHECK(bc_cache_statistics(cache, columns, 2, &table.schema, &table.array, NULL) == 0);
    CHECK(table.schema.n_children == 4);
    CHECK(strcmp(table.schema.children[2]->name, "d") == 0);
    CHECK(strcmp(table.schema.children[3]->name, "x") == 0);
    check_path(&table, 2, "2");
    check_path(&table, 3, "0");
    table_free(&table);
    CHECK(bc_cache_statistics(cache, columns, 0, &table.schema, &table.array, NULL) == 0);
    CHECK(table.schema.n_children == 2);
    table_free(&table);
    const int32_t none = 3;
    CHECK(bc_cache_statistics(cache, &none, 1, &table.schema, &table.array, NULL) ==
          EINVAL);
    check(cache, 0, BATCHES);
    bc_cache_unref(cache);
}

static void test_evicted(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader *reader = new_reader(cache);
    for (int i = 0; i < 4; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        array.release(&array);
    }
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.evicted > 0);
    check(cache, (int64_t)stats.evicted, (int64_t)(stats.batches - stats.evicted));
    bc_reader_unref(reader);
    bc_cache_unref(cache);
}

/* Flips each byte of the statistics. They are detected, and gathered from the batches. */
static void test_damaged(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 0);
    int file = open(dir.path, O_RDWR);
    struct bc_trailer trailer;
    bool complete;
    int64_t size = file_size(dir.path);
    struct bc_file opened = {.file = file};
    CHECK(bc__trailer_read(&opened, size, &trailer, &complete, NULL) == 0 && complete);
    CHECK(trailer.statistics_bytes > 0);
    int64_t at = bc__trailer_statistics_at(&trailer);
    for (int64_t i = at; i < at + trailer.statistics_bytes; i++) {
        uint8_t byte;
        CHECK(pread(file, &byte, 1, i) == 1);
        byte ^= 0x10;
        CHECK(pwrite(file, &byte, 1, i) == 1);
        struct bc_cache *cache;
        CHECK(open_recording(dir.path, 0, (int)(i % 2), &cache) == 0);
        check(cache, 0, BATCHES);
        struct bc_error error = {0};
        CHECK(bc_cache_verify_statistics(cache, &error) == EBADMSG);
        CHECK(error.kind == BC_ERROR_CORRUPT);
        check_batches(cache, 0, BATCHES);
        bc_cache_unref(cache);
        uint64_t batches;
        if (i % 64 == 0) {
            CHECK(bc_file_verify(dir.path, NULL, &batches, NULL) == EBADMSG);
        }
        byte ^= 0x10;
        CHECK(pwrite(file, &byte, 1, i) == 1);
    }
    uint64_t batches;
    CHECK(bc_file_verify(dir.path, NULL, &batches, NULL) == 0 && batches == BATCHES);
    CHECK(close(file) == 0);
    recording_dir_finish_clean(&dir);
}

/* Each allocation and each system call fails in turn. */
static void test_every_failure(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 1);
    for (int opened = 0; opened < 2; opened++) {
        for (int kind = 0; kind < BC_FAULT_KINDS; kind++) {
            bool fired = true;
            for (unsigned long nth = 1; fired; nth = sweep_next(nth)) {
                struct counting_source source;
                struct bc_cache *cache;
                if (opened) {
                    CHECK(open_recording(dir.path, 0, 1, &cache) == 0);
                } else {
                    cache = make(&source, dir.root, BC_STATISTICS_DEFAULT);
                    uint64_t batches;
                    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
                }
                struct table table;
                bc__fault_arm((enum bc_fault_kind)kind, nth,
                              kind == BC_FAULT_ALLOC ? ENOMEM : EIO);
                int code = table_get(cache, &table);
                fired = bc__fault_fired((enum bc_fault_kind)kind) != 0;
                bc__fault_arm((enum bc_fault_kind)kind, 0, 0);
                if (code == 0) table_free(&table);
                CHECK(fired || code == 0);
                if (code != 0) check(cache, 0, BATCHES);
                bc_cache_unref(cache);
                if (!opened) counting_source_check_released(&source);
            }
        }
    }
    recording_dir_finish_clean(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_while_recording),  TAP_CASE(test_never),   TAP_CASE(test_columns),
        TAP_CASE(test_selected_columns), TAP_CASE(test_evicted), TAP_CASE(test_damaged),
        TAP_CASE(test_every_failure),
    };
    return TAP_RUN(cases);
}
