/* Batches of a writable file: each has memory of its own. */
#include "recording.h"

static struct bc_cache *open_writable(const char *path, int copies) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.writable = 1;
    options.read_into_memory = copies;
    struct bc_cache *cache;
    CHECK(bc_file_open(path, &options, &cache, NULL) == 0);
    return cache;
}

static void read_batch(struct bc_cache *cache, uint64_t number, struct ArrowArray *out) {
    CHECK(bc_cache_batch(cache, number, out, NULL, NULL) == 0 && out->release != NULL);
}

/* Overwrites the values of the first column. */
static void overwrite(const struct ArrowArray *array) {
    const struct ArrowArray *column = array->children[0];
    CHECK(column->n_buffers == 2 && column->length == ROWS);
    memset((void *)(uintptr_t)column->buffers[1], 0x5a, sizeof(int64_t) * ROWS);
}

static char *bytes_of(const char *path, size_t *out_size) {
    *out_size = (size_t)file_size(path);
    char *bytes = malloc(*out_size);
    FILE *file = fopen(path, "rb");
    CHECK(bytes != NULL && file != NULL && fread(bytes, 1, *out_size, file) == *out_size);
    CHECK(fclose(file) == 0);
    return bytes;
}

/* Two reads of each batch are alive, and all of the first are overwritten. */
static void check_writes(const char *path, int copies) {
    size_t sizes[2];
    char *before = bytes_of(path, &sizes[0]);
    struct bc_cache *cache = open_writable(path, copies);
    struct ArrowArray written[BATCHES];
    for (uint64_t i = 0; i < BATCHES; i++) {
        read_batch(cache, i, &written[i]);
        overwrite(&written[i]);
    }
    check_batches(cache, 0, BATCHES);
    bc_cache_unref(cache);
    for (int i = 0; i < BATCHES; i++) {
        const int64_t *values = written[i].children[0]->buffers[1];
        for (int k = 0; k < ROWS; k++) CHECK(values[k] == 0x5a5a5a5a5a5a5a5a);
        written[i].release(&written[i]);
    }
    char *after = bytes_of(path, &sizes[1]);
    CHECK(sizes[0] == sizes[1] && memcmp(before, after, sizes[0]) == 0);
    free(before);
    free(after);
}

static void test_writes_stay_in_the_batch(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 0);
    check_writes(dir.path, 0);
    check_writes(dir.path, 1);
    recording_dir_finish(&dir);
}

static void test_writes_to_decompressed_batches(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir.path;
    options.compression = BC_COMPRESSION_LZ4;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
    bc_cache_unref(cache);
    check_writes(dir.path, 0);
    recording_dir_finish(&dir);
}

static void test_a_damaged_batch_is_refused(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 0);
    size_t size;
    char *bytes = bytes_of(dir.path, &size);
    /* Values of a batch in the middle. */
    static const int64_t values[] = {4 * ROWS, 4 * ROWS + 1, 4 * ROWS + 2};
    char *found = memmem(bytes, size, values, sizeof(values));
    CHECK(found != NULL);
    *found ^= 1;
    file_write(dir.path, bytes, size);
    free(bytes);
    struct bc_cache *cache = open_writable(dir.path, 0);
    int refused = 0;
    for (uint64_t i = 0; i < BATCHES; i++) {
        struct ArrowArray array;
        int code = bc_cache_batch(cache, i, &array, NULL, NULL);
        CHECK(code == 0 || code == EBADMSG);
        if (code == 0) array.release(&array);
        refused += code != 0;
    }
    CHECK(refused == 1);
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

static void test_a_shortened_file_is_refused(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 0);
    struct bc_cache *cache = open_writable(dir.path, 0);
    CHECK(truncate(dir.path, file_size(dir.path) / 2) == 0);
    struct ArrowArray array;
    CHECK(bc_cache_batch(cache, BATCHES - 1, &array, NULL, NULL) == EIO);
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_writes_stay_in_the_batch),
        TAP_CASE(test_writes_to_decompressed_batches),
        TAP_CASE(test_a_damaged_batch_is_refused),
        TAP_CASE(test_a_shortened_file_is_refused),
    };
    return TAP_RUN(cases);
}
