/* Batches of one column made by hand, to break a value of. Buffers are as large as they
 * must be, so that a sanitizer sees who reads more. */
#ifndef BC_TESTS_BED_H
#define BC_TESTS_BED_H

#include "arrow/validate.h"
#include "fixture.h"

enum { ROWS = 9, SHIFT = 3, ALL = ROWS + SHIFT, BUFFERS_MAX = 6 };

static const int64_t bed_rows[] = {0, ROWS / 2, ROWS - 1};
enum { N_PLACES = 6 };

/* Where the value is that a test breaks: every second time behind an offset. */
static inline int64_t offset_of(int place) { return place % 2 * SHIFT; }
static inline int64_t row_of(int place) { return bed_rows[place / 2]; }
static inline int64_t position_of(int place) { return offset_of(place) + row_of(place); }

static inline void release(struct ArrowSchema *schema) { schema->release = NULL; }

static inline struct ArrowSchema type(const char *format, const char *name) {
    return (struct ArrowSchema){.format = format, .name = name, .release = release};
}

/* A batch of one column, which is field 1; its nodes have room for their buffers. */
struct bed {
    struct bc_schema *schema;
    struct bc_batch *batch;
};

static inline struct bed open_bed(struct ArrowSchema *column) {
    struct ArrowSchema *columns[] = {column};
    struct ArrowSchema root = type("+s", NULL);
    root.n_children = 1;
    root.children = columns;
    struct bed bed;
    struct bc_error error = {0};
    if (bc__schema_new(&root, &bed.schema, &error) != 0) printf("# %s\n", error.message);
    CHECK(error.code == 0);
    int32_t n = bed.schema->n_fields;
    bed.batch = bc__batch_alloc(n, (size_t)n * BUFFERS_MAX * sizeof(void *));
    const void **tables = bc__batch_tail(bed.batch);
    for (int32_t i = 0; i < n; i++) {
        bed.batch->nodes[i].buffers = tables + (size_t)i * BUFFERS_MAX;
        bed.batch->nodes[i].n_buffers = bed.schema->fields[i].n_buffers;
    }
    return bed;
}

static inline void close_bed(struct bed *bed) {
    bc__batch_unref(bed->batch);
    bc__schema_free(bed->schema);
}

static inline struct bc_node *node_of(struct bed *bed, int32_t field) {
    return &bed->batch->nodes[field];
}

static inline void fill(struct bed *bed, int32_t field, int64_t offset, int64_t length,
                        const void *first, const void *second, const void *third) {
    struct bc_node *node = node_of(bed, field);
    const void *buffers[] = {first, second, third};
    node->offset = offset;
    node->length = length;
    for (int64_t i = 0; i < 3; i++) node->buffers[i] = buffers[i];
    if (field == 1) node_of(bed, 0)->length = length;
}

static inline void accept(const struct bed *bed) {
    struct bc_error error = {0};
    if (bc__validate_batch(bed->schema, NULL, bed->batch, &error) != 0) {
        printf("# %s\n", error.message);
    }
    CHECK(error.code == 0);
}

/* Refused with the path and these words; `row` -1: none is named. */
static inline void refuse(const struct bed *bed, const char *path, int64_t row,
                          const char *words) {
    struct bc_error error = {0};
    char start[64];
    int n = snprintf(start, sizeof(start), "Field '%s' is broken", path);
    if (row >= 0) {
        (void)snprintf(start + n, sizeof(start) - (size_t)n,
                       " in row %lld: ", (long long)row);
    } else {
        (void)snprintf(start + n, sizeof(start) - (size_t)n, ": ");
    }
    CHECK(bc__validate_batch(bed->schema, NULL, bed->batch, &error) == EINVAL);
    bool right = strncmp(error.message, start, strlen(start)) == 0 &&
                 strstr(error.message, words) != NULL;
    if (!right) printf("# %s\n# not: %s... %s\n", error.message, start, words);
    CHECK(right && error.code == EINVAL);
    CHECK(bc__validate_batch(bed->schema, NULL, bed->batch, NULL) == EINVAL);
}

static inline void clear_bit(uint8_t *bitmap, int64_t i) {
    bitmap[i / 8] &= (uint8_t)~(1U << (i % 8));
}

#endif
