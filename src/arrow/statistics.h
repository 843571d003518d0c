/* Statistics of batches: bounds, nulls and NaNs of each ordered column of each batch.
 *
 * A leaf is a column whose values have an order, or such a field inside structs. A
 * dictionary is a leaf by its values. A record has the statistics of one leaf in one
 * batch.
 *
 *     batch 0   batch 1   ...   n - 1          a leaf's records, gathered in this order
 *
 * Each leaf has its own n: a cache gathers a column when the column is asked for.
 *
 * The table shows the records as a batch of Arrow data, one row for each batch. It has
 * the columns `batch`, `row_count`, and a struct for each leaf:
 *
 *     null_count, min, max, exact, nan_count (of floats)
 *
 * One thread at a time uses a struct. In a cache, the thread that stores batches does. */
#ifndef BC_ARROW_STATISTICS_H
#define BC_ARROW_STATISTICS_H

#include "arrow/bounds.h"
#include "arrow/projection.h"

/* The columns of the table before the first leaf. */
enum { BC_STATISTICS_COLUMNS = 2 };

struct bc_leaf {
    int32_t column; /* of the stream */
    int32_t field;  /* its field; a dictionary's indices */
    int32_t values; /* the field of the dictionary's values, or `field` */
    enum bc_order order;
    int32_t width; /* bytes of a bound in `bounds` */
    uint64_t n;
    struct bc_leaf_record *records;
    uint8_t *bounds; /* of each record: the lower, then the upper */
    size_t records_capacity, bounds_capacity;
};

struct bc_statistics {
    const struct bc_schema *schema; /* borrowed */
    struct bc_schema *table;        /* of the table */
    uint8_t *scratch[2];            /* bitmaps */
    size_t scratch_capacity[2];
    int32_t n_leaves;
    struct bc_leaf leaves[];
};

/* Makes empty statistics. `schema`: borrowed until bc__statistics_free(). ENOMEM. */
int bc__statistics_new(const struct bc_schema *schema,
                       struct bc_statistics **out_statistics);
/* Frees them; NULL is allowed. */
void bc__statistics_free(struct bc_statistics *statistics);

/* Reserves memory for all leaves of batch `number`. Earlier batches were gathered.
 * ENOMEM. */
int bc__statistics_reserve(struct bc_statistics *statistics, uint64_t number);
/* Gathers all leaves of batch `number`, for which memory is reserved. Nothing is known of
 * a leaf whose values are invalid, or without memory for a bitmap. */
void bc__statistics_add(struct bc_statistics *statistics, uint64_t number,
                        const struct bc_batch *batch);
/* Gathers the leaves of the projection's columns for which it is the next batch. Of NULL,
 * a batch that was evicted, nothing is known. ENOMEM. */
int bc__statistics_add_columns(struct bc_statistics *statistics, uint64_t number,
                               const struct bc_batch *batch,
                               const struct bc_projection *columns);
/* Returns the number of batches that all leaves of these columns have. `columns`: NULL
 * means all columns. If they have no leaf, it returns UINT64_MAX. */
uint64_t bc__statistics_count(const struct bc_statistics *statistics,
                              const struct bc_projection *columns);

/* Returns the number of leaves of a column of the stream. */
int32_t bc__statistics_leaves(const struct bc_statistics *statistics, int32_t column);
/* Makes a projection of the table: its first columns, and the leaves of `n` columns of
 * the stream, in this order. ENOMEM. */
int bc__statistics_project(const struct bc_statistics *statistics, const int32_t *columns,
                           int64_t n, struct bc_projection **out_projection,
                           struct bc_error *error);
/* Changes the path in the schema of a leaf: the index of its column becomes `column`.
 * ENOMEM. */
int bc__statistics_set_column(struct ArrowSchema *leaf, int32_t column);

/* Makes the table's rows for `n` batches from batch `first` on, which were gathered.
 * `rows`: the row count of each of these batches.
 * `projection`: of the table. NULL means all leaves; other nodes are zeroed.
 * ENOMEM. */
int bc__statistics_table(const struct bc_statistics *statistics,
                         const struct bc_projection *projection, uint64_t first,
                         uint64_t n, const uint64_t *rows, struct bc_batch **out_table);

#endif
