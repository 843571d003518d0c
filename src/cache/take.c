/* Rows of any batches, copied into one array: bc_cache_take.
 *
 * The rows are sorted, so that each batch is read once. A reader whose order is these
 * batches reads them, one at a time, as it reads any batches. */
#include <errno.h>
#include <stdlib.h>

#include "arrow/gather.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"
#include "replay/export.h"

/* Rows in ascending order, and the batches that have them. */
struct rows {
    int64_t n;
    struct bc_gather_row *rows; /* in batch i: those before ends[i] */
    int64_t n_batches;
    uint64_t *batches;
    int64_t *ends;
};

static void rows_finish(struct rows *rows) {
    bc__free(rows->rows);
    bc__free(rows->batches);
    bc__free(rows->ends);
}

static int compare_rows(const void *one, const void *other) {
    int64_t rows[2] = {((const struct bc_gather_row *)one)->row,
                       ((const struct bc_gather_row *)other)->row};
    return (rows[0] > rows[1]) - (rows[0] < rows[1]);
}

/* ENOMEM. */
static int rows_init(struct rows *rows, const uint64_t *indices, uint64_t n) {
    *rows = (struct rows){.n = (int64_t)n};
    bool fits = n < SIZE_MAX / sizeof(*rows->rows);
    if (fits) {
        rows->rows = bc__malloc((size_t)(n + 1) * sizeof(*rows->rows));
        rows->batches = bc__malloc((size_t)(n + 1) * sizeof(*rows->batches));
        rows->ends = bc__malloc((size_t)(n + 1) * sizeof(*rows->ends));
    }
    if (rows->rows == NULL || rows->batches == NULL || rows->ends == NULL) {
        rows_finish(rows);
        return ENOMEM;
    }
    for (int64_t i = 0; i < rows->n; i++) {
        /* No batch has a larger index. */
        uint64_t row = indices[i] < INT64_MAX ? indices[i] : INT64_MAX;
        rows->rows[i] = (struct bc_gather_row){(int64_t)row, i};
    }
    qsort(rows->rows, (size_t)n, sizeof(*rows->rows), compare_rows);
    return 0;
}

/* Finds the batches, and turns the rows into indices in their batches. The batches from
 * `low` on are pinned, and the cache is entered. */
static int find_batches(struct bc_cache *cache, uint64_t low, struct rows *rows,
                        struct bc_error *error) {
    struct bc_index_entry entry = {0};
    for (int64_t i = 0; i < rows->n; i++) {
        uint64_t row = (uint64_t)rows->rows[i].row;
        if (rows->n_batches == 0 || row - entry.first_row >= entry.rows) {
            uint64_t number;
            int code =
                bc__store_find_row(&cache->store, low, row, &number, &entry, error);
            if (code != 0) return code;
            rows->batches[rows->n_batches++] = number;
        }
        rows->rows[i].row = (int64_t)(row - entry.first_row);
        rows->ends[rows->n_batches - 1] = i + 1;
    }
    return 0;
}

/* Copies the rows into `batch`, from the batches that the reader returns. */
static int copy_rows(const struct rows *rows, struct bc_reader *reader,
                     const struct bc_schema *schema, struct bc_batch *batch,
                     struct bc_error *error) {
    int64_t start = 0;
    for (int64_t i = 0; i < rows->n_batches; i++) {
        struct ArrowArray array;
        int code = bc_reader_next(reader, &array, NULL, error);
        if (code != 0) return code;
        bc_assert(array.release != NULL);
        bc__gather_add(schema, &array, rows->rows + start, rows->ends[i] - start, batch);
        array.release(&array);
        start = rows->ends[i];
    }
    bc__gather_end(schema, batch);
    return 0;
}

/* Copies the rows with a reader of the batches and columns. */
static int take_rows(const struct rows *rows, struct bc_reader *reader,
                     struct ArrowArray *out_array, struct bc_error *error) {
    const struct bc_schema *schema = bc__reader_schema(reader);
    int32_t refused = bc__gather_refused(schema);
    if (refused >= 0) {
        return bc__error_set(error, ENOTSUP, "Column %d has no fixed width",
                             (int)refused);
    }
    struct bc_batch *batch;
    int code = bc__gather_new(schema, rows->n, &batch);
    if (code != 0) return bc__error_memory(error);
    code = copy_rows(rows, reader, schema, batch, error);
    if (code == 0 && bc__export_batch(schema, NULL, batch, NULL, out_array) != 0) {
        code = bc__error_memory(error);
    }
    if (code != 0) bc__batch_unref(batch);
    return code;
}

int bc_cache_take(struct bc_cache *cache, const uint64_t *rows, uint64_t n_rows,
                  const int32_t *columns, int64_t n_columns,
                  struct ArrowSchema *out_schema, struct ArrowArray *out_array,
                  struct bc_error *error) {
    bc_assert(cache != NULL && out_array != NULL && (rows != NULL || n_rows == 0));
    struct rows sorted;
    int code = rows_init(&sorted, rows, n_rows);
    if (code != 0) return bc__error_memory(error);
    struct bc_pin pin;
    bc__cache_pin_first(cache, &pin);
    code = bc__cache_enter(cache, error);
    if (code == 0) {
        code = find_batches(cache, pin.number, &sorted, error);
        bc__cache_leave(cache);
    }
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = columns;
    options.n_columns = n_columns;
    options.order = sorted.batches;
    options.n_order = (uint64_t)sorted.n_batches;
    struct bc_reader *reader = NULL;
    if (code == 0) code = bc__cache_reader(cache, &options, false, &reader, error);
    bc__cache_unpin(cache, &pin);
    if (code == 0) code = take_rows(&sorted, reader, out_array, error);
    if (code == 0 && out_schema != NULL) {
        code = bc_reader_schema(reader, out_schema, error);
        if (code != 0) out_array->release(out_array);
    }
    bc_reader_unref(reader);
    rows_finish(&sorted);
    return code;
}
