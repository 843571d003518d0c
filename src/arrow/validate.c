#include "arrow/validate.h"

#include <string.h>

#include "arrow/bits.h"
#include "arrow/validate_values.h"
#include "arrow/values.h"
#include "base/check.h"
#include "base/error.h"

struct validation {
    const struct bc_schema *schema;
    const struct bc_node *nodes; /* of the fields from index `first` on */
    int32_t first;
    struct bc_error *error;
};

static const struct bc_node *node_of(const struct validation *validation, int32_t index) {
    bc_assert(index >= validation->first);
    return &validation->nodes[index - validation->first];
}

/* One array of the batch. */
struct array {
    int32_t index; /* of its field */
    const struct bc_field *field;
    const struct bc_node *node;
};

static struct array array_of(const struct validation *validation, int32_t index) {
    return (struct array){index, &validation->schema->fields[index],
                          node_of(validation, index)};
}

static struct array child_array(const struct validation *validation, struct array array,
                                int32_t child) {
    bc_assert(child < array.field->n_children);
    return array_of(validation, array.field->first_child + child);
}

static int array_error(const struct validation *validation, struct array array,
                       const char *reason) {
    char path[256];
    bc__schema_field_path(validation->schema, array.index, path, sizeof(path));
    return bc__error_set(validation->error, EINVAL, "Field '%s' is broken: %s", path,
                         reason);
}

/* Returns 0 if there is no invalid value, and else EINVAL. */
static int value_error(const struct validation *validation, struct array array,
                       struct bc_invalid_value invalid) {
    if (invalid.reason == NULL) return 0;
    char path[256];
    bc__schema_field_path(validation->schema, array.index, path, sizeof(path));
    long long row = (long long)(invalid.position - array.node->offset);
    return bc__error_set(validation->error, EINVAL,
                         "Field '%s' is broken in row %lld: %s", path, row,
                         invalid.reason);
}

static int64_t count_array_nulls(struct array array) {
    const struct bc_node *node = array.node;
    if (!array.field->has_validity) return bc__null_count(array.field, node->length, 0);
    const uint8_t *validity = node->buffers[0];
    if (validity == NULL) return 0;
    return node->length - bc__bits_count(validity, node->offset, node->length);
}

static int check_array_shape(const struct validation *validation, struct array array) {
    const struct bc_node *node = array.node;
    int64_t end;
    if (node->length < 0 || node->offset < 0 ||
        __builtin_add_overflow(node->offset, node->length, &end)) {
        return array_error(validation, array, "its length is impossible");
    }
    /* -1: not counted yet. */
    if (node->null_count != -1 && node->null_count != count_array_nulls(array)) {
        return array_error(validation, array,
                           "its null count differs from its validity bitmap");
    }
    return 0;
}

static bool is_text_field(const struct bc_field *field) {
    const char *format = field->schema->format;
    return strcmp(format, "u") == 0 || strcmp(format, "U") == 0 ||
           strcmp(format, "vu") == 0;
}

/* The data's size is not known here: the decoder has compared the last offset with it. */
static int check_binary(const struct validation *validation, struct array array) {
    const struct bc_node *node = array.node;
    int32_t bits = array.field->bits;
    int code =
        value_error(validation, array, bc__validate_offsets(node, bits, INT64_MAX));
    if (code != 0 || !is_text_field(array.field)) return code;
    return value_error(validation, array, bc__validate_text(node, bits));
}

static int check_views(const struct validation *validation, struct array array) {
    const struct bc_node *node = array.node;
    if (node->n_buffers < 3 ||
        (node->n_buffers > 3 && node->buffers[node->n_buffers - 1] == NULL)) {
        return array_error(validation, array,
                           "the sizes of its variadic buffers are missing");
    }
    return value_error(validation, array,
                       bc__validate_views(node, is_text_field(array.field)));
}

/* Checks that a map's entries and keys have no nulls. */
static int check_entries(const struct validation *validation, struct array entries) {
    if (count_array_nulls(entries) != 0) {
        return array_error(validation, entries, "a map's entries have nulls");
    }
    struct array keys = child_array(validation, entries, 0);
    if (count_array_nulls(keys) == 0) return 0;
    return array_error(validation, keys, "a map's keys have nulls");
}

static int check_list(const struct validation *validation, struct array array) {
    struct array child = child_array(validation, array, 0);
    int64_t limit = child.node->length;
    int code = value_error(validation, array,
                           bc__validate_offsets(array.node, array.field->bits, limit));
    bool is_map = strcmp(array.field->schema->format, "+m") == 0;
    return code != 0 || !is_map ? code : check_entries(validation, child);
}

static int check_list_view(const struct validation *validation, struct array array) {
    int64_t limit = child_array(validation, array, 0).node->length;
    return value_error(validation, array,
                       bc__validate_list_views(array.node, array.field->bits, limit));
}

/* Checks that each child has `each` values for every value of its parent. */
static int check_lengths(const struct validation *validation, struct array array,
                         int64_t each) {
    int64_t needed;
    if (__builtin_mul_overflow(bc__node_end(array.node), each, &needed)) {
        return array_error(validation, array, "it is longer than memory");
    }
    for (int32_t c = 0; c < array.field->n_children; c++) {
        struct array child = child_array(validation, array, c);
        if (child.node->length < needed) {
            return array_error(validation, child, "it is shorter than its parent");
        }
    }
    return 0;
}

/* Finds the first invalid type id or offset of a union.
 * `offsets`: NULL means a sparse union, or a union without values. */
static struct bc_invalid_value validate_union(const struct validation *validation,
                                              struct array array,
                                              const int32_t *offsets) {
    const struct bc_node *node = array.node;
    const int8_t *ids = node->buffers[0];
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        int child = ids[i] < 0 ? -1 : array.field->union_children[ids[i]];
        if (child < 0) {
            return (struct bc_invalid_value){"its type id is not among its type's", i};
        }
        if (offsets != NULL &&
            (offsets[i] < 0 ||
             offsets[i] >= child_array(validation, array, child).node->length)) {
            return (struct bc_invalid_value){"it reaches beyond its child", i};
        }
    }
    return (struct bc_invalid_value){NULL, 0};
}

static int check_runs(const struct validation *validation, struct array array) {
    const struct bc_node *node = array.node;
    struct array ends = child_array(validation, array, 0);
    struct array values = child_array(validation, array, 1);
    if (count_array_nulls(ends) != 0)
        return array_error(validation, ends, "it has nulls");
    if (values.node->length < ends.node->length) {
        return array_error(validation, values, "it is shorter than the run ends");
    }
    int code =
        value_error(validation, ends, bc__validate_run_ends(ends.node, ends.field->bits));
    if (code != 0 || node->length == 0) return code;
    int64_t n = bc__node_end(ends.node);
    if (ends.node->length > 0 && bc__integer_at(ends.node->buffers[1], ends.field->bits,
                                                n - 1) >= bc__node_end(node)) {
        return 0;
    }
    return array_error(validation, array, "its runs end before it does");
}

static int check_indices(const struct validation *validation, struct array array) {
    if (array.field->dictionary < 0) return 0;
    char format = array.field->schema->format[0];
    int64_t limit = node_of(validation, array.field->dictionary)->length;
    return value_error(validation, array,
                       bc__validate_indices(array.node, format, limit));
}

static int check_values(const struct validation *validation, struct array array) {
    int code;
    switch (array.field->kind) {
        case BC_LAYOUT_NULL:
            return 0;
        case BC_LAYOUT_FIXED:
            return check_indices(validation, array);
        case BC_LAYOUT_BINARY:
            return check_binary(validation, array);
        case BC_LAYOUT_VIEW:
            return check_views(validation, array);
        case BC_LAYOUT_LIST:
            return check_list(validation, array);
        case BC_LAYOUT_LIST_VIEW:
            return check_list_view(validation, array);
        case BC_LAYOUT_FIXED_LIST:
            return check_lengths(validation, array, array.field->list_size);
        case BC_LAYOUT_STRUCT:
            return check_lengths(validation, array, 1);
        case BC_LAYOUT_SPARSE_UNION:
            code = check_lengths(validation, array, 1);
            if (code != 0) return code;
            return value_error(validation, array,
                               validate_union(validation, array, NULL));
        case BC_LAYOUT_DENSE_UNION:
            return value_error(validation, array,
                               validate_union(validation, array, array.node->buffers[1]));
        case BC_LAYOUT_RUN_END:
            return check_runs(validation, array);
    }
    bc_assert(!"every kind is handled");
    return EINVAL;
}

/* Validates the children first: their parent relies on their shape. BC_DEPTH_MAX bounds
 * the recursion. */
static int validate_array(const struct validation *validation, int32_t index) {
    struct array array = array_of(validation, index);
    int code = check_array_shape(validation, array);
    for (int32_t c = 0; c < array.field->n_children && code == 0; c++) {
        code = validate_array(validation, array.field->first_child + c);
    }
    return code != 0 ? code : check_values(validation, array);
}

int bc__validate_batch(const struct bc_schema *schema,
                       const struct bc_projection *projection,
                       const struct bc_batch *batch, struct bc_error *error) {
    const struct bc_field *root = &schema->fields[0];
    bc_assert(batch->n_nodes == schema->n_fields && batch->nodes[0].offset == 0);
    bc_assert(projection == NULL || projection->n_columns == root->n_children);
    struct validation validation = {schema, batch->nodes, 0, error};
    int64_t rows = batch->nodes[0].length;
    if (rows < 0) return bc__error_set(error, EINVAL, "The number of rows is negative");
    for (int32_t c = 0; c < root->n_children; c++) {
        if (!bc__projection_has(projection, c)) continue;
        int code = validate_array(&validation, root->first_child + c);
        if (code != 0) return code;
        struct array column = array_of(&validation, root->first_child + c);
        if (column.node->length != rows) {
            return array_error(&validation, column,
                               "it has more or fewer rows than the batch");
        }
    }
    return 0;
}

int bc__validate_dictionary(const struct bc_schema *schema, int32_t values,
                            const struct bc_batch *batch, struct bc_error *error) {
    bc_assert(values > 0 && values < schema->n_fields);
    bc_assert(schema->fields[schema->fields[values].parent].dictionary == values);
    bool is_alone = batch->n_nodes == 1;
    bc_assert(is_alone ? schema->fields[values].n_children == 0 &&
                             schema->fields[values].dictionary < 0
                       : batch->n_nodes == schema->n_fields);
    struct validation validation = {schema, batch->nodes, is_alone ? values : 0, error};
    return validate_array(&validation, values);
}
