#include "arrow/buffer_ranges.h"

#include <string.h>

#include "arrow/values.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

struct walk {
    struct bc_buffer_ranges *out;
    const struct bc_schema *schema;
    const struct bc_batch *batch;
    struct bc_error *error;
};

/* A run of values: `offset` counts from the start of the node's buffers. */
struct run {
    int32_t field;
    int64_t offset;
    int64_t length;
};

static int walk_run(struct walk *walk, struct run run);

void bc__buffer_ranges_finish(struct bc_buffer_ranges *ranges) {
    bc_assert(ranges != NULL);
    bc__free(ranges->nodes);
    bc__free(ranges->ranges);
    bc__free(ranges->dictionaries);
    memset(ranges, 0, sizeof(*ranges));
}

int bc__buffer_ranges_invalid(const struct bc_schema *schema,
                              const struct bc_batch *batch, int32_t field,
                              const char *reason, struct bc_error *error) {
    char path[256];
    bc__schema_field_path(schema, field, path, sizeof(path));
    return bc__error_set(error, EINVAL, "Batch %llu is invalid: field '%s' is broken: %s",
                         (unsigned long long)batch->number, path, reason);
}

static int walk_error(const struct walk *walk, int32_t field, const char *reason) {
    return bc__buffer_ranges_invalid(walk->schema, walk->batch, field, reason,
                                     walk->error);
}

/* Appends a range and returns it, or NULL without memory. */
static struct bc_buffer_range *add_range(struct walk *walk, enum bc_range_kind kind,
                                         const uint8_t *data, int64_t bytes) {
    struct bc_buffer_ranges *out = walk->out;
    if (bc__grow((void **)&out->ranges, &out->ranges_capacity, out->n_ranges + 1,
                 sizeof(out->ranges[0])) != 0) {
        (void)bc__error_memory(walk->error);
        return NULL;
    }
    bc_assert(bytes >= 0);
    struct bc_buffer_range *range = &out->ranges[out->n_ranges++];
    *range = (struct bc_buffer_range){
        .kind = bytes == 0 ? BC_RANGE_ABSENT : kind, .data = data, .bytes = bytes};
    return range;
}

static int add_bit_range(struct walk *walk, const uint8_t *bitmap, int64_t offset,
                         int64_t length) {
    int64_t bytes = bitmap == NULL ? 0 : bc__bit_bytes(length);
    const uint8_t *data = bitmap == NULL ? NULL : bitmap + offset / 8;
    struct bc_buffer_range *range = add_range(walk, BC_RANGE_BITS, data, bytes);
    if (range == NULL) return ENOMEM;
    range->bit_offset = (int8_t)(offset % 8);
    return 0;
}

/* Appends `length` elements of `width` bytes from element `offset` on. */
static int add_value_range(struct walk *walk, enum bc_range_kind kind, const void *buffer,
                           int64_t offset, int64_t length, int64_t width) {
    const uint8_t *data =
        buffer == NULL ? NULL : (const uint8_t *)buffer + offset * width;
    int64_t bytes = length * width;
    return add_range(walk, kind, data, bytes) == NULL ? ENOMEM : 0;
}

/* Appends the offsets of a run, and returns the range of elements between its first and
 * last offset. Only the last offset of the whole array is known to be inside the data
 * buffer or the child. */
static int walk_offsets(struct walk *walk, struct run run, const struct bc_node *node,
                        int64_t *out_first, int64_t *out_length) {
    const void *offsets = node->buffers[1];
    int32_t bits = walk->schema->fields[run.field].bits;
    *out_first = 0;
    *out_length = 0;
    if (run.length == 0) {
        return add_range(walk, BC_RANGE_ABSENT, NULL, 0) == NULL ? ENOMEM : 0;
    }
    int64_t first = bc__integer_at(offsets, bits, run.offset);
    int64_t last = bc__integer_at(offsets, bits, run.offset + run.length);
    int64_t limit = bc__integer_at(offsets, bits, node->offset + node->length);
    if (first < 0 || last < first || last > limit) {
        return walk_error(walk, run.field, "its offsets decrease or are negative");
    }
    enum bc_range_kind kind = bits == 32 ? BC_RANGE_OFFSETS32 : BC_RANGE_OFFSETS64;
    int code = add_value_range(walk, kind, offsets, run.offset, run.length + 1, bits / 8);
    if (code != 0) return code;
    walk->out->ranges[walk->out->n_ranges - 1].base = first;
    *out_first = first;
    *out_length = last - first;
    return 0;
}

static int walk_binary(struct walk *walk, struct run run, const struct bc_node *node) {
    int64_t first;
    int64_t length;
    int code = walk_offsets(walk, run, node, &first, &length);
    if (code != 0) return code;
    if (length > 0 && node->buffers[2] == NULL) {
        return walk_error(walk, run.field, "its data buffer is missing");
    }
    return add_value_range(walk, BC_RANGE_BYTES, node->buffers[2], first, length, 1);
}

/* Walks the values [first, first + length) of a child, counted from its offset. */
static int walk_child(struct walk *walk, int32_t field, int64_t first, int64_t length) {
    const struct bc_node *child = &walk->batch->nodes[field];
    if (first < 0 || length < 0 || first > child->length ||
        length > child->length - first) {
        return walk_error(walk, field, "its parent reaches beyond it");
    }
    return walk_run(walk, (struct run){field, child->offset + first, length});
}

static int walk_list(struct walk *walk, struct run run, const struct bc_node *node) {
    int64_t first;
    int64_t length;
    int code = walk_offsets(walk, run, node, &first, &length);
    if (code != 0) return code;
    return walk_child(walk, walk->schema->fields[run.field].first_child, first, length);
}

/* Returns the node's validity bitmap, or NULL if all values are valid. */
static const uint8_t *walk_validity(const struct bc_node *node) {
    return node->null_count == 0 ? NULL : node->buffers[0];
}

/* The lists of a list view may have any order. The child's range extends from the least
 * start to the greatest end of the lists. `base` of the offsets is the range's start. */
static int walk_list_view(struct walk *walk, struct run run, const struct bc_node *node) {
    int32_t bits = walk->schema->fields[run.field].bits;
    int64_t low = INT64_MAX;
    int64_t high = 0;
    for (int64_t i = run.offset; i < run.offset + run.length; i++) {
        int64_t size = bc__integer_at(node->buffers[2], bits, i);
        if (size == 0 || !bc__is_valid(walk_validity(node), i)) continue;
        int64_t at = bc__integer_at(node->buffers[1], bits, i);
        int64_t end;
        if (at < 0 || size < 0 || __builtin_add_overflow(at, size, &end)) {
            return walk_error(walk, run.field, "a list's offset or size is negative");
        }
        if (at < low) low = at;
        if (end > high) high = end;
    }
    if (low > high) low = high = 0;
    enum bc_range_kind kind = bits == 32 ? BC_RANGE_OFFSETS32 : BC_RANGE_OFFSETS64;
    int code =
        add_value_range(walk, kind, node->buffers[1], run.offset, run.length, bits / 8);
    if (code != 0) return code;
    walk->out->ranges[walk->out->n_ranges - 1].base = low;
    code = add_value_range(walk, BC_RANGE_BYTES, node->buffers[2], run.offset, run.length,
                           bits / 8);
    if (code != 0) return code;
    return walk_child(walk, walk->schema->fields[run.field].first_child, low, high - low);
}

static int walk_views(struct walk *walk, struct run run, const struct bc_node *node) {
    int64_t n_variadic = node->n_buffers - 3;
    const int64_t *sizes = node->buffers[node->n_buffers - 1];
    if (n_variadic > 0 && sizes == NULL) {
        return walk_error(walk, run.field,
                          "the sizes of its variadic buffers are missing");
    }
    int code = add_value_range(walk, BC_RANGE_VIEWS, node->buffers[1], run.offset,
                               run.length, 16);
    size_t first = walk->out->n_ranges;
    for (int64_t i = 0; i < n_variadic && code == 0; i++) {
        if (sizes[i] < 0)
            return walk_error(walk, run.field, "a variadic buffer's size is negative");
        if (add_range(walk, BC_RANGE_VARIADIC, node->buffers[2 + i], sizes[i]) == NULL) {
            return ENOMEM;
        }
    }
    if (code != 0 || n_variadic == 0 || run.length == 0) return code;
    struct bc_buffer_range *variadic = walk->out->ranges + first;
    const uint8_t *at = (const uint8_t *)node->buffers[1] + run.offset * 16;
    for (int64_t i = 0; i < run.length; i++, at += 16) {
        struct bc_view view;
        memcpy(&view, at, sizeof(view));
        if ((uint32_t)view.length <= BC_VIEW_INLINE_MAX ||
            !bc__is_valid(walk_validity(node), run.offset + i)) {
            continue;
        }
        if (view.length < 0 || view.buffer < 0 || view.buffer >= n_variadic ||
            view.offset < 0 || variadic[view.buffer].data == NULL ||
            (int64_t)view.offset + view.length > sizes[view.buffer]) {
            return walk_error(walk, run.field, "a view lies outside its buffers");
        }
        variadic[view.buffer].used += view.length;
    }
    return 0;
}

static int walk_struct(struct walk *walk, struct run run) {
    const struct bc_field *field = &walk->schema->fields[run.field];
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = walk_child(walk, field->first_child + c, run.offset, run.length);
        if (code != 0) return code;
    }
    return 0;
}

/* Each child's range extends from the least to the greatest offset of the run. */
static int walk_dense_union(struct walk *walk, struct run run,
                            const struct bc_node *node) {
    const struct bc_field *field = &walk->schema->fields[run.field];
    const int8_t *ids = node->buffers[0];
    const int32_t *offsets = node->buffers[1];
    int64_t low[128];
    int64_t high[128];
    bc_assert(field->n_children <= 128);
    for (int32_t c = 0; c < field->n_children; c++) {
        low[c] = INT64_MAX;
        high[c] = 0;
    }
    for (int64_t i = run.offset; i < run.offset + run.length; i++) {
        int child = ids[i] < 0 ? -1 : field->union_children[ids[i]];
        if (child < 0)
            return walk_error(walk, run.field, "a type id is not among its type's");
        if (offsets[i] < low[child]) low[child] = offsets[i];
        if ((int64_t)offsets[i] + 1 > high[child]) high[child] = (int64_t)offsets[i] + 1;
    }
    int code = add_value_range(walk, BC_RANGE_BYTES, ids, run.offset, run.length, 1);
    if (code == 0) {
        code = add_value_range(walk, BC_RANGE_BYTES, offsets, run.offset, run.length, 4);
    }
    for (int32_t c = 0; c < field->n_children && code == 0; c++) {
        if (low[c] > high[c]) low[c] = high[c] = 0;
        code = walk_child(walk, field->first_child + c, low[c], high[c] - low[c]);
    }
    return code;
}

/* Returns the index of the first run that ends after `position`. */
static int64_t find_run(const void *ends, int32_t bits, int64_t first, int64_t n,
                        int64_t position) {
    int64_t low = 0;
    int64_t high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (bc__integer_at(ends, bits, first + middle) > position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static int walk_run_ends(struct walk *walk, struct run run) {
    const struct bc_field *field = &walk->schema->fields[run.field];
    const struct bc_node *ends = &walk->batch->nodes[field->first_child];
    int64_t first = 0;
    int64_t n = 0;
    if (run.length > 0) {
        int32_t bits = walk->schema->fields[field->first_child].bits;
        const void *values = ends->buffers[1];
        first = find_run(values, bits, ends->offset, ends->length, run.offset);
        int64_t last = find_run(values, bits, ends->offset, ends->length,
                                run.offset + run.length - 1);
        if (last >= ends->length) {
            return walk_error(walk, run.field, "its runs end before its length");
        }
        n = last - first + 1;
    }
    int code = walk_child(walk, field->first_child, first, n);
    if (code == 0) code = walk_child(walk, field->first_child + 1, first, n);
    return code;
}

static int add_node(struct walk *walk, struct run run, const struct bc_node *node) {
    struct bc_buffer_ranges *out = walk->out;
    const struct bc_field *field = &walk->schema->fields[run.field];
    if (bc__grow((void **)&out->nodes, &out->nodes_capacity, out->n_nodes + 1,
                 sizeof(out->nodes[0])) != 0) {
        return bc__error_memory(walk->error);
    }
    bool whole = run.offset == node->offset && run.length == node->length;
    bool absent = !field->has_validity || node->buffers[0] == NULL;
    int64_t nulls = whole || node->null_count == 0 ? node->null_count : -1;
    if (absent || run.length == 0) nulls = 0;
    if (field->kind == BC_LAYOUT_NULL) nulls = run.length;
    out->nodes[out->n_nodes++] = (struct bc_range_node){
        .field = run.field,
        .n_variadic = field->kind == BC_LAYOUT_VIEW ? (int32_t)(node->n_buffers - 3) : 0,
        .offset = run.offset,
        .length = run.length,
        .null_count = nulls};
    if (field->dictionary < 0) return 0;
    if (bc__grow((void **)&out->dictionaries, &out->dictionaries_capacity,
                 out->n_dictionaries + 1, sizeof(out->dictionaries[0])) != 0) {
        return bc__error_memory(walk->error);
    }
    out->dictionaries[out->n_dictionaries++] = field->dictionary;
    return 0;
}

static int walk_run(struct walk *walk, struct run run) {
    const struct bc_field *field = &walk->schema->fields[run.field];
    const struct bc_node *node = &walk->batch->nodes[run.field];
    int code = add_node(walk, run, node);
    if (code == 0 && field->has_validity) {
        const uint8_t *validity = walk_validity(node);
        code = add_bit_range(walk, validity, run.offset, run.length);
    }
    if (code != 0) return code;
    switch (field->kind) {
        case BC_LAYOUT_NULL:
            return 0;
        case BC_LAYOUT_FIXED:
            if (field->bits == 1) {
                return add_bit_range(walk, node->buffers[1], run.offset, run.length);
            }
            return add_value_range(walk, BC_RANGE_BYTES, node->buffers[1], run.offset,
                                   run.length, field->bits / 8);
        case BC_LAYOUT_BINARY:
            return walk_binary(walk, run, node);
        case BC_LAYOUT_VIEW:
            return walk_views(walk, run, node);
        case BC_LAYOUT_LIST:
            return walk_list(walk, run, node);
        case BC_LAYOUT_LIST_VIEW:
            return walk_list_view(walk, run, node);
        case BC_LAYOUT_FIXED_LIST:
            return walk_child(walk, field->first_child, run.offset * field->list_size,
                              run.length * field->list_size);
        case BC_LAYOUT_STRUCT:
            return walk_struct(walk, run);
        case BC_LAYOUT_SPARSE_UNION:
            code = add_value_range(walk, BC_RANGE_BYTES, node->buffers[0], run.offset,
                                   run.length, 1);
            return code != 0 ? code : walk_struct(walk, run);
        case BC_LAYOUT_DENSE_UNION:
            return walk_dense_union(walk, run, node);
        case BC_LAYOUT_RUN_END:
            return walk_run_ends(walk, run);
    }
    bc_assert(!"every kind is handled");
    return EINVAL;
}

static void reset(struct bc_buffer_ranges *out) {
    out->n_nodes = 0;
    out->n_ranges = 0;
    out->n_dictionaries = 0;
}

int bc__buffer_ranges_of_batch(struct bc_buffer_ranges *out,
                               const struct bc_schema *schema,
                               const struct bc_batch *batch, struct bc_error *error) {
    bc_assert(batch->n_nodes == schema->n_fields && batch->nodes[0].offset == 0);
    reset(out);
    struct walk walk = {out, schema, batch, error};
    for (int32_t c = 0; c < schema->fields[0].n_children; c++) {
        int code = walk_child(&walk, schema->fields[0].first_child + c, 0,
                              batch->nodes[0].length);
        if (code != 0) return code;
    }
    return 0;
}

int bc__buffer_ranges_of_dictionary(struct bc_buffer_ranges *out,
                                    const struct bc_schema *schema,
                                    const struct bc_batch *batch, int32_t dictionary,
                                    int64_t first, struct bc_error *error) {
    bc_assert(dictionary > 0 && dictionary < schema->n_fields);
    reset(out);
    struct walk walk = {out, schema, batch, error};
    int64_t length = batch->nodes[dictionary].length - first;
    return walk_child(&walk, dictionary, first, length);
}
