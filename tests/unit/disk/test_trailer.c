/* Trailers whose entries overlap or leave rows out. Reading every batch of such a file
 * takes no longer than its size asks for. */
#include "disk/trailer.h"
#include "recording_dir.h"

enum { BATCHES = 6, ROWS = 50 };

/* Makes a recording. Returns its open file and its trailer. */
static int open_recorded(struct recording_dir *dir, struct bc_trailer *out_trailer) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    recording_dir_init(dir);
    recording_write(dir->path, source, BATCHES + 1);
    int file = open(dir->path, O_RDWR);
    bool complete;
    off_t size = lseek(file, 0, SEEK_END);
    struct bc_file opened = {.file = file};
    CHECK(bc__trailer_read(&opened, size, out_trailer, &complete, NULL) == 0 && complete);
    return file;
}

static struct bc_cache *open_file(const char *path) {
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_file_open(path, NULL, &cache, &error);
    if (code != 0) printf("# %s\n", error.message);
    CHECK(code == 0);
    return cache;
}

static int get(struct bc_cache *cache, uint64_t number) {
    struct ArrowArray array;
    int code = bc_cache_batch(cache, number, &array, NULL, NULL);
    if (code == 0) array.release(&array);
    return code;
}

/* Each batch entry of the trailer refers to the first batch. */
static void test_batches(void) {
    struct recording_dir dir;
    struct bc_trailer trailer;
    int file = open_recorded(&dir, &trailer);
    uint8_t entry[BC_TRAILER_BATCH];
    struct bc_trailer_batch first;
    CHECK(pread(file, entry, sizeof(entry), bc__trailer_batch_at(&trailer, 0)) > 0);
    CHECK(bc__trailer_get_batch(&trailer, entry, 0, &first));
    for (int i = 0; i < BATCHES; i++) {
        const struct bc_trailer_batch same = {first.offset, first.size,
                                              (int64_t)i * ROWS};
        bc__trailer_put_batch(entry, &same, i);
        CHECK(pwrite(file, entry, sizeof(entry), bc__trailer_batch_at(&trailer, i)) > 0);
    }
    struct bc_cache *cache = open_file(dir.path);
    for (uint64_t i = 0; i + 1 < BATCHES; i++) CHECK(get(cache, i) == EBADMSG);
    /* Nothing follows the last batch. */
    CHECK(get(cache, BATCHES - 1) == 0);
    bc_cache_unref(cache);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

/* A dictionary message that reaches into the next version of the dictionary. */
static void test_dictionaries(void) {
    struct recording_dir dir;
    struct bc_trailer trailer;
    int file = open_recorded(&dir, &trailer);
    CHECK(trailer.dictionaries > 1);
    uint8_t bytes[BC_TRAILER_DICTIONARY];
    struct bc_trailer_dictionary entry;
    off_t at = bc__trailer_dictionary_at(&trailer, 0);
    CHECK(pread(file, bytes, sizeof(bytes), at) > 0);
    CHECK(bc__trailer_get_dictionary(&trailer, bytes, 0, &entry));
    entry.size = trailer.end - entry.offset;
    bc__trailer_put_dictionary(bytes, &entry, 0);
    CHECK(pwrite(file, bytes, sizeof(bytes), at) > 0);
    struct bc_cache *cache;
    CHECK(bc_file_open(dir.path, NULL, &cache, NULL) == EBADMSG);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

/* The first batch must begin with the first row. */
static void test_first_rows(void) {
    struct recording_dir dir;
    struct bc_trailer trailer;
    int file = open_recorded(&dir, &trailer);
    uint8_t entry[BC_TRAILER_BATCH];
    for (int i = 0; i < BATCHES; i++) {
        struct bc_trailer_batch batch;
        off_t at = bc__trailer_batch_at(&trailer, i);
        CHECK(pread(file, entry, sizeof(entry), at) > 0);
        CHECK(bc__trailer_get_batch(&trailer, entry, i, &batch));
        batch.first_row += 1;
        trailer.rows += i == 0;
        bc__trailer_put_batch(entry, &batch, i);
        CHECK(pwrite(file, entry, sizeof(entry), at) > 0);
    }
    uint8_t footer[BC_TRAILER_FOOTER];
    bc__trailer_put_footer(footer, &trailer);
    off_t end = lseek(file, -BC_TRAILER_FOOTER, SEEK_END);
    CHECK(pwrite(file, footer, sizeof(footer), end) > 0 && close(file) == 0);
    struct bc_cache *cache = open_file(dir.path);
    CHECK(get(cache, 0) == EBADMSG && get(cache, 1) == 0);
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_batches),
        TAP_CASE(test_dictionaries),
        TAP_CASE(test_first_rows),
    };
    return TAP_RUN(cases);
}
