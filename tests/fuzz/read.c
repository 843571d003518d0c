#include "read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consume.h"

/* The result of each way to read. */
enum { BATCHES_MAX = 1000 };

/* A way to open a file. */
struct way {
    int copies;
    int verify;
    int partial;
};

static const struct way ways[] = {{1, 1, 0}, {0, 1, 1}, {1, 0, 1}};

/* One file in memory, for all inputs: -1 before the first one. */
static int file = -1;
static char path[64];

static void fill(const uint8_t *bytes, size_t size) {
    if (file < 0) {
        file = memfd_create("input", MFD_CLOEXEC);
        FUZZ_CHECK(file >= 0);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    FUZZ_CHECK(ftruncate(file, 0) == 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(file, bytes + done, size - done, (off_t)done);
        FUZZ_CHECK(n > 0);
        done += (size_t)n;
    }
}

static void check_error(int code, const struct bc_error *error) {
    FUZZ_CHECK(code == 0 || (error->code == code && error->message[0] != '\0'));
}

/* Checks the batch if it was validated before it was returned. */
static void take(const struct way *way, const struct ArrowSchema *schema,
                 struct ArrowArray *array) {
    if (way->verify) fuzz_consume(schema, array);
    array->release(array);
}

/* Reads from the start to the end or the first error, which must repeat. Returns how many
 * batches there were. */
static uint64_t read_all(struct bc_cache *cache, const struct way *way,
                         const int32_t *columns, int64_t n_columns) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = columns;
    options.n_columns = n_columns;
    struct bc_reader *reader;
    struct ArrowSchema schema;
    FUZZ_CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
    FUZZ_CHECK(bc_reader_schema(reader, &schema, NULL) == 0);
    uint64_t n = 0;
    for (; n < BATCHES_MAX; n++) {
        struct ArrowArray array = {.release = NULL};
        struct bc_batch_info info = {.number = UINT64_MAX};
        struct bc_error error = {0};
        int code = bc_reader_next(reader, &array, &info, &error);
        check_error(code, &error);
        if (code != 0 || array.release == NULL) break;
        FUZZ_CHECK(info.number == n && info.rows == (uint64_t)array.length);
        FUZZ_CHECK(array.n_children == schema.n_children);
        take(way, &schema, &array);
    }
    schema.release(&schema);
    bc_reader_unref(reader);
    return n;
}

/* Reads a single batch after all batches: it must exist if it was read before. */
static void get_one(struct bc_cache *cache, const struct way *way,
                    const struct ArrowSchema *schema, uint64_t number, int must) {
    struct ArrowArray array = {.release = NULL};
    struct bc_error error = {0};
    int code = bc_cache_batch(cache, number, &array, NULL, &error);
    check_error(code, &error);
    FUZZ_CHECK(!must || (code == 0 && array.release != NULL));
    if (code == 0 && array.release != NULL) take(way, schema, &array);
}

/* Checks that a row is in the batch that the index returns. */
static void find_row(struct bc_cache *cache, uint64_t row) {
    uint64_t number;
    uint64_t row_in_batch;
    struct bc_error error = {0};
    int code = bc_cache_find_row(cache, row, &number, &row_in_batch, &error);
    check_error(code, &error);
    if (code != 0) return;
    uint64_t starts[2];
    FUZZ_CHECK(bc_cache_row_starts(cache, number, 1, starts, NULL) == 0);
    FUZZ_CHECK(starts[0] <= row && row < starts[1] && row - starts[0] == row_in_batch);
    struct ArrowArray array = {.release = NULL};
    if (bc_cache_batch(cache, number, &array, NULL, NULL) != 0) return;
    FUZZ_CHECK(array.release != NULL && row_in_batch < (uint64_t)array.length);
    array.release(&array);
}

static void look_at_rows(struct bc_cache *cache, uint64_t batches) {
    uint64_t starts[BATCHES_MAX + 1];
    uint64_t n = batches < BATCHES_MAX ? batches : BATCHES_MAX;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    FUZZ_CHECK(stats.batches == batches && stats.rows <= INT64_MAX);
    struct bc_error error = {0};
    int code = bc_cache_row_starts(cache, 0, n, starts, &error);
    check_error(code, &error);
    for (uint64_t i = 0; i < n && code == 0; i++) FUZZ_CHECK(starts[i] <= starts[i + 1]);
    if (code == 0) FUZZ_CHECK(starts[n] <= stats.rows);
    find_row(cache, 0);
    find_row(cache, stats.rows / 2);
    if (stats.rows > 0) find_row(cache, stats.rows - 1);
    find_row(cache, stats.rows);
}

static void describe(struct bc_cache *cache, int64_t n_columns, size_t size) {
    uint64_t *columns = calloc((size_t)n_columns + 1, sizeof(*columns));
    FUZZ_CHECK(columns != NULL);
    struct bc_file_info info = {.struct_size = sizeof(info)};
    struct bc_error error = {0};
    int code = bc_cache_file_info(cache, &info, columns, &error);
    check_error(code, &error);
    FUZZ_CHECK(code != 0 || (info.bytes == size && info.kind != BC_FILE_NONE));
    free(columns);
}

static void read_way(const struct way *way, size_t size) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.file = file;
    options.read_into_memory = way->copies;
    options.writable = size % 2;
    options.verify = way->verify;
    options.partial = way->partial;
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_file_open("input", &options, &cache, &error);
    check_error(code, &error);
    if (code != 0) return;
    uint64_t batches;
    struct ArrowSchema schema;
    FUZZ_CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    FUZZ_CHECK(bc_cache_schema(cache, &schema, NULL) == 0);
    int64_t n_columns = schema.n_children;
    const int32_t last = (int32_t)n_columns - 1;
    if (n_columns > 0 && !way->copies) (void)read_all(cache, way, &last, 1);
    uint64_t n = read_all(cache, way, NULL, 0);
    FUZZ_CHECK(n <= batches);
    if (n_columns > 0 && way->copies) (void)read_all(cache, way, &last, 1);
    (void)read_all(cache, way, &last, 0);
    if (n > 0) get_one(cache, way, &schema, n - 1, 1);
    if (n < batches) get_one(cache, way, &schema, batches - 1, 0);
    look_at_rows(cache, batches);
    describe(cache, n_columns, size);
    fuzz_consume_statistics(cache);
    schema.release(&schema);
    bc_cache_unref(cache);
}

/* ---- resuming ---- */

static int source_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    return bc_cache_schema(stream->private_data, out, NULL);
}

static int source_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    (void)stream;
    out->release = NULL;
    return 0;
}

static const char *source_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return NULL;
}

static void source_release(struct ArrowArrayStream *stream) { stream->release = NULL; }

/* Resumes the file with an empty source, which changes the file. */
static void resume(void) {
    struct bc_file_options from = BC_FILE_OPTIONS_INIT;
    from.file = file;
    from.partial = 1;
    from.max_batches = 0;
    struct bc_cache *schema;
    if (bc_file_open("input", &from, &schema, NULL) != 0) return;
    struct ArrowArrayStream source = {source_schema, source_next, source_error,
                                      source_release, schema};
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.memory_capacity = 0;
    options.resume = 1;
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_cache_new(&source, &options, &cache, &error);
    check_error(code, &error);
    if (code == 0) {
        uint64_t batches;
        (void)bc_cache_ingest(cache, &batches, NULL);
        bc_cache_unref(cache);
    }
    bc_cache_unref(schema);
}

void fuzz_read(const uint8_t *bytes, size_t size) {
    fill(bytes, size);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) read_way(&ways[i], size);
    resume();
}
