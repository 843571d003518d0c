/* Recordings that are opened: complete ones, and files cut at every byte. */
#include "recording.h"

static void test_record_and_open(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int grows = 0; grows < 2; grows++) {
        record_all(dir.path, grows);
        for (int copies = 0; copies < 2; copies++) {
            struct bc_cache *cache = NULL;
            CHECK(open_recording(dir.path, 0, copies, &cache) == 0);
            check_batches(cache, grows, BATCHES);
            struct bc_stats stats = {.struct_size = sizeof(stats)};
            bc_cache_stats(cache, &stats);
            CHECK(stats.state == BC_STATE_EXHAUSTED && stats.batches == BATCHES);
            CHECK(stats.rows == BATCHES * ROWS && stats.bytes > 0);
            for (uint64_t row = 0; row < BATCHES * ROWS; row++) {
                uint64_t batch;
                uint64_t within;
                CHECK(bc_cache_find_row(cache, row, &batch, &within, NULL) == 0);
                CHECK(batch == row / ROWS && within == row % ROWS);
            }
            struct ArrowArray array;
            CHECK(bc_cache_batch(cache, UINT64_MAX, &array, NULL, NULL) == 0);
            CHECK(array.release == NULL);
            uint64_t none;
            CHECK(bc_cache_find_row(cache, BATCHES * ROWS, &none, &none, NULL) == EINVAL);
            bc_cache_unref(cache);
        }
        uint64_t batches = 0;
        CHECK(bc_file_verify(dir.path, NULL, &batches, NULL) == 0 && batches == BATCHES);
        CHECK(unlink(dir.path) == 0);
        CHECK(bc_file_verify(dir.path, NULL, &batches, NULL) == ENOENT &&
              batches == BATCHES);
    }
    recording_dir_finish_clean(&dir);
}

static void test_name_is_taken(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    int file = open(dir.path, O_CREAT | O_WRONLY, 0600);
    CHECK(file >= 0 && write(file, "mine", 4) == 4 && close(file) == 0);
    CHECK(symlink("elsewhere", dir.other) == 0);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    const char *names[] = {dir.path, dir.other};
    for (int i = 0; i < 2; i++) {
        struct ArrowArrayStream stream = counting_source_stream(&source);
        struct bc_cache *cache = NULL;
        options.record_path = names[i];
        CHECK(bc_cache_new(&stream, &options, &cache, NULL) == EEXIST && cache == NULL);
        CHECK(stream.release != NULL && source.next == 0);
        stream.release(&stream);
        struct bc_cache *full = counting_source_cache(&source, NULL);
        CHECK(save_cache(full, names[i], 0, 0, NULL) == EEXIST);
        bc_cache_unref(full);
        counting_source_init(&source, BATCHES, ROWS);
    }
    CHECK(file_size(dir.path) == 4);
    recording_dir_finish_clean(&dir);
}

/* Records two batches, or resumes and completes the recording. Returns its key's copy, or
 * NULL. */
static char *record_keyed(const char *path, const char *key, int resume) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.key = key;
    options.resume = resume;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(cache, resume ? BATCHES : 2, &batches, NULL) == 0);
    if (resume) CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    const char *kept = bc_cache_key(cache);
    char *copy = kept == NULL ? NULL : strdup(kept);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
    return copy;
}

static void check_key(const char *path, int partial, const char *key) {
    struct bc_cache *cache = NULL;
    CHECK(open_recording(path, partial, 0, &cache) == 0);
    const char *found = bc_cache_key(cache);
    CHECK((found == NULL) == (key == NULL));
    CHECK(key == NULL || strcmp(found, key) == 0);
    bc_cache_unref(cache);
}

/* A recording keeps its key, and a resumed one the first key. */
static void test_keys(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    static const char *const keys[] = {NULL, "", "{\"query\":\"\xc3\xa9\"}", "other"};
    for (int i = 0; i < 16; i++) {
        const char *key = keys[i % 4];
        const char *again = keys[i / 4];
        free(record_keyed(dir.path, key, 0));
        check_key(dir.path, 1, key);
        char *kept = record_keyed(dir.path, again, 1);
        CHECK((kept == NULL) == (key == NULL) && (key == NULL || strcmp(kept, key) == 0));
        free(kept);
        check_key(dir.path, 0, key);
        CHECK(unlink(dir.path) == 0);
    }
    recording_dir_finish_clean(&dir);
}

static void refuse_key(const char *path, const char *key, const char *words) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct ArrowArrayStream stream = counting_source_stream(&source);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.key = key;
    struct bc_cache *cache = NULL;
    struct bc_error error = {0};
    CHECK(bc_cache_new(&stream, &options, &cache, &error) == EINVAL && cache == NULL);
    CHECK(strstr(error.message, words) != NULL);
    stream.release(&stream);
}

static void test_invalid_keys(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    refuse_key(NULL, "key", "need a record_path");
    refuse_key(dir.path, "\xff", "UTF-8");
    size_t size = 1 << 20;
    char *long_key = malloc(size + 2);
    memset(long_key, 'k', size + 1);
    long_key[size + 1] = '\0';
    refuse_key(dir.path, long_key, "1048577 bytes");
    long_key[size] = '\0';
    free(record_keyed(dir.path, long_key, 0));
    check_key(dir.path, 1, long_key);
    free(long_key);
    recording_dir_finish(&dir);
}

/* A recording that is cut at any byte gives an error, or exactly its whole batches. */
static void test_cut(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 1);
    int64_t size = file_size(dir.path);
    int64_t before = 0;
    for (int64_t cut = 0; cut < size; cut++) {
        CHECK(unlink(dir.other) == 0 || errno == ENOENT);
        int from = open(dir.path, O_RDONLY);
        int to = open(dir.other, O_CREAT | O_WRONLY, 0600);
        char *bytes = malloc((size_t)cut + 1);
        CHECK(read(from, bytes, (size_t)cut) == cut);
        CHECK(write(to, bytes, (size_t)cut) == cut);
        CHECK(close(from) == 0 && close(to) == 0);
        free(bytes);
        struct bc_cache *cache = NULL;
        int code = open_recording(dir.other, 0, 0, &cache);
        if (code != ENODATA) printf("# cut at %lld: %d\n", (long long)cut, code);
        CHECK(code == ENODATA);
        if (open_recording(dir.other, 1, 0, &cache) != 0) {
            CHECK(before == 0);
            continue;
        }
        struct bc_stats stats = {.struct_size = sizeof(stats)};
        bc_cache_stats(cache, &stats);
        CHECK((int64_t)stats.batches >= before);
        before = (int64_t)stats.batches;
        check_batches(cache, 1, before);
        bc_cache_unref(cache);
    }
    CHECK(before == BATCHES);
    recording_dir_finish_clean(&dir);
}

static void test_select_and_step(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 0);
    struct bc_cache *cache = NULL;
    CHECK(open_recording(dir.path, 0, 0, &cache) == 0);
    const int32_t columns[] = {1, 0};
    CHECK(bc_cache_select(cache, columns, 2, NULL) == 0);
    struct bc_error error = {0};
    CHECK(bc_cache_select(cache, columns, 1, &error) == EBUSY);
    CHECK(strstr(error.message, "selected already") != NULL);
    struct ArrowSchema schema;
    CHECK(bc_cache_schema(cache, &schema, NULL) == 0);
    CHECK(schema.n_children == 2 && strcmp(schema.children[0]->name, "s") == 0);
    schema.release(&schema);
    const int32_t second = 1;
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = &second;
    options.n_columns = 1;
    options.start = 1;
    options.step = 3;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
    for (int64_t number = 1; number < BATCHES; number += 3) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        CHECK(array.n_children == 1 && array.length == ROWS);
        CHECK(((const int64_t *)array.children[0]->buffers[1])[0] == number * ROWS);
        array.release(&array);
    }
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0 && array.release == NULL);
    CHECK(bc_cache_select(cache, columns, 1, NULL) == EBUSY);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    recording_dir_finish_clean(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_record_and_open),
        TAP_CASE(test_name_is_taken),
        TAP_CASE(test_keys),
        TAP_CASE(test_invalid_keys),
        TAP_CASE(test_cut),
        TAP_CASE(test_select_and_step),
    };
    return TAP_RUN(cases);
}
