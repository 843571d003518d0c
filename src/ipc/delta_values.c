/* Delta values: the marks after each part, and batches over the columns' memory. */
#include "ipc/delta_values.h"

#include <errno.h>
#include <string.h>

#include "arrow/bits.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/refcount.h"
#include "ipc/delta_columns.h"

/* The state of a column after a part. */
struct mark {
    int64_t length;
    int64_t null_count;
    int64_t reached;
    int64_t n_chunks;
    int64_t last_chunk_used;
};

struct bc_delta_values {
    atomic_uint refs;
    struct bc_delta_columns columns;
    struct mark *marks; /* of all columns after part 0, then after part 1, ... */
    uint64_t n_parts;
    size_t marks_capacity;
};

/* Fills the columns of a field and of all fields below it, depth first, from `index` on.
 * It returns the index after them. `columns`: NULL means only to count. */
static int32_t list_columns(const struct bc_schema *schema, int32_t field,
                            struct bc_delta_column *columns, int32_t index) {
    const struct bc_field *self = &schema->fields[field];
    int32_t end = index + 1;
    for (int32_t c = 0; c < self->n_children; c++) {
        end = list_columns(schema, self->first_child + c, columns, end);
    }
    if (columns != NULL)
        columns[index] = (struct bc_delta_column){.field = self, .end = end};
    return end;
}

struct bc_delta_values *bc__delta_values_new(const struct bc_schema *schema,
                                             int32_t field) {
    struct bc_delta_values *values = bc__calloc(1, sizeof(*values));
    if (values == NULL) return NULL;
    atomic_init(&values->refs, 1);
    size_t n = (size_t)list_columns(schema, field, NULL, 0);
    values->columns.all = bc__calloc(n, sizeof(values->columns.all[0]));
    if (values->columns.all == NULL) {
        bc__delta_values_unref(values);
        return NULL;
    }
    values->columns.n = list_columns(schema, field, values->columns.all, 0);
    return values;
}

void bc__delta_values_unref(struct bc_delta_values *values) {
    if (values == NULL || !bc__unref(&values->refs)) return;
    bc__delta_columns_finish(&values->columns);
    bc__free(values->marks);
    bc__free(values);
}

uint64_t bc__delta_values_parts(const struct bc_delta_values *values) {
    return values->n_parts;
}

uint64_t bc__delta_values_bytes(const struct bc_delta_values *values) {
    return values->columns.bytes + values->marks_capacity * sizeof(struct mark) +
           (uint64_t)values->columns.n * sizeof(struct bc_delta_column);
}

/* Returns the marks of all columns after a part. */
static struct mark *marks_of(const struct bc_delta_values *values, uint64_t part) {
    bc_assert(part < values->n_parts);
    return values->marks + part * (uint64_t)values->columns.n;
}

int bc__delta_values_append(struct bc_delta_values *values, const struct bc_batch *part) {
    struct bc_delta_columns *columns = &values->columns;
    size_t needed = (size_t)(values->n_parts + 1) * (size_t)columns->n;
    if (bc__grow((void **)&values->marks, &values->marks_capacity, needed,
                 sizeof(values->marks[0])) != 0) {
        return ENOMEM;
    }
    columns->is_shared = atomic_load_explicit(&values->refs, memory_order_acquire) > 1;
    int code = bc__delta_columns_append(columns, part);
    if (code != 0) return code;
    struct mark *marks = marks_of(values, values->n_parts++);
    for (int32_t i = 0; i < columns->n; i++) {
        const struct bc_delta_column *column = &columns->all[i];
        size_t n = column->n_chunks;
        marks[i] = (struct mark){
            .length = column->length,
            .null_count = column->null_count,
            .reached = column->reached,
            .n_chunks = (int64_t)n,
            .last_chunk_used = n == 0 ? 0 : column->chunks[n - 1].used,
        };
    }
    return 0;
}

int64_t bc__delta_values_reached(const struct bc_delta_values *values, uint64_t part,
                                 int32_t node) {
    bc_assert(node >= 0 && node < values->columns.n);
    return marks_of(values, part)[node].reached;
}

/* ---- batches ---- */

/* A batch that is being made. */
struct batch_builder {
    struct bc_batch *batch;
    const void **tables; /* next free entry of its buffer tables */
    int64_t *sizes;      /* next free entry of its variadic buffer sizes */
};

/* Copies the first `length` bits into memory of the batch. */
static int copy_bits(struct batch_builder *builder, const struct bc_growable *memory,
                     int64_t length, const void **out) {
    if (length == 0) return 0;
    uint8_t *bits = bc__batch_buffer(builder->batch, (uint64_t)bc__bit_bytes(length));
    if (bits == NULL) return ENOMEM;
    bc__bits_copy(bits, memory->data, 0, length);
    *out = bits;
    return 0;
}

/* Sets the chunks at the mark, and their sizes. */
static void set_chunks(struct batch_builder *builder, struct bc_node *node,
                       const struct bc_delta_column *column, const struct mark *mark) {
    const void **buffers = node->buffers;
    int64_t n = mark->n_chunks;
    for (int64_t i = 0; i < n; i++) {
        buffers[2 + i] = column->chunks[i].data;
        builder->sizes[i] = i == n - 1 ? mark->last_chunk_used : column->chunks[i].used;
    }
    buffers[2 + n] = builder->sizes;
    builder->sizes += n;
    node->n_buffers = 3 + n;
}

/* Sets the buffers after the bitmap, for a type with a bitmap. */
static int set_values(struct batch_builder *builder, struct bc_node *node,
                      const struct bc_delta_column *column, const struct mark *mark) {
    /* Consumers may read the one offset of an empty array. */
    static const int64_t none;
    const void **buffers = node->buffers;
    switch (column->field->kind) {
        case BC_LAYOUT_FIXED:
            if (column->field->bits == 1) {
                return copy_bits(builder, &column->values, mark->length, &buffers[1]);
            }
            buffers[1] = column->values.data;
            return 0;
        case BC_LAYOUT_BINARY:
        case BC_LAYOUT_LIST_VIEW:
            buffers[2] = column->more.data;
            buffers[1] = column->values.data;
            break;
        case BC_LAYOUT_VIEW:
            buffers[1] = column->values.data;
            set_chunks(builder, node, column, mark);
            return 0;
        case BC_LAYOUT_LIST:
            buffers[1] = column->values.data;
            break;
        default:
            return 0;
    }
    if (buffers[1] == NULL) buffers[1] = &none;
    return 0;
}

static int set_node(struct batch_builder *builder, struct bc_node *node,
                    const struct bc_delta_column *column, const struct mark *mark) {
    const struct bc_field *field = column->field;
    *node = (struct bc_node){
        .length = mark->length,
        .null_count = bc__null_count(field, mark->length, mark->null_count),
        .n_buffers = field->n_buffers,
        .buffers = builder->tables,
    };
    builder->tables += field->n_buffers + mark->n_chunks;
    if (field->kind == BC_LAYOUT_SPARSE_UNION || field->kind == BC_LAYOUT_DENSE_UNION) {
        node->buffers[0] = column->values.data;
        if (field->n_buffers > 1) node->buffers[1] = column->more.data;
        return 0;
    }
    if (!field->has_validity) return 0;
    int code = 0;
    if (mark->null_count > 0) {
        code = copy_bits(builder, &column->validity, mark->length, &node->buffers[0]);
    }
    return code != 0 ? code : set_values(builder, node, column, mark);
}

static void release_delta_values(struct ArrowArray *owner) {
    bc__delta_values_unref(owner->private_data);
    owner->release = NULL;
}

int bc__delta_values_batch(struct bc_delta_values *values, uint64_t part,
                           struct bc_batch **out_batch) {
    const struct bc_delta_columns *columns = &values->columns;
    const struct mark *marks = marks_of(values, part);
    size_t n_buffers = 0;
    size_t n_chunks = 0;
    for (int32_t i = 0; i < columns->n; i++) {
        n_buffers += (size_t)columns->all[i].field->n_buffers;
        n_chunks += (size_t)marks[i].n_chunks;
    }
    n_buffers += n_chunks;
    struct bc_batch *batch = bc__batch_alloc(
        columns->n, n_buffers * sizeof(void *) + n_chunks * sizeof(int64_t));
    if (batch == NULL) return ENOMEM;
    struct batch_builder builder = {.batch = batch, .tables = bc__batch_tail(batch)};
    builder.sizes = (int64_t *)(void *)(builder.tables + n_buffers);
    int code = 0;
    for (int32_t i = 0; i < columns->n && code == 0; i++) {
        code = set_node(&builder, &batch->nodes[i], &columns->all[i], &marks[i]);
    }
    if (code != 0) {
        bc__batch_unref(batch);
        return code;
    }
    bc__ref(&values->refs);
    batch->owner.release = release_delta_values;
    batch->owner.private_data = values;
    *out_batch = batch;
    return 0;
}
