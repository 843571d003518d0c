#include "arrow/gather.h"

#include <errno.h>
#include <string.h>

#include "arrow/bits.h"
#include "arrow/values.h"
#include "base/check.h"

enum { BUFFERS = 2 };

static bool is_fixed(const struct bc_field *field) {
    switch (field->kind) {
        case BC_LAYOUT_NULL:
        case BC_LAYOUT_STRUCT:
        case BC_LAYOUT_FIXED_LIST:
            return true;
        case BC_LAYOUT_FIXED:
            return field->dictionary < 0;
        default:
            return false;
    }
}

int32_t bc__gather_refused(const struct bc_schema *schema) {
    for (int32_t i = 1; i < schema->n_fields; i++) {
        if (!is_fixed(&schema->fields[i])) return bc__schema_column_of(schema, i);
    }
    return -1;
}

/* ---- the new batch ---- */

/* Multiplies sizes. Returns false if the product is too large for any memory. */
static bool multiply(int64_t one, int64_t other, int64_t *out) {
    if (other != 0 && one > INT64_MAX / 64 / other) return false;
    *out = one * other;
    return true;
}

/* Allocates a buffer of a node, all of whose bytes are `byte`. */
static bool add_buffer(struct bc_batch *batch, int32_t field, int buffer, int64_t size,
                       int byte) {
    void *bytes = bc__batch_buffer(batch, (uint64_t)size + 1);
    batch->nodes[field].buffers[buffer] = bytes;
    if (bytes == NULL) return false;
    memset(bytes, byte, (size_t)size + 1);
    return true;
}

static bool begin_node(const struct bc_schema *schema, int32_t index,
                       struct bc_batch *batch) {
    const struct bc_field *field = &schema->fields[index];
    const struct bc_field *parent = &schema->fields[field->parent];
    struct bc_node *node = &batch->nodes[index];
    int64_t per_value = parent->kind == BC_LAYOUT_FIXED_LIST ? parent->list_size : 1;
    if (!multiply(batch->nodes[field->parent].length, per_value, &node->length)) {
        return false;
    }
    if (field->has_validity &&
        !add_buffer(batch, index, 0, bc__bit_bytes(node->length), 0xff)) {
        return false;
    }
    if (field->kind != BC_LAYOUT_FIXED) return true;
    int64_t bits;
    if (!multiply(node->length, field->bits, &bits)) return false;
    return add_buffer(batch, index, 1, bc__bit_bytes(bits), 0);
}

int bc__gather_new(const struct bc_schema *schema, int64_t n,
                   struct bc_batch **out_batch) {
    bc_assert(n >= 0 && bc__gather_refused(schema) < 0);
    size_t n_buffers = (size_t)schema->n_fields * BUFFERS;
    struct bc_batch *batch =
        bc__batch_alloc(schema->n_fields, n_buffers * sizeof(const void *));
    if (batch == NULL) return ENOMEM;
    const void **buffers = bc__batch_tail(batch);
    for (int32_t i = 0; i < schema->n_fields; i++) {
        batch->nodes[i].buffers = buffers + (ptrdiff_t)i * BUFFERS;
        batch->nodes[i].n_buffers = schema->fields[i].n_buffers;
    }
    batch->nodes[0].length = n;
    for (int32_t i = 1; i < schema->n_fields; i++) {
        if (begin_node(schema, i, batch)) continue;
        bc__batch_unref(batch);
        return ENOMEM;
    }
    *out_batch = batch;
    return 0;
}

/* ---- copying ---- */

/* The values of a field in one array. */
struct values {
    const struct ArrowArray *array;
    int64_t scale;
    int64_t shift;
};

#define COPY(T)                                                      \
    for (int64_t i = 0; i < n; i++) {                                \
        ((T *)out)[rows[i].place] = ((const T *)bytes)[rows[i].row]; \
    }                                                                \
    break

/* Copies values of `size` bytes each. */
static void copy_bytes(const uint8_t *bytes, int64_t size,
                       const struct bc_gather_row *rows, int64_t n, uint8_t *out) {
    switch (size) {
        case 1:
            COPY(uint8_t);
        case 2:
            COPY(uint16_t);
        case 4:
            COPY(uint32_t);
        case 8:
            COPY(uint64_t);
        default:
            for (int64_t i = 0; i < n; i++) {
                memcpy(out + rows[i].place * size, bytes + rows[i].row * size,
                       (size_t)size);
            }
    }
}

/* Copies the bits that are `value` in the source. */
static void copy_bits(const uint8_t *bits, const struct values *values, bool value,
                      const struct bc_gather_row *rows, int64_t n, uint8_t *out) {
    for (int64_t i = 0; i < n; i++) {
        int64_t from = rows[i].row * values->scale + values->shift;
        int64_t to = rows[i].place * values->scale;
        for (int64_t k = 0; k < values->scale; k++, from++, to++) {
            if (bc__is_valid(bits, from) != value) continue;
            uint8_t bit = (uint8_t)(1U << (to % 8));
            out[to / 8] = (uint8_t)(value ? out[to / 8] | bit : out[to / 8] & ~bit);
        }
    }
}

static void copy_field(const struct bc_field *field, const struct values *values,
                       const struct bc_gather_row *rows, int64_t n,
                       struct bc_node *node) {
    const struct ArrowArray *array = values->array;
    if (field->has_validity && array->null_count != 0 && array->buffers[0] != NULL) {
        copy_bits(array->buffers[0], values, false, rows, n, (uint8_t *)node->buffers[0]);
    }
    if (field->kind != BC_LAYOUT_FIXED || node->length == 0) return;
    const uint8_t *bytes = array->buffers[1];
    uint8_t *out = (uint8_t *)node->buffers[1];
    if (field->bits == 1) {
        copy_bits(bytes, values, true, rows, n, out);
    } else if (field->bits > 0) {
        int64_t size = field->bits / 8;
        copy_bytes(bytes + values->shift * size, size * values->scale, rows, n, out);
    }
}

/* Copies the fields below a field. */
static void copy_children(const struct bc_schema *schema, int32_t index,
                          const struct values *values, const struct bc_gather_row *rows,
                          int64_t n, struct bc_batch *batch) {
    const struct bc_field *field = &schema->fields[index];
    int64_t per_value = field->kind == BC_LAYOUT_FIXED_LIST ? field->list_size : 1;
    for (int32_t i = 0; i < field->n_children; i++) {
        const struct ArrowArray *array = values->array->children[i];
        const struct values inner = {array, values->scale * per_value,
                                     values->shift * per_value + array->offset};
        int32_t child = field->first_child + i;
        copy_field(&schema->fields[child], &inner, rows, n, &batch->nodes[child]);
        copy_children(schema, child, &inner, rows, n, batch);
    }
}

void bc__gather_add(const struct bc_schema *schema, const struct ArrowArray *array,
                    const struct bc_gather_row *rows, int64_t n, struct bc_batch *batch) {
    bc_assert(array->n_children == schema->fields[0].n_children);
    const struct values root = {array, 1, array->offset};
    copy_children(schema, 0, &root, rows, n, batch);
}

void bc__gather_end(const struct bc_schema *schema, struct bc_batch *batch) {
    for (int32_t i = 1; i < schema->n_fields; i++) {
        const struct bc_field *field = &schema->fields[i];
        struct bc_node *node = &batch->nodes[i];
        node->null_count = bc__null_count(field, node->length, 0);
        if (!field->has_validity) continue;
        int64_t valid = bc__bits_count(node->buffers[0], 0, node->length);
        node->null_count = node->length - valid;
        if (node->null_count == 0) node->buffers[0] = NULL;
    }
}
