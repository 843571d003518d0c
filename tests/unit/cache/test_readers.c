/* Readers of some columns and of some batches, and single batches, in both tiers. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counting_source.h"

enum { BATCHES = 6, ROWS = 1000 };

static struct bc_cache_options on_disk(const char *path) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = path;
    options.memory_capacity = 1;
    return options;
}

static struct bc_reader *columns_reader(struct bc_cache *cache, const int32_t *columns,
                                        int64_t n) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = columns;
    options.n_columns = n;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
    return reader;
}

/* Checks d and x, the columns of the tests. */
static void check_d_x(struct ArrowArray *array, int64_t number) {
    CHECK(array->n_children == 2 && array->length == ROWS);
    const struct ArrowArray *d = array->children[0];
    const struct ArrowArray *x = array->children[1];
    CHECK(d->dictionary->length == 3 && x->dictionary == NULL);
    for (int64_t i = 0; i < ROWS; i++) {
        CHECK(((const int64_t *)x->buffers[1])[x->offset + i] == number * ROWS + i);
        CHECK(((const int32_t *)d->buffers[1])[d->offset + i] == (number * ROWS + i) % 3);
    }
    char text[48];
    int size = snprintf(text, sizeof(text), "%lld-0", (long long)(number / 2));
    CHECK(memcmp(d->dictionary->buffers[2], text, (size_t)size) == 0);
    array->release(array);
}

static void project(const struct bc_cache_options *options) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, options);
    static const int32_t columns[] = {2, 0};
    /* The first pass reads from the source, the next from the tier, the last beside a
     * reader of all columns. */
    for (int pass = 0; pass < 3; pass++) {
        struct bc_reader *some = columns_reader(cache, columns, 2);
        struct bc_reader *none = columns_reader(cache, columns, 0);
        struct bc_reader *all = new_reader(cache);
        struct ArrowSchema schema;
        CHECK(bc_reader_schema(some, &schema, NULL) == 0 && schema.n_children == 2);
        CHECK(strcmp(schema.children[0]->name, "d") == 0);
        CHECK(schema.children[0]->dictionary != NULL);
        CHECK(strcmp(schema.children[1]->name, "x") == 0);
        schema.release(&schema);
        struct ArrowArray array;
        for (int64_t i = 0; i < BATCHES; i++) {
            CHECK(bc_reader_next(some, &array, NULL, NULL) == 0);
            check_d_x(&array, i);
            CHECK(bc_reader_next(none, &array, NULL, NULL) == 0);
            CHECK(array.n_children == 0 && array.length == ROWS);
            array.release(&array);
            if (pass == 0) continue;
            CHECK(bc_reader_next(all, &array, NULL, NULL) == 0);
            counting_source_check(&source, &array, i);
        }
        CHECK(bc_reader_next(some, &array, NULL, NULL) == 0 && array.release == NULL);
        bc_reader_unref(some);
        bc_reader_unref(none);
        bc_reader_unref(all);
    }
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void test_columns_in_memory(void) { project(NULL); }

static void test_columns_on_disk(void) {
    char *path = new_directory();
    struct bc_cache_options options = on_disk(path);
    project(&options);
    options.compression = BC_COMPRESSION_LZ4;
    project(&options);
    options.checksum = 0;
    project(&options);
    CHECK(rmdir(path) == 0);
    free(path);
}

static void test_columns_that_do_not_exist(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    static const int32_t bad[][2] = {{0, 3}, {-1, 0}};
    for (int i = 0; i < 2; i++) {
        struct bc_reader_options options = BC_READER_OPTIONS_INIT;
        options.columns = bad[i];
        options.n_columns = 2;
        struct bc_reader *reader = NULL;
        struct bc_error error = {0};
        CHECK(bc_cache_reader(cache, &options, &reader, &error) == EINVAL);
        CHECK(reader == NULL && strstr(error.message, "the stream has 3 columns"));
        options.struct_size = 1;
        CHECK(bc_cache_reader(cache, &options, &reader, &error) == EINVAL);
    }
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* Flips a byte of each occurrence of the column s in the file. */
static void damage_s(const char *path) {
    int file = open(path, O_RDWR);
    struct stat status;
    CHECK(file >= 0 && fstat(file, &status) == 0);
    size_t size = (size_t)status.st_size;
    char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(bytes != MAP_FAILED);
    char *at = memmem(bytes, size, "row 1row 2", 10);
    CHECK(at != NULL);
    *at ^= 1;
    CHECK(munmap(bytes, size) == 0 && close(file) == 0);
}

/* Columns outside the projection are not verified. A requested column is verified
 * once. */
static void test_only_those_columns_are_verified(void) {
    char *path = new_directory();
    struct bc_cache_options options = on_disk(path);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
    damage_s(bc_cache_path(cache));
    static const int32_t columns[] = {2, 0, 1};
    struct ArrowArray array;
    struct bc_error error = {0};
    for (int pass = 0; pass < 2; pass++) {
        struct bc_reader *some = columns_reader(cache, columns, 2);
        CHECK(bc_reader_next(some, &array, NULL, NULL) == 0);
        check_d_x(&array, 0);
        bc_reader_unref(some);
        struct bc_reader *three = columns_reader(cache, columns, 3);
        CHECK(bc_reader_next(three, &array, NULL, &error) == EBADMSG);
        CHECK(strstr(error.message, "Checksum mismatch for batch 0"));
        bc_reader_unref(three);
        struct bc_reader *all = new_reader(cache);
        CHECK(bc_reader_next(all, &array, NULL, NULL) == EBADMSG);
        bc_reader_unref(all);
        CHECK(bc_cache_batch(cache, 1, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, 1);
    }
    bc_cache_unref(cache);
    counting_source_check_released(&source);
    CHECK(rmdir(path) == 0);
    free(path);
}

static void test_start_and_stop(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    for (uint64_t start = 0; start <= BATCHES + 1; start++) {
        for (uint64_t stop = 0; stop <= BATCHES + 1; stop++) {
            struct bc_reader_options options = BC_READER_OPTIONS_INIT;
            options.start = start;
            options.stop = stop;
            struct bc_reader *reader;
            CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
            struct ArrowArray array;
            uint64_t end = stop < BATCHES ? stop : BATCHES;
            for (uint64_t i = start; i < end; i++) {
                CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
                counting_source_check(&source, &array, (int64_t)i);
            }
            for (int i = 0; i < 2; i++) {
                CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
                CHECK(array.release == NULL);
            }
            bc_reader_unref(reader);
        }
    }
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* A single batch is produced if necessary, does not count as a reader of max_readers, and
 * is evicted once all readers are past it. */
static void test_single_batches(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct ArrowArray array;
    struct bc_batch_info info;
    struct bc_error error = {0};
    CHECK(bc_cache_batch(cache, 2, &array, &info, NULL) == 0);
    CHECK(info.number == 2 && info.rows == ROWS && info.in_memory);
    CHECK(source.next == 3);
    struct ArrowArray held = array;
    struct bc_reader *reader = new_reader(cache);
    for (int64_t i = 0; i < 4; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, i);
    }
    CHECK(bc_cache_batch(cache, 3, &array, NULL, &error) == EINVAL);
    CHECK(strstr(error.message, "Batch 3 is no longer cached"));
    CHECK(strstr(error.message, "the earliest batch still cached is 4"));
    CHECK(bc_cache_batch(cache, 5, &array, NULL, NULL) == 0);
    counting_source_check(&source, &array, 5);
    CHECK(bc_cache_batch(cache, 6, &array, NULL, NULL) == 0 && array.release == NULL);
    bc_reader_unref(reader);
    counting_source_check(&source, &held, 2);
    bc_cache_close(cache);
    CHECK(bc_cache_batch(cache, 5, &array, NULL, NULL) == EINVAL);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* A reader at its stop keeps no batch. */
static void test_a_stopped_reader_holds_nothing_back(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 2;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader_options first = BC_READER_OPTIONS_INIT;
    first.stop = 1;
    struct bc_reader *stopped;
    CHECK(bc_cache_reader(cache, &first, &stopped, NULL) == 0);
    struct bc_reader *reader = new_reader(cache);
    struct ArrowArray array;
    CHECK(bc_reader_next(stopped, &array, NULL, NULL) == 0);
    counting_source_check(&source, &array, 0);
    for (int64_t i = 0; i < BATCHES; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, i);
        CHECK(source.arrays_alive == 0);
    }
    bc_reader_unref(reader);
    bc_reader_unref(stopped);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* Batches that no reader will read are evicted to make room, although no reader has
 * moved. */
static void test_room_for_those_that_are_wanted(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    options.memory_capacity = 40000; /* one batch, not two */
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader_options last = BC_READER_OPTIONS_INIT;
    last.start = BATCHES - 1;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &last, &reader, NULL) == 0);
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    counting_source_check(&source, &array, BATCHES - 1);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static struct bc_reader *ordered(struct bc_cache *cache, const uint64_t *order,
                                 uint64_t n, uint64_t start, uint64_t step) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.order = order;
    options.n_order = n;
    options.start = start;
    options.step = step;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
    return reader;
}

/* The order may repeat batches and name unrecorded ones, and is copied. The range is one
 * of the order. */
static void test_order(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    uint64_t order[] = {4, 0, 5, 0, 2};
    for (uint64_t start = 0; start < 7; start++) {
        for (uint64_t step = 1; step < 4; step++) {
            struct bc_reader *reader = ordered(cache, order, 5, start, step);
            uint64_t given[] = {4, 0, 5, 0, 2};
            memset(order, 0xff, sizeof(order));
            struct ArrowArray array;
            struct bc_batch_info info;
            for (uint64_t i = start; i < 5; i += step) {
                CHECK(bc_reader_position(reader) == i);
                CHECK(bc_reader_skip(reader, 3) == EAGAIN);
                CHECK(bc_reader_next(reader, &array, &info, NULL) == 0);
                CHECK(info.number == given[i]);
                counting_source_check(&source, &array, (int64_t)given[i]);
            }
            CHECK(bc_reader_skip(reader, 2) == EAGAIN);
            CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
            CHECK(array.release == NULL);
            bc_reader_unref(reader);
            memcpy(order, given, sizeof(order));
        }
    }
    struct bc_reader *reader = ordered(cache, order, 5, 0, 1);
    CHECK(bc_reader_skip(reader, 4) == 0 && bc_reader_position(reader) == 1);
    bc_reader_unref(reader);
    /* An order of no batches, and a batch that the stream lacks. */
    struct ArrowArray array;
    struct bc_error error = {0};
    reader = ordered(cache, order, 0, 0, 1);
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0 && array.release == NULL);
    bc_reader_unref(reader);
    uint64_t absent = BATCHES;
    reader = ordered(cache, &absent, 1, 0, 1);
    for (int i = 0; i < 2; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, &error) == EINVAL);
        CHECK(strstr(error.message, "The order has batch 6, which the stream lacks"));
    }
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* A reader with an order keeps all batches from the lowest that it may still read. */
static void test_an_order_holds_batches_back(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 3;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    static const uint64_t order[] = {5, 2, 4};
    struct bc_reader *reader = ordered(cache, order, 3, 0, 1);
    for (int i = 0; i < 2; i++) {
        struct bc_reader *all = new_reader(cache);
        struct ArrowArray array;
        for (int64_t n = 0; n < BATCHES; n++) {
            CHECK(bc_reader_next(all, &array, NULL, NULL) == 0);
            counting_source_check(&source, &array, n);
        }
        CHECK(source.arrays_alive == (i == 0 ? BATCHES : BATCHES - 2));
        bc_reader_unref(all);
    }
    struct ArrowArray array;
    for (int i = 0; i < 3; i++) {
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, (int64_t)order[i]);
    }
    CHECK(source.arrays_alive == 0);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* With max_readers, no reader is made whose order has an evicted batch. */
static void test_an_order_with_an_evicted_batch(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 2;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader_options last = BC_READER_OPTIONS_INIT;
    last.start = 3;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &last, &reader, NULL) == 0);
    struct bc_reader_options options_of_order = BC_READER_OPTIONS_INIT;
    static const uint64_t order[] = {5, 1, 4};
    options_of_order.order = order;
    options_of_order.n_order = 3;
    options_of_order.step = 2;
    struct bc_reader *other;
    CHECK(bc_cache_reader(cache, &options_of_order, &other, NULL) == 0);
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    counting_source_check(&source, &array, 3);
    for (int i = 0; i < 2; i++) {
        CHECK(bc_reader_next(other, &array, NULL, NULL) == 0);
        counting_source_check(&source, &array, (int64_t)order[2 * i]);
    }
    bc_reader_unref(other);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_columns_in_memory),
        TAP_CASE(test_columns_on_disk),
        TAP_CASE(test_columns_that_do_not_exist),
        TAP_CASE(test_only_those_columns_are_verified),
        TAP_CASE(test_start_and_stop),
        TAP_CASE(test_single_batches),
        TAP_CASE(test_a_stopped_reader_holds_nothing_back),
        TAP_CASE(test_order),
        TAP_CASE(test_an_order_holds_batches_back),
        TAP_CASE(test_an_order_with_an_evicted_batch),
        TAP_CASE(test_room_for_those_that_are_wanted),
    };
    return TAP_RUN(cases);
}
