/* Batches of one column, in which a test breaks one value. Each buffer has the exact
 * size, so that a sanitizer reports a read beyond it. */
#ifndef BC_TESTS_LIB_COLUMN_H
#define BC_TESTS_LIB_COLUMN_H

#include "arrow/validate.h"
#include "counting_source.h"

enum { ROWS = 9, SHIFT = 3, ALL = ROWS + SHIFT, BUFFERS_MAX = 6 };

static const int64_t column_rows[] = {0, ROWS / 2, ROWS - 1};
enum { N_VARIANTS = 6 };

/* The position of the broken value. Every second variant has an array offset. */
static inline int64_t column_offset(int variant) { return variant % 2 * SHIFT; }
static inline int64_t column_row(int variant) { return column_rows[variant / 2]; }
static inline int64_t column_position(int variant) {
    return column_offset(variant) + column_row(variant);
}

static inline void release(struct ArrowSchema *schema) { schema->release = NULL; }

static inline struct ArrowSchema column_type(const char *format, const char *name) {
    return (struct ArrowSchema){.format = format, .name = name, .release = release};
}

/* A batch of one column. The column is field 1, and the nodes have room for their
 * buffers. */
struct column {
    struct bc_schema *schema;
    struct bc_batch *batch;
};

static inline struct column column_open(struct ArrowSchema *schema) {
    struct ArrowSchema *columns[] = {schema};
    struct ArrowSchema root = column_type("+s", NULL);
    root.n_children = 1;
    root.children = columns;
    struct column column;
    struct bc_error error = {0};
    if (bc__schema_new(&root, &column.schema, &error) != 0) {
        printf("# %s\n", error.message);
    }
    CHECK(error.code == 0);
    int32_t n = column.schema->n_fields;
    column.batch = bc__batch_alloc(n, (size_t)n * BUFFERS_MAX * sizeof(void *));
    const void **tables = bc__batch_tail(column.batch);
    for (int32_t i = 0; i < n; i++) {
        column.batch->nodes[i].buffers = tables + (size_t)i * BUFFERS_MAX;
        column.batch->nodes[i].n_buffers = column.schema->fields[i].n_buffers;
    }
    return column;
}

static inline void column_close(struct column *column) {
    bc__batch_unref(column->batch);
    bc__schema_free(column->schema);
}

static inline struct bc_node *column_node(struct column *column, int32_t field) {
    return &column->batch->nodes[field];
}

static inline void column_fill(struct column *column, int32_t field, int64_t offset,
                               int64_t length, const void *first, const void *second,
                               const void *third) {
    struct bc_node *node = column_node(column, field);
    const void *buffers[] = {first, second, third};
    node->offset = offset;
    node->length = length;
    for (int64_t i = 0; i < 3; i++) node->buffers[i] = buffers[i];
    if (field == 1) column_node(column, 0)->length = length;
}

static inline void column_accept(const struct column *column) {
    struct bc_error error = {0};
    if (bc__validate_batch(column->schema, NULL, column->batch, &error) != 0) {
        printf("# %s\n", error.message);
    }
    CHECK(error.code == 0);
}

/* Checks that the batch is refused, with the path and `words` in the message. `row`: the
 * row in the message; -1 means none. */
static inline void column_refuse(const struct column *column, const char *path,
                                 int64_t row, const char *words) {
    struct bc_error error = {0};
    char start[64];
    int n = snprintf(start, sizeof(start), "Field '%s' is broken", path);
    if (row >= 0) {
        (void)snprintf(start + n, sizeof(start) - (size_t)n,
                       " in row %lld: ", (long long)row);
    } else {
        (void)snprintf(start + n, sizeof(start) - (size_t)n, ": ");
    }
    CHECK(bc__validate_batch(column->schema, NULL, column->batch, &error) == EINVAL);
    bool right = strncmp(error.message, start, strlen(start)) == 0 &&
                 strstr(error.message, words) != NULL;
    if (!right) printf("# %s\n# not: %s... %s\n", error.message, start, words);
    CHECK(right && error.code == EINVAL);
    CHECK(bc__validate_batch(column->schema, NULL, column->batch, NULL) == EINVAL);
}

static inline void clear_bit(uint8_t *bitmap, int64_t i) {
    bitmap[i / 8] &= (uint8_t)~(1U << (i % 8));
}

#endif
