/* Recordings that functions read: bytes read, order, errors, ownership. */
#include "object.h"

/* A recording that was copied into an object. */
static void make(struct object *object) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    object_record(dir.path);
    object_init(object, dir.path);
    recording_dir_finish(&dir);
}

static void test_all_batches(void) {
    struct object object;
    make(&object);
    struct bc_cache *cache = object_cache(&object);
    struct bc_reader *reader = new_reader(cache);
    object_check_batches(reader, 0);
    bc_reader_unref(reader);
    object_close(&object, cache);
}

/* Dictionaries that grow: a batch needs all messages of its dictionary so far. */
static void test_deltas(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 1);
    struct object object;
    object_init(&object, dir.path);
    recording_dir_finish(&dir);
    struct bc_cache *cache = object_cache(&object);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    source.grows = true;
    for (int64_t n = BATCHES - 1; n >= 0; n -= 3) {
        struct ArrowArray array;
        CHECK(bc_cache_batch(cache, (uint64_t)n, &array, NULL, NULL) == 0);
        atomic_store(&source.arrays_alive, 1);
        counting_source_check(&source, &array, n);
    }
    check_batches(cache, 1, BATCHES);
    object_close(&object, cache);
}

/* Opening reads the trailer and the schema. */
static void test_opening(void) {
    struct object object;
    make(&object);
    struct bc_cache *cache = object_cache(&object);
    CHECK(object.bytes_read < object.size / 20 && object.aheads == 0);
    int64_t before = object.reads;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.batches == OBJECT_BATCHES && stats.rows == OBJECT_BATCHES * OBJECT_ROWS);
    CHECK(object.reads == before);
    object_close(&object, cache);
}

static int64_t read_column(struct object *object, struct bc_cache *cache,
                           int32_t column) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = &column;
    options.n_columns = 1;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
    int64_t before = object->bytes_read;
    for (int64_t n = 0;; n++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        if (array.release == NULL) break;
        CHECK(array.n_children == 1 && array.length == OBJECT_ROWS);
        const int64_t *values = array.children[0]->buffers[1];
        for (int64_t i = 0; i < OBJECT_ROWS && column == 0; i++) {
            CHECK(values[i] == n * OBJECT_ROWS + i);
        }
        array.release(&array);
    }
    bc_reader_unref(reader);
    return object->bytes_read - before;
}

/* A projection reads the metadata of each batch, and the buffers of its columns. */
static void test_projection(void) {
    struct object object;
    make(&object);
    object.ahead_code = EAGAIN;
    struct bc_cache *cache = object_cache(&object);
    const int64_t column = (int64_t)8 * OBJECT_ROWS * OBJECT_BATCHES;
    const int64_t metadata = (int64_t)1024 * OBJECT_BATCHES;
    int64_t bytes = read_column(&object, cache, 0);
    CHECK(bytes >= column && bytes < column + metadata);
    CHECK(read_column(&object, cache, 1) > 0);
    object_close(&object, cache);
}

/* The number of bytes that are read ahead by a reader of all columns: each byte once. */
static void test_reading_ahead(void) {
    struct object object;
    make(&object);
    object.ahead_code = EAGAIN;
    struct bc_cache *cache = object_cache(&object);
    struct bc_reader *reader = new_reader(cache);
    struct counting_source source;
    counting_source_init(&source, OBJECT_BATCHES, OBJECT_ROWS);
    atomic_store(&source.arrays_alive, OBJECT_BATCHES);
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    counting_source_check(&source, &array, 0);
    CHECK(object.aheads == 1 && object.bytes_ahead > object.size * 8 / 10);
    CHECK(object.ahead_to < object.size);
    CHECK(counting_source_drain(&source, reader, 1) == OBJECT_BATCHES);
    CHECK(object.bytes_ahead < object.size);
    bc_reader_unref(reader);
    /* A projection: its columns are started when their metadata is in memory. */
    object.bytes_ahead = 0;
    object.ahead_code = 0;
    (void)read_column(&object, cache, 0);
    const int64_t column = (int64_t)8 * OBJECT_ROWS * OBJECT_BATCHES;
    CHECK(object.bytes_ahead > column * 8 / 10);
    CHECK(object.bytes_ahead < column + (int64_t)3 * 1024 * OBJECT_BATCHES);
    /* Nothing more is started while enough is being read. */
    object.bytes_ahead = 0;
    object.ahead_code = ENOBUFS;
    (void)read_column(&object, cache, 1);
    CHECK(object.bytes_ahead < (int64_t)64 * 1024 * OBJECT_BATCHES);
    object_close(&object, cache);
}

/* Nothing is read ahead after the end of a reader's range. */
static void test_end_of_a_range(void) {
    struct object object;
    make(&object);
    object.ahead_code = EAGAIN;
    struct bc_cache *cache = object_cache(&object);
    static const int32_t column = 0;
    for (int64_t n_columns = 0; n_columns < 2; n_columns++) {
        struct bc_reader_options options = BC_READER_OPTIONS_INIT;
        options.start = 20;
        options.stop = 30;
        if (n_columns > 0) options.columns = &column;
        options.n_columns = n_columns;
        struct bc_reader *reader;
        CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
        object.bytes_ahead = 0;
        for (;;) {
            struct ArrowArray array;
            CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
            if (array.release == NULL) break;
            array.release(&array);
        }
        bc_reader_unref(reader);
        CHECK(object.bytes_ahead > 0);
        CHECK(object.bytes_ahead < object.size * 10 / OBJECT_BATCHES);
        CHECK(object.ahead_to < object.size * 31 / OBJECT_BATCHES);
    }
    object_close(&object, cache);
}

/* Readers that read in another order read nothing ahead, after the first batch. */
static void test_another_order(void) {
    struct object object;
    make(&object);
    struct bc_cache *cache = object_cache(&object);
    for (int64_t n = OBJECT_BATCHES - 1; n > 0; n -= 2) {
        struct ArrowArray array;
        CHECK(bc_cache_batch(cache, (uint64_t)n, &array, NULL, NULL) == 0);
        array.release(&array);
    }
    CHECK(object.aheads == 0);
    object_close(&object, cache);
}

/* A failed read loses nothing: the same reader goes on with the same batch. */
static void test_errors(void) {
    static const struct {
        int code, expected;
        const char *text;
    } cases[] = {{ETIMEDOUT, ETIMEDOUT, "The server did not answer"},
                 {ENOENT, ENOENT, NULL},
                 {EAGAIN, EIO, "again"},
                 {EINVAL, EIO, NULL},
                 {EBADMSG, EIO, "bad"},
                 {EINTR, EINTR, "Interrupted"},
                 {-7, EIO, NULL}};
    struct object object;
    make(&object);
    struct bc_cache *cache = object_cache(&object);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct bc_reader *reader = new_reader(cache);
        for (int64_t n = 0; n < 4; n++) {
            struct ArrowArray array;
            struct bc_error error = {0};
            object.fail_at = object.reads;
            object.fail_code = cases[c].code;
            object.fail_text = cases[c].text;
            int code = bc_reader_next(reader, &array, NULL, &error);
            /* The first batches may be in memory from an earlier reader. */
            if (code == 0) {
                array.release(&array);
                continue;
            }
            CHECK(code == cases[c].expected && error.code == code);
            const char *text = cases[c].text == NULL ? "store://" : cases[c].text;
            CHECK(strstr(error.message, text) != NULL);
            object.fail_at = -1;
            CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
            struct counting_source source;
            counting_source_init(&source, OBJECT_BATCHES, OBJECT_ROWS);
            atomic_store(&source.arrays_alive, 1);
            counting_source_check(&source, &array, n);
        }
        object.fail_at = -1;
        object_check_batches(reader, 4);
        bc_reader_unref(reader);
    }
    object_close(&object, cache);
}

/* A failed opening leaves the storage to the caller. */
static void test_failed_opening(void) {
    struct object object;
    make(&object);
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    struct bc_cache *cache = NULL;
    for (int64_t nth = 0;; nth++) {
        object.fail_at = object.reads + nth;
        object.fail_code = ECONNREFUSED;
        struct bc_error error = {0};
        int code = object_open(&object, options, &cache, &error);
        if (code == 0) {
            CHECK(nth > 3);
            break;
        }
        CHECK(code == ECONNREFUSED && object.releases == 0);
        CHECK(strstr(error.message, "'store://bucket/x.arrows'") != NULL);
    }
    object_close(&object, cache);
    make(&object);
    struct bc_error error = {0};
    options.follow = 1;
    CHECK(object_open(&object, options, &cache, &error) == EINVAL);
    options.follow = 0;
    options.file = 0;
    CHECK(object_open(&object, options, &cache, &error) == EINVAL);
    CHECK(object.releases == 0 && object.reads == 0);
    object_finish(&object);
}

/* Each changed byte of a message is noticed by the reader that needs it. */
static void test_damage(void) {
    struct object object;
    make(&object);
    for (int64_t at = object.size / 3; at < object.size / 3 + 64000; at += 997) {
        object.bytes[at] ^= 1;
        struct bc_cache *cache = object_cache(&object);
        struct bc_reader *reader = new_reader(cache);
        int code;
        do {
            struct ArrowArray array;
            code = bc_reader_next(reader, &array, NULL, NULL);
            if (code != 0 || array.release == NULL) break;
            array.release(&array);
        } while (code == 0);
        CHECK(code == EBADMSG);
        bc_reader_unref(reader);
        bc_cache_unref(cache);
        object.bytes[at] ^= 1;
    }
    object_finish(&object);
}

/* A byte that is wrong once costs another read. */
static void test_distrust(void) {
    struct object object;
    make(&object);
    struct bc_cache *cache = object_cache(&object);
    for (int64_t n = 1; n < 10; n++) {
        object.wrong_at = object.size * n / 11;
        struct bc_reader *reader = new_reader(cache);
        object_check_batches(reader, 0);
        bc_reader_unref(reader);
    }
    /* The byte of a dictionary that is kept is not read again. */
    CHECK(object.distrusts > 4 && object.distrusts <= 9);
    object_close(&object, cache);
}

/* A short object is damaged or incomplete. */
static void test_cut(void) {
    struct object object;
    make(&object);
    int64_t size = object.size;
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    struct bc_cache *cache;
    for (object.size = 0; object.size < size; object.size += 1 + size / 97) {
        int code = object_open(&object, options, &cache, NULL);
        CHECK(code == ENODATA);
    }
    /* The valid batches of a part can be opened. */
    options.partial = 1;
    object.size = size / 2;
    CHECK(object_open(&object, options, &cache, NULL) == 0);
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.batches > OBJECT_BATCHES / 3 && stats.batches < OBJECT_BATCHES);
    object_close(&object, cache);
}

/* Saving makes a local recording of the whole object, or of a selection. */
static void test_save(void) {
    struct object object;
    make(&object);
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct bc_cache *cache = object_cache(&object);
    struct bc_error error = {0};
    CHECK(bc_cache_save(cache, dir.path, NULL, &error) == 0);
    struct bc_cache *copy;
    CHECK(open_recording(dir.path, 0, 0, &copy) == 0);
    struct bc_reader *reader = new_reader(copy);
    object_check_batches(reader, 0);
    bc_reader_unref(reader);
    bc_cache_unref(copy);
    CHECK(unlink(dir.path) == 0);
    recording_dir_finish_clean(&dir);
    object_close(&object, cache);
}

/* The description of the file reads the metadata of its batches, and no body. */
static void test_file_info(void) {
    struct object object;
    make(&object);
    struct bc_cache *cache = object_cache(&object);
    struct bc_file_info info = {.struct_size = sizeof(info)};
    uint64_t columns[3];
    int64_t before = object.bytes_read;
    CHECK(bc_cache_file_info(cache, &info, columns, NULL) == 0);
    CHECK(info.kind == BC_FILE_RECORDING && info.complete);
    CHECK(info.bytes == (uint64_t)object.size);
    CHECK(columns[0] >= (uint64_t)8 * OBJECT_ROWS * OBJECT_BATCHES);
    CHECK(object.bytes_read - before < (int64_t)4096 * OBJECT_BATCHES);
    CHECK(bc_cache_is_being_written(cache) == 0);
    object_close(&object, cache);
}

/* The memory of a batch that was opened with `writable` is its own. */
static void test_writable(void) {
    struct object object;
    make(&object);
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.writable = 1;
    struct bc_cache *cache;
    CHECK(object_open(&object, options, &cache, NULL) == 0);
    for (int i = 0; i < 2; i++) {
        struct ArrowArray array;
        CHECK(bc_cache_batch(cache, 1, &array, NULL, NULL) == 0);
        int64_t *values = (int64_t *)(uintptr_t)array.children[0]->buffers[1];
        CHECK(values[0] == OBJECT_ROWS);
        values[0] = -1;
        array.release(&array);
    }
    object_close(&object, cache);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_all_batches),    TAP_CASE(test_deltas),
        TAP_CASE(test_opening),        TAP_CASE(test_projection),
        TAP_CASE(test_reading_ahead),  TAP_CASE(test_end_of_a_range),
        TAP_CASE(test_another_order),  TAP_CASE(test_errors),
        TAP_CASE(test_failed_opening), TAP_CASE(test_damage),
        TAP_CASE(test_distrust),       TAP_CASE(test_cut),
        TAP_CASE(test_save),           TAP_CASE(test_file_info),
        TAP_CASE(test_writable)};
    return TAP_RUN(cases);
}
