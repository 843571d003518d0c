/* The rows of the table of statistics. */
#include "arrow/statistics_table.h"

#include <errno.h>
#include <string.h>

#include "arrow/values.h"
#include "base/alloc.h"
#include "base/check.h"

/* The most buffers of a node: a view's validity, views, bytes and their sizes. */
enum { BUFFERS_MAX = 4 };

/* A table in the making. */
struct table {
    const struct bc_schema *schema;
    struct bc_batch *batch;
    int64_t n; /* rows */
};

/* Gives a node its buffers. */
static void begin_node(struct table *table, int32_t field, int64_t n_buffers) {
    const void **buffers = bc__batch_tail(table->batch);
    struct bc_node *node = &table->batch->nodes[field];
    node->length = table->n;
    node->n_buffers = n_buffers;
    node->buffers = buffers + (ptrdiff_t)field * BUFFERS_MAX;
}

/* Allocates a buffer of a node. Returns NULL without memory. */
static void *add_buffer(struct table *table, int32_t field, int buffer, int64_t size) {
    void *data = bc__batch_buffer(table->batch, (uint64_t)size + 1);
    table->batch->nodes[field].buffers[buffer] = data;
    return data;
}

static void *add_zeros(struct table *table, int32_t field, int buffer, int64_t size) {
    void *data = add_buffer(table, field, buffer, size);
    if (data != NULL) memset(data, 0, (size_t)size + 1);
    return data;
}

static void set_bit(uint8_t *bits, int64_t i) { bits[i / 8] |= (uint8_t)(1U << (i % 8)); }

/* Returns where int64 values of a field go, and the bitmap of the valid ones. */
static int64_t *add_integers(struct table *table, int32_t field, uint8_t **out_valid) {
    begin_node(table, field, 2);
    *out_valid = add_zeros(table, field, 0, bc__bit_bytes(table->n));
    int64_t *values = add_buffer(table, field, 1, table->n * 8);
    return *out_valid == NULL ? NULL : values;
}

/* The records of a leaf for the rows of the table. */
struct records {
    const struct bc_leaf *leaf;
    uint64_t first; /* of the first row */
};

static const struct bc_leaf_record *record_at(const struct records *records, int64_t i) {
    return &records->leaf->records[records->first + (uint64_t)i];
}

static int fill_counts(struct table *table, int32_t field, const struct records *records,
                       bool of_nans) {
    uint8_t *valid;
    int64_t *values = add_integers(table, field, &valid);
    if (values == NULL) return ENOMEM;
    for (int64_t i = 0; i < table->n; i++) {
        const struct bc_leaf_record *record = record_at(records, i);
        values[i] = of_nans ? record->nans : record->nulls;
        if (record->nulls >= 0) {
            set_bit(valid, i);
        } else {
            values[i] = 0;
            table->batch->nodes[field].null_count++;
        }
    }
    return 0;
}

/* The lower or the upper bounds of records. */
struct bounds {
    const struct records *records;
    bool is_high;
};

static bool has_bound(const struct bounds *bounds, int64_t i) {
    const struct bc_leaf_record *record = record_at(bounds->records, i);
    return bounds->is_high ? record->has_high : record->has_low;
}

static int32_t size_at(const struct bounds *bounds, int64_t i) {
    const struct bc_leaf_record *record = record_at(bounds->records, i);
    if (!has_bound(bounds, i)) return 0;
    return bounds->is_high ? record->high_size : record->low_size;
}

static const uint8_t *bytes_at(const struct bounds *bounds, int64_t i) {
    const struct bc_leaf *leaf = bounds->records->leaf;
    uint64_t number = 2 * (bounds->records->first + (uint64_t)i);
    if (bounds->is_high) number++;
    return leaf->bounds + number * (size_t)leaf->width;
}

static int fill_fixed(struct table *table, int32_t field, const struct bounds *bounds) {
    int32_t bits = table->schema->fields[field].bits;
    size_t size = (size_t)bits / 8;
    int64_t bytes = bits == 1 ? bc__bit_bytes(table->n) : table->n * (int64_t)size;
    uint8_t *values = add_zeros(table, field, 1, bytes);
    if (values == NULL) return ENOMEM;
    for (int64_t i = 0; i < table->n; i++) {
        if (!has_bound(bounds, i)) continue;
        if (bits != 1) {
            if (size > 0) memcpy(values + (size_t)i * size, bytes_at(bounds, i), size);
        } else if (bytes_at(bounds, i)[0] != 0) {
            set_bit(values, i);
        }
    }
    return 0;
}

/* Allocates the bytes of all bounds together. */
static uint8_t *add_text_bytes(struct table *table, int32_t field,
                               const struct bounds *bounds, int64_t *out_bytes) {
    *out_bytes = 0;
    for (int64_t i = 0; i < table->n; i++) *out_bytes += size_at(bounds, i);
    return add_buffer(table, field, 2, *out_bytes);
}

static int fill_offset_texts(struct table *table, int32_t field,
                             const struct bounds *bounds) {
    int32_t bits = table->schema->fields[field].bits;
    int64_t bytes;
    void *offsets = add_buffer(table, field, 1, (table->n + 1) * bits / 8);
    uint8_t *out = add_text_bytes(table, field, bounds, &bytes);
    if (offsets == NULL || out == NULL) return ENOMEM;
    if (bits == 32 && bytes > INT32_MAX) return EFBIG;
    int64_t at = 0;
    for (int64_t i = 0; i < table->n; i++) {
        bc__integer_set(offsets, bits, i, at);
        memcpy(out + at, bytes_at(bounds, i), (size_t)size_at(bounds, i));
        at += size_at(bounds, i);
    }
    bc__integer_set(offsets, bits, table->n, at);
    return 0;
}

static int fill_views(struct table *table, int32_t field, const struct bounds *bounds) {
    int64_t bytes;
    struct bc_view *views = add_zeros(table, field, 1, table->n * 16);
    uint8_t *out = add_text_bytes(table, field, bounds, &bytes);
    int64_t *sizes = add_buffer(table, field, 3, 8);
    if (views == NULL || out == NULL || sizes == NULL) return ENOMEM;
    if (bytes > INT32_MAX) return EFBIG;
    int32_t at = 0;
    for (int64_t i = 0; i < table->n; i++) {
        int32_t size = size_at(bounds, i);
        uint8_t *in_view = (uint8_t *)&views[i] + sizeof(views[i].length);
        views[i].length = size;
        if (size <= BC_VIEW_INLINE_MAX) {
            memcpy(in_view, bytes_at(bounds, i), (size_t)size);
            continue;
        }
        memcpy(views[i].prefix, bytes_at(bounds, i), sizeof(views[i].prefix));
        views[i].offset = at;
        memcpy(out + at, bytes_at(bounds, i), (size_t)size);
        at += size;
    }
    sizes[0] = at;
    return 0;
}

static int fill_bounds(struct table *table, int32_t field, const struct bounds *bounds) {
    enum bc_layout kind = table->schema->fields[field].kind;
    begin_node(table, field,
               kind == BC_LAYOUT_VIEW ? 4 : table->schema->fields[field].n_buffers);
    uint8_t *valid = add_zeros(table, field, 0, bc__bit_bytes(table->n));
    if (valid == NULL) return ENOMEM;
    for (int64_t i = 0; i < table->n; i++) {
        if (has_bound(bounds, i)) {
            set_bit(valid, i);
        } else {
            table->batch->nodes[field].null_count++;
        }
    }
    if (kind == BC_LAYOUT_VIEW) return fill_views(table, field, bounds);
    if (kind == BC_LAYOUT_BINARY) return fill_offset_texts(table, field, bounds);
    bc_assert(kind == BC_LAYOUT_FIXED);
    return fill_fixed(table, field, bounds);
}

static int fill_exact(struct table *table, int32_t field, const struct records *records) {
    begin_node(table, field, 2);
    uint8_t *values = add_zeros(table, field, 1, bc__bit_bytes(table->n));
    if (values == NULL) return ENOMEM;
    for (int64_t i = 0; i < table->n; i++) {
        if (record_at(records, i)->is_exact) set_bit(values, i);
    }
    return 0;
}

static int fill_leaf(struct table *table, int32_t field, const struct records *records) {
    bc_assert(records->first + (uint64_t)table->n <= records->leaf->n);
    begin_node(table, field, 1);
    int32_t child = table->schema->fields[field].first_child;
    const struct bounds low = {records, false};
    const struct bounds high = {records, true};
    int code = fill_counts(table, child + BC_LEAF_NULLS, records, false);
    if (code == 0) code = fill_bounds(table, child + BC_LEAF_LOW, &low);
    if (code == 0) code = fill_bounds(table, child + BC_LEAF_HIGH, &high);
    if (code == 0) code = fill_exact(table, child + BC_LEAF_EXACT, records);
    if (code == 0 && records->leaf->order == BC_ORDER_FLOAT) {
        code = fill_counts(table, child + BC_LEAF_NANS, records, true);
    }
    return code;
}

static int fill_table(struct table *table, const struct bc_statistics *statistics,
                      const struct bc_projection *projection, uint64_t first,
                      const uint64_t *rows) {
    int32_t child = table->schema->fields[0].first_child;
    uint8_t *valid[2];
    int64_t *batches = add_integers(table, child, &valid[0]);
    int64_t *counts = add_integers(table, child + 1, &valid[1]);
    if (batches == NULL || counts == NULL) return ENOMEM;
    for (int64_t i = 0; i < table->n; i++) {
        batches[i] = (int64_t)first + i;
        counts[i] = (int64_t)rows[i];
        set_bit(valid[0], i);
        set_bit(valid[1], i);
    }
    int code = 0;
    for (int32_t i = 0; i < statistics->n_leaves && code == 0; i++) {
        int32_t column = i + BC_STATISTICS_COLUMNS;
        if (!bc__projection_has(projection, column)) continue;
        const struct records records = {&statistics->leaves[i], first};
        code = fill_leaf(table, child + column, &records);
    }
    return code;
}

int bc__statistics_table(const struct bc_statistics *statistics,
                         const struct bc_projection *projection, uint64_t first,
                         uint64_t n, const uint64_t *rows, struct bc_batch **out_table) {
    const struct bc_schema *schema = statistics->table;
    size_t tail = (size_t)schema->n_fields * BUFFERS_MAX * sizeof(void *);
    struct table table = {schema, bc__batch_alloc(schema->n_fields, tail), (int64_t)n};
    if (table.batch == NULL) return ENOMEM;
    begin_node(&table, 0, 1);
    int code = fill_table(&table, statistics, projection, first, rows);
    if (code != 0) {
        bc__batch_unref(table.batch);
        return code;
    }
    *out_table = table.batch;
    return 0;
}
