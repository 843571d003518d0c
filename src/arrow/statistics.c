#include "arrow/statistics.h"

#include <errno.h>
#include <string.h>

#include "arrow/bits.h"
#include "arrow/extremes.h"
#include "arrow/statistics_table.h"
#include "arrow/values.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

/* A wider schema has statistics of its first leaves only. */
enum { LEAVES_MAX = 1 << 16 };

/* ---- the leaves of a schema ---- */

/* Lists the leaves below a field, depth first, and returns their count. `out`: NULL means
 * that they are only counted. */
static int32_t list_leaves(const struct bc_schema *schema, int32_t index, int32_t column,
                           struct bc_leaf *out, int32_t n) {
    const struct bc_field *field = &schema->fields[index];
    if (field->kind == BC_LAYOUT_STRUCT) {
        for (int32_t c = 0; c < field->n_children && n < LEAVES_MAX; c++) {
            int32_t child = field->first_child + c;
            n = list_leaves(schema, child, index == 0 ? c : column, out, n);
        }
        return n;
    }
    int32_t values = field->dictionary >= 0 ? field->dictionary : index;
    const struct bc_field *of_values = &schema->fields[values];
    bool is_nested = of_values->dictionary >= 0;
    enum bc_order order = is_nested ? BC_ORDER_NONE : bc__order_of(of_values);
    if (order == BC_ORDER_NONE) return n;
    bool is_text = order == BC_ORDER_TEXT || order == BC_ORDER_BYTES;
    int32_t width = of_values->bits == 1 ? 1 : of_values->bits / 8;
    if (is_text && (of_values->kind != BC_LAYOUT_FIXED || width > BC_BOUND_BYTES)) {
        width = BC_BOUND_BYTES;
    }
    if (out != NULL) {
        out[n] = (struct bc_leaf){.column = column,
                                  .field = index,
                                  .values = values,
                                  .order = order,
                                  .width = width};
    }
    return n + 1;
}

int bc__statistics_new(const struct bc_schema *schema,
                       struct bc_statistics **out_statistics) {
    int32_t n = list_leaves(schema, 0, 0, NULL, 0);
    struct bc_statistics *statistics =
        bc__calloc(1, sizeof(*statistics) + (size_t)n * sizeof(struct bc_leaf));
    if (statistics == NULL) return ENOMEM;
    statistics->schema = schema;
    statistics->n_leaves = list_leaves(schema, 0, 0, statistics->leaves, 0);
    int code = bc__statistics_schema(statistics, &statistics->table);
    if (code == 0) {
        *out_statistics = statistics;
    } else {
        bc__free(statistics);
    }
    return code;
}

void bc__statistics_free(struct bc_statistics *statistics) {
    if (statistics == NULL) return;
    for (int32_t i = 0; i < statistics->n_leaves; i++) {
        bc__free(statistics->leaves[i].records);
        bc__free(statistics->leaves[i].bounds);
    }
    bc__free(statistics->scratch[0]);
    bc__free(statistics->scratch[1]);
    bc__schema_free(statistics->table);
    bc__free(statistics);
}

/* ---- which rows of a leaf are valid ---- */

/* Rows of a leaf, with the bitmap of the rows that are valid. */
struct rows {
    int64_t start; /* index of the first row in the leaf's buffers */
    int64_t length;
    const uint8_t *valid; /* NULL: all are valid */
    int64_t valid_start;
};

static uint8_t *scratch_bits(struct bc_statistics *statistics, int which, int64_t bits) {
    if (bc__grow((void **)&statistics->scratch[which],
                 &statistics->scratch_capacity[which], (size_t)bc__bit_bytes(bits) + 1,
                 1) != 0) {
        return NULL;
    }
    return statistics->scratch[which];
}

/* Narrows the rows to those that are valid in another bitmap too. ENOMEM. */
static int narrow(struct bc_statistics *statistics, struct rows *rows,
                  const uint8_t *bitmap, int64_t start) {
    if (rows->valid == NULL) {
        rows->valid = bitmap;
        rows->valid_start = start;
        return 0;
    }
    uint8_t *both = scratch_bits(statistics, 0, rows->length);
    if (both == NULL) return ENOMEM;
    for (int64_t at = 0; at < rows->length; at += 8) {
        int size = rows->length - at < 8 ? (int)(rows->length - at) : 8;
        uint64_t one = bc__bits_load(rows->valid, rows->valid_start + at, size);
        both[at / 8] = (uint8_t)(one & bc__bits_load(bitmap, start + at, size));
    }
    rows->valid = both;
    rows->valid_start = 0;
    return 0;
}

static const uint8_t *bitmap_of(const struct bc_field *field,
                                const struct bc_node *node) {
    return field->has_validity && node->null_count != 0 ? node->buffers[0] : NULL;
}

/* Finds the valid rows of a field: the structs around it are valid too. */
static int find_rows(struct bc_statistics *statistics, const struct bc_batch *batch,
                     int32_t index, struct rows *out) {
    const struct bc_field *fields = statistics->schema->fields;
    int64_t start = batch->nodes[0].offset;
    for (int32_t i = index; i > 0; i = fields[i].parent) start += batch->nodes[i].offset;
    *out = (struct rows){.start = start, .length = batch->nodes[0].length};
    for (int32_t i = index; i > 0; i = fields[i].parent) {
        const uint8_t *bitmap = bitmap_of(&fields[i], &batch->nodes[i]);
        if (bitmap != NULL && narrow(statistics, out, bitmap, start) != 0) return ENOMEM;
        start -= batch->nodes[i].offset;
    }
    return 0;
}

/* ---- a dictionary ---- */

static int64_t index_at(const void *indices, int32_t bits, bool is_signed, int64_t i) {
    if (is_signed) {
        return bits == 8 ? ((const int8_t *)indices)[i]
                         : bc__integer_at(indices, bits, i);
    }
    switch (bits) {
        case 8:
            return ((const uint8_t *)indices)[i];
        case 16:
            return ((const uint16_t *)indices)[i];
        case 32:
            return ((const uint32_t *)indices)[i];
        default:
            return ((const int64_t *)indices)[i];
    }
}

/* Marks the dictionary's values that valid rows have. Counts the rows with a null
 * value. EINVAL: an index is not in the dictionary. */
static int mark_values(const struct bc_statistics *statistics, const struct bc_leaf *leaf,
                       const struct bc_batch *batch, const struct rows *rows,
                       uint8_t *marks, int64_t *out_nulls) {
    const struct bc_field *field = &statistics->schema->fields[leaf->field];
    const struct bc_node *node = &batch->nodes[leaf->field];
    const struct bc_node *values = &batch->nodes[leaf->values];
    const uint8_t *bitmap = bitmap_of(&statistics->schema->fields[leaf->values], values);
    bool is_signed = bc__order_of(field) == BC_ORDER_SIGNED;
    for (int64_t i = 0; i < rows->length; i++) {
        if (!bc__is_valid(rows->valid, rows->valid_start + i)) continue;
        int64_t index =
            index_at(node->buffers[1], field->bits, is_signed, rows->start + i);
        if (index < 0 || index >= values->length) return EINVAL;
        if (bc__is_valid(bitmap, values->offset + index)) {
            marks[index / 8] |= (uint8_t)(1U << (index % 8));
        } else {
            *out_nulls += 1;
        }
    }
    return 0;
}

/* Finds the values of a leaf's dictionary that its rows have. */
static int enter_dictionary(struct bc_statistics *statistics, const struct bc_leaf *leaf,
                            const struct bc_batch *batch, const struct rows *rows,
                            struct rows *out_values, int64_t *out_nulls) {
    const struct bc_node *values = &batch->nodes[leaf->values];
    uint8_t *marks = scratch_bits(statistics, 1, values->length);
    if (marks == NULL) return ENOMEM;
    memset(marks, 0, (size_t)bc__bit_bytes(values->length));
    *out_values = (struct rows){values->offset, values->length, marks, 0};
    return mark_values(statistics, leaf, batch, rows, marks, out_nulls);
}

/* ---- records ---- */

/* Counts the NaN among the rows of a dictionary: the marks count each value once. */
static int64_t count_dictionary_nans(const struct bc_statistics *statistics,
                                     const struct bc_leaf *leaf,
                                     const struct bc_batch *batch,
                                     const struct rows *rows) {
    const struct bc_field *field = &statistics->schema->fields[leaf->field];
    const struct bc_node *node = &batch->nodes[leaf->field];
    const struct bc_node *values = &batch->nodes[leaf->values];
    const uint8_t *bitmap = bitmap_of(&statistics->schema->fields[leaf->values], values);
    bool is_signed = bc__order_of(field) == BC_ORDER_SIGNED;
    int64_t nans = 0;
    for (int64_t i = 0; i < rows->length; i++) {
        if (!bc__is_valid(rows->valid, rows->valid_start + i)) continue;
        int64_t at = values->offset +
                     index_at(node->buffers[1], field->bits, is_signed, rows->start + i);
        if (!bc__is_valid(bitmap, at)) continue;
        uint8_t low[8];
        uint8_t high[8];
        int64_t is_nan;
        const struct bc_numbers one = {
            .kind = BC_NUMBER_FLOAT,
            .bits = statistics->schema->fields[leaf->values].bits,
            .values = values->buffers[1],
            .start = at,
            .length = 1,
        };
        (void)bc__extremes(&one, low, high, &is_nan);
        nans += is_nan;
    }
    return nans;
}

/* Finds the record of a leaf in a batch, and its bounds. EINVAL: the values are invalid.
 * ENOMEM. */
static int measure(struct bc_statistics *statistics, const struct bc_leaf *leaf,
                   const struct bc_batch *batch, struct bc_leaf_record *out_record,
                   struct bc_bounds *out_bounds) {
    bool is_encoded = leaf->values != leaf->field;
    struct rows rows;
    struct rows marked;
    int code = find_rows(statistics, batch, leaf->field, &rows);
    if (code != 0) return code;
    int64_t nulls = 0;
    if (rows.valid != NULL) {
        nulls = rows.length - bc__bits_count(rows.valid, rows.valid_start, rows.length);
    }
    if (is_encoded) {
        code = enter_dictionary(statistics, leaf, batch, &rows, &marked, &nulls);
        if (code != 0) return code;
    }
    const struct rows *of_values = is_encoded ? &marked : &rows;
    const struct bc_values values = {
        .field = &statistics->schema->fields[leaf->values],
        .node = &batch->nodes[leaf->values],
        .start = of_values->start,
        .length = of_values->length,
        .valid = of_values->valid,
        .valid_start = of_values->valid_start,
    };
    code = bc__bounds(&values, leaf->order, out_bounds);
    if (code != 0) return code;
    const struct bc_bound *low = &out_bounds->low;
    const struct bc_bound *high = &out_bounds->high;
    int64_t nans = out_bounds->nans;
    if (nans > 0 && is_encoded) {
        nans = count_dictionary_nans(statistics, leaf, batch, &rows);
    }
    out_record->nulls = nulls;
    out_record->nans = nans;
    out_record->low_size = low->size;
    out_record->high_size = high->size;
    out_record->has_low = low->is_known;
    out_record->has_high = high->is_known;
    out_record->is_exact =
        nulls + nans == rows.length || (low->is_exact && high->is_exact);
    return 0;
}

/* Reserves record `number` of a leaf, which has all earlier ones. ENOMEM. */
static int reserve_leaf(struct bc_leaf *leaf, uint64_t number) {
    bc_assert(number <= leaf->n);
    if (number < leaf->bounds_capacity) return 0;
    if (bc__grow((void **)&leaf->records, &leaf->records_capacity, (size_t)number + 1,
                 sizeof(leaf->records[0])) != 0) {
        return ENOMEM;
    }
    /* Binary values of width 0 have bounds without bytes. */
    size_t pair = leaf->width == 0 ? 1 : 2 * (size_t)leaf->width;
    return bc__grow((void **)&leaf->bounds, &leaf->bounds_capacity,
                    leaf->records_capacity, pair);
}

/* Sets the reserved record `number` of a leaf. */
static void add_leaf(struct bc_statistics *statistics, struct bc_leaf *leaf,
                     uint64_t number, const struct bc_batch *batch) {
    struct bc_leaf_record *record = &leaf->records[number];
    struct bc_bounds bounds;
    leaf->n = number + 1;
    if (batch == NULL || measure(statistics, leaf, batch, record, &bounds) != 0) {
        *record = (struct bc_leaf_record){.nulls = -1};
        return;
    }
    size_t width = (size_t)leaf->width;
    memcpy(leaf->bounds + 2 * width * number, bounds.low.bytes, width);
    memcpy(leaf->bounds + 2 * width * number + width, bounds.high.bytes, width);
}

int bc__statistics_reserve(struct bc_statistics *statistics, uint64_t number) {
    int code = 0;
    for (int32_t i = 0; i < statistics->n_leaves && code == 0; i++) {
        code = reserve_leaf(&statistics->leaves[i], number);
    }
    return code;
}

void bc__statistics_add(struct bc_statistics *statistics, uint64_t number,
                        const struct bc_batch *batch) {
    for (int32_t i = 0; i < statistics->n_leaves; i++) {
        add_leaf(statistics, &statistics->leaves[i], number, batch);
    }
}

int bc__statistics_add_columns(struct bc_statistics *statistics, uint64_t number,
                               const struct bc_batch *batch,
                               const struct bc_projection *columns) {
    for (int32_t i = 0; i < statistics->n_leaves; i++) {
        struct bc_leaf *leaf = &statistics->leaves[i];
        if (leaf->n != number || !bc__projection_has(columns, leaf->column)) continue;
        int code = reserve_leaf(leaf, number);
        if (code != 0) return code;
        add_leaf(statistics, leaf, number, batch);
    }
    return 0;
}

uint64_t bc__statistics_count(const struct bc_statistics *statistics,
                              const struct bc_projection *columns) {
    uint64_t least = UINT64_MAX;
    for (int32_t i = 0; i < statistics->n_leaves; i++) {
        const struct bc_leaf *leaf = &statistics->leaves[i];
        if (bc__projection_has(columns, leaf->column) && leaf->n < least) least = leaf->n;
    }
    return least;
}

/* Returns the first leaf of a column, or of a later column. Leaves are in the order of
 * their columns. */
static int32_t first_leaf(const struct bc_statistics *statistics, int32_t column) {
    int32_t low = 0;
    int32_t high = statistics->n_leaves;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (statistics->leaves[middle].column < column) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int32_t bc__statistics_leaves(const struct bc_statistics *statistics, int32_t column) {
    return first_leaf(statistics, column + 1) - first_leaf(statistics, column);
}

int bc__statistics_project(const struct bc_statistics *statistics, const int32_t *columns,
                           int64_t n, struct bc_projection **out_projection,
                           struct bc_error *error) {
    int64_t size = BC_STATISTICS_COLUMNS;
    for (int64_t c = 0; c < n; c++) size += bc__statistics_leaves(statistics, columns[c]);
    int32_t *chosen = bc__malloc((size_t)size * sizeof(*chosen));
    if (chosen == NULL) return bc__error_memory(error);
    int64_t at = 0;
    for (; at < BC_STATISTICS_COLUMNS; at++) chosen[at] = (int32_t)at;
    for (int64_t c = 0; c < n; c++) {
        int32_t leaf = first_leaf(statistics, columns[c]);
        int32_t end = first_leaf(statistics, columns[c] + 1);
        for (; leaf < end; leaf++) chosen[at++] = leaf + BC_STATISTICS_COLUMNS;
    }
    bc_assert(at == size);
    int code = bc__projection_new(statistics->table, chosen, size, out_projection, error);
    bc__free(chosen);
    return code;
}
