/* Uninitialised bytes after a producer's values are not written to the file. */
#include <string.h>

#include "counting_source.h"

enum { BYTES = 64, ROWS = 13, OFFSET = 3, COLUMNS = 3 };

/* One batch of a bool, an int32 and a string column. `poison`: bytes outside of values
 * are 0xff. Without it they stay uninitialised, which valgrind tracks. */
struct source {
    bool poison;
    bool given;
    uint8_t *buffers[COLUMNS][3];
    const void *tables[COLUMNS][3];
    struct ArrowArray columns[COLUMNS];
    struct ArrowArray *children[COLUMNS];
};

static void set_bit(uint8_t *bits, int i, bool value) {
    uint8_t mask = (uint8_t)(1 << i % 8);
    bits[i / 8] = (uint8_t)((bits[i / 8] & ~mask) | (value ? mask : 0));
}

static bool bit(const uint8_t *bits, int i) { return (bits[i / 8] >> i % 8 & 1) != 0; }

static bool valid(int i) { return i % 3 != 0; }

static void release_column(struct ArrowArray *array) { array->release = NULL; }

static void release(struct ArrowArray *array) {
    struct source *source = array->private_data;
    for (int c = 0; c < COLUMNS; c++) {
        if (source->columns[c].release != NULL) source->columns[c].release = NULL;
        for (int b = 0; b < 3; b++) free(source->buffers[c][b]);
    }
    array->release = NULL;
}

static void fill(struct source *source) {
    for (int c = 0; c < COLUMNS; c++) {
        for (int b = 0; b < 3; b++) {
            source->buffers[c][b] = malloc(BYTES);
            if (source->poison) memset(source->buffers[c][b], 0xff, BYTES);
        }
    }
    int32_t *values = (int32_t *)(void *)source->buffers[1][1];
    int32_t *offsets = (int32_t *)(void *)source->buffers[2][1];
    for (int i = 0; i < ROWS; i++) {
        for (int c = 0; c < COLUMNS; c++) set_bit(source->buffers[c][0], i, valid(i));
        set_bit(source->buffers[0][1], i, i % 2 == 0);
        values[i] = i;
        offsets[i] = i;
        source->buffers[2][2][i] = (uint8_t)('a' + i);
    }
    offsets[ROWS] = ROWS;
}

static int next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct source *source = stream->private_data;
    memset(out, 0, sizeof(*out));
    if (source->given) return 0;
    source->given = true;
    fill(source);
    static const void *no_validity[1] = {NULL};
    for (int c = 0; c < COLUMNS; c++) {
        for (int b = 0; b < 3; b++) source->tables[c][b] = source->buffers[c][b];
        source->columns[c] = (struct ArrowArray){.length = ROWS - OFFSET,
                                                 .null_count = -1,
                                                 .offset = OFFSET,
                                                 .n_buffers = c == 2 ? 3 : 2,
                                                 .buffers = source->tables[c],
                                                 .release = release_column};
        source->children[c] = &source->columns[c];
    }
    *out = (struct ArrowArray){.length = ROWS - OFFSET,
                               .n_buffers = 1,
                               .n_children = COLUMNS,
                               .buffers = no_validity,
                               .children = source->children,
                               .release = release,
                               .private_data = source};
    return 0;
}

static int schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream;
    static const enum ArrowType types[] = {NANOARROW_TYPE_BOOL, NANOARROW_TYPE_INT32,
                                           NANOARROW_TYPE_STRING};
    ArrowSchemaInit(out);
    CHECK(ArrowSchemaSetTypeStruct(out, COLUMNS) == 0);
    for (int c = 0; c < COLUMNS; c++) {
        CHECK(ArrowSchemaSetType(out->children[c], types[c]) == 0);
        CHECK(ArrowSchemaSetName(out->children[c], "c") == 0);
    }
    return 0;
}

static const char *no_words(struct ArrowArrayStream *stream) {
    (void)stream;
    return NULL;
}

static void release_stream(struct ArrowArrayStream *stream) { stream->release = NULL; }

/* Checks that the bits after the first `bits` bits are zero, up to 64 bytes. */
static void check_zeros(const uint8_t *buffer, int bits) {
    CHECK((uintptr_t)buffer % BYTES == 0);
    for (int i = bits; i < 8 * BYTES; i++) CHECK(!bit(buffer, i));
}

static void check(const struct ArrowArray *array) {
    int n = (int)array->length;
    CHECK(n == ROWS - OFFSET);
    for (int c = 0; c < COLUMNS; c++) {
        const struct ArrowArray *column = array->children[c];
        CHECK(column->offset == 0);
        check_zeros(column->buffers[0], n);
        for (int i = 0; i < n; i++)
            CHECK(bit(column->buffers[0], i) == valid(OFFSET + i));
    }
    check_zeros(array->children[0]->buffers[1], n);
    check_zeros(array->children[1]->buffers[1], 32 * n);
    check_zeros(array->children[2]->buffers[1], 32 * (n + 1));
    check_zeros(array->children[2]->buffers[2], 8 * n);
    const int32_t *values = array->children[1]->buffers[1];
    for (int i = 0; i < n; i++) CHECK(values[i] == OFFSET + i);
}

static void record(bool poison, struct bc_cache_options options) {
    struct source source = {.poison = poison};
    struct ArrowArrayStream stream = {schema, next, no_words, release_stream, &source};
    char *path = new_directory();
    options.memory_capacity = 1;
    options.disk_path = path;
    struct bc_cache *cache;
    uint64_t batches;
    CHECK(bc_cache_new(&stream, &options, &cache, NULL) == 0);
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == 1);
    struct ArrowArray array;
    CHECK(bc_cache_batch(cache, 0, &array, NULL, NULL) == 0);
    if (options.compression == BC_COMPRESSION_NONE) check(&array);
    array.release(&array);
    bc_cache_unref(cache);
    CHECK(remove(path) == 0);
    free(path);
}

static void test_padding_is_zeros(void) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    for (int codec = BC_COMPRESSION_NONE; codec <= BC_COMPRESSION_ZSTD; codec++) {
        for (int poison = 0; poison < 2; poison++) {
            options.compression = (enum bc_compression)codec;
            options.checksum = 1;
            record(poison, options);
            options.checksum = 0;
            record(poison, options);
        }
    }
}

int main(void) {
    const struct tap_case cases[] = {TAP_CASE(test_padding_is_zeros)};
    return TAP_RUN(cases);
}
