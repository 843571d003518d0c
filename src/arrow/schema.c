#include "arrow/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "nanoarrow/nanoarrow.h"

enum { UNION_IDS = 128 };

/* Counts the fields and the unions of a tree. If it is too deep, too wide or incomplete,
 * it returns -1. BC_DEPTH_MAX bounds the recursion. */
static int64_t count_fields(const struct ArrowSchema *schema, int depth,
                            int64_t *unions) {
    if (schema == NULL || schema->release == NULL || schema->format == NULL) return -1;
    if (depth > BC_DEPTH_MAX || schema->n_children < 0) return -1;
    if (schema->n_children > BC_FIELDS_MAX) return -1;
    if (schema->n_children > 0 && schema->children == NULL) return -1;
    if (strncmp(schema->format, "+u", 2) == 0) *unions += 1;
    int64_t fields = 1;
    for (int64_t i = 0; i < schema->n_children; i++) {
        int64_t below = count_fields(schema->children[i], depth + 1, unions);
        if (below < 0) return -1;
        fields += below;
        if (fields > BC_FIELDS_MAX) return -1;
    }
    if (schema->dictionary != NULL) {
        int64_t below = count_fields(schema->dictionary, depth + 1, unions);
        if (below < 0) return -1;
        fields += below;
    }
    return fields > BC_FIELDS_MAX ? -1 : fields;
}

static bool is_map(const struct ArrowSchema *schema) {
    return strcmp(schema->format, "+m") == 0;
}

/* Returns the entries of a map if they have two children, and else NULL. */
static struct ArrowSchema *entries_of(const struct ArrowSchema *schema) {
    if (!is_map(schema) || schema->n_children != 1) return NULL;
    struct ArrowSchema *entries = schema->children[0];
    return entries->n_children == 2 ? entries : NULL;
}

/* Clears flags without a meaning, and the flags of nullable entries and keys of maps.
 * count_fields has bounded the recursion. */
static void normalize(struct ArrowSchema *schema) {
    int64_t known = ARROW_FLAG_NULLABLE;
    if (schema->dictionary != NULL) known |= ARROW_FLAG_DICTIONARY_ORDERED;
    if (is_map(schema)) known |= ARROW_FLAG_MAP_KEYS_SORTED;
    schema->flags &= known;
    for (int64_t i = 0; i < schema->n_children; i++) normalize(schema->children[i]);
    if (schema->dictionary != NULL) normalize(schema->dictionary);
    struct ArrowSchema *entries = entries_of(schema);
    if (entries == NULL) return;
    entries->flags &= ~ARROW_FLAG_NULLABLE;
    entries->children[0]->flags &= ~ARROW_FLAG_NULLABLE;
}

static void set_layout(struct bc_field *field, enum bc_layout kind, bool has_validity,
                       int32_t n_buffers, int32_t bits, size_t alignment) {
    field->kind = kind;
    field->has_validity = has_validity;
    field->n_buffers = n_buffers;
    field->bits = bits;
    field->alignment = alignment;
}

int bc__schema_view(const struct ArrowSchema *schema, struct ArrowSchemaView *out_view,
                    struct ArrowError *out_reason) {
    /* nanoarrow refuses binary values of width 0, also those of a dictionary. The
     * dictionary's values have a view of their own. */
    struct ArrowSchema known = *schema;
    struct ArrowSchema values;
    bool is_empty = strcmp(schema->format, "w:0") == 0;
    if (is_empty) known.format = "w:1";
    if (schema->dictionary != NULL) {
        values = *schema->dictionary;
        values.dictionary = NULL;
        if (strcmp(values.format, "w:0") == 0) values.format = "w:1";
        known.dictionary = &values;
    }
    int code = ArrowSchemaViewInit(out_view, &known, out_reason);
    out_view->schema = schema;
    if (is_empty) out_view->fixed_size = 0;
    return code;
}

/* Returns the width of a storage type in bits, or 0 if it has no fixed width. */
static int32_t fixed_bits(const struct ArrowSchemaView *view) {
    switch (view->storage_type) {
        case NANOARROW_TYPE_BOOL:
            return 1;
        case NANOARROW_TYPE_INT8:
        case NANOARROW_TYPE_UINT8:
            return 8;
        case NANOARROW_TYPE_INT16:
        case NANOARROW_TYPE_UINT16:
        case NANOARROW_TYPE_HALF_FLOAT:
            return 16;
        case NANOARROW_TYPE_INT32:
        case NANOARROW_TYPE_UINT32:
        case NANOARROW_TYPE_FLOAT:
        case NANOARROW_TYPE_INTERVAL_MONTHS:
        case NANOARROW_TYPE_DECIMAL32:
            return 32;
        case NANOARROW_TYPE_INT64:
        case NANOARROW_TYPE_UINT64:
        case NANOARROW_TYPE_DOUBLE:
        case NANOARROW_TYPE_INTERVAL_DAY_TIME:
        case NANOARROW_TYPE_DECIMAL64:
            return 64;
        case NANOARROW_TYPE_INTERVAL_MONTH_DAY_NANO:
        case NANOARROW_TYPE_DECIMAL128:
            return 128;
        case NANOARROW_TYPE_DECIMAL256:
            return 256;
        default:
            return 0;
    }
}

/* Returns the alignment in bytes that consumers in other languages may rely on. */
static size_t fixed_alignment(const struct ArrowSchemaView *view, int32_t bits) {
    switch (view->storage_type) {
        case NANOARROW_TYPE_INTERVAL_DAY_TIME:
            return 4;
        case NANOARROW_TYPE_INTERVAL_MONTH_DAY_NANO:
            return 8;
        case NANOARROW_TYPE_DECIMAL256:
            return 16;
        default:
            return bits <= 8 ? 1 : (size_t)bits / 8;
    }
}

static int fill_layout(struct bc_field *field, const struct ArrowSchemaView *view) {
    int32_t bits = fixed_bits(view);
    if (bits != 0) {
        set_layout(field, BC_LAYOUT_FIXED, true, 2, bits, fixed_alignment(view, bits));
        return 0;
    }
    switch (view->storage_type) {
        case NANOARROW_TYPE_NA:
            set_layout(field, BC_LAYOUT_NULL, false, 0, 0, 1);
            return 0;
        case NANOARROW_TYPE_FIXED_SIZE_BINARY:
            if (view->fixed_size < 0 || view->fixed_size > INT32_MAX / 8) return EINVAL;
            set_layout(field, BC_LAYOUT_FIXED, true, 2, view->fixed_size * 8, 1);
            return 0;
        case NANOARROW_TYPE_STRING:
        case NANOARROW_TYPE_BINARY:
            set_layout(field, BC_LAYOUT_BINARY, true, 3, 32, 4);
            return 0;
        case NANOARROW_TYPE_LARGE_STRING:
        case NANOARROW_TYPE_LARGE_BINARY:
            set_layout(field, BC_LAYOUT_BINARY, true, 3, 64, 8);
            return 0;
        case NANOARROW_TYPE_STRING_VIEW:
        case NANOARROW_TYPE_BINARY_VIEW:
            set_layout(field, BC_LAYOUT_VIEW, true, 3, 128, 16);
            return 0;
        case NANOARROW_TYPE_LIST:
        case NANOARROW_TYPE_MAP:
            set_layout(field, BC_LAYOUT_LIST, true, 2, 32, 4);
            return 0;
        case NANOARROW_TYPE_LARGE_LIST:
            set_layout(field, BC_LAYOUT_LIST, true, 2, 64, 8);
            return 0;
        case NANOARROW_TYPE_LIST_VIEW:
            set_layout(field, BC_LAYOUT_LIST_VIEW, true, 3, 32, 4);
            return 0;
        case NANOARROW_TYPE_LARGE_LIST_VIEW:
            set_layout(field, BC_LAYOUT_LIST_VIEW, true, 3, 64, 8);
            return 0;
        case NANOARROW_TYPE_FIXED_SIZE_LIST:
            if (view->fixed_size < 0) return EINVAL;
            set_layout(field, BC_LAYOUT_FIXED_LIST, true, 1, 0, 1);
            field->list_size = view->fixed_size;
            return 0;
        case NANOARROW_TYPE_STRUCT:
            set_layout(field, BC_LAYOUT_STRUCT, true, 1, 0, 1);
            return 0;
        case NANOARROW_TYPE_SPARSE_UNION:
            set_layout(field, BC_LAYOUT_SPARSE_UNION, false, 1, 8, 1);
            return 0;
        case NANOARROW_TYPE_DENSE_UNION:
            set_layout(field, BC_LAYOUT_DENSE_UNION, false, 2, 8, 1);
            return 0;
        case NANOARROW_TYPE_RUN_END_ENCODED:
            set_layout(field, BC_LAYOUT_RUN_END, false, 0, 0, 1);
            return 0;
        default:
            return ENOTSUP;
    }
}

/* Fills the table from the type ids in the format. "+us:0,5": child 0 has id 0, and child
 * 1 has id 5. */
static int fill_union(const char *format, int64_t n_children, int8_t *table) {
    memset(table, -1, UNION_IDS);
    const char *at = strchr(format, ':');
    if (at == NULL || n_children > UNION_IDS) return EINVAL;
    at++;
    for (int64_t child = 0; child < n_children; child++) {
        int id = 0;
        if (*at < '0' || *at > '9') return EINVAL;
        while (*at >= '0' && *at <= '9') {
            id = id * 10 + (*at++ - '0');
            if (id >= UNION_IDS) return EINVAL;
        }
        if (table[id] != -1) return EINVAL;
        table[id] = (int8_t)child;
        if (*at == ',') at++;
    }
    return *at == '\0' ? 0 : EINVAL;
}

/* Returns whether the field is the first child of a map's entries. */
static bool is_keys(const struct bc_schema *schema, int32_t index) {
    int32_t parent = schema->fields[index].parent;
    if (parent <= 0 || schema->fields[parent].first_child != index) return false;
    return is_map(schema->fields[schema->fields[parent].parent].schema);
}

/* Fills the table breadth first: each field in turn appends its children. */
static int fill_fields(struct bc_schema *schema, struct bc_error *error) {
    int32_t n = 1;
    int8_t *union_table = schema->union_tables;
    schema->fields[0].schema = &schema->copy;
    schema->fields[0].parent = -1;
    for (int32_t i = 0; i < n; i++) {
        struct bc_field *field = &schema->fields[i];
        struct ArrowSchemaView view;
        struct ArrowError reason = {{0}};
        char path[256];
        int code = bc__schema_view(field->schema, &view, &reason);
        if (code == 0) code = fill_layout(field, &view);
        if (code != 0) {
            bc__schema_field_path(schema, i, path, sizeof(path));
            bool is_cut = strlen(reason.message) == sizeof(reason.message) - 1;
            if (is_cut) bc__text_end(reason.message);
            return bc__error_set(error, code, "Field '%s' has an invalid type '%s': %s",
                                 path, field->schema->format, reason.message);
        }
        if (strncmp(field->schema->format, "+u", 2) == 0) {
            code =
                fill_union(field->schema->format, field->schema->n_children, union_table);
            if (code != 0) {
                bc__schema_field_path(schema, i, path, sizeof(path));
                return bc__error_set(error, code, "Field '%s' has invalid type ids '%s'",
                                     path, field->schema->format);
            }
            field->union_children = union_table;
            union_table += UNION_IDS;
        }
        field->n_children = (int32_t)field->schema->n_children;
        field->first_child = n;
        if (!field->has_validity) schema->n_without_bitmap++;
        bool is_entries = i > 0 && is_map(schema->fields[field->parent].schema);
        field->is_required = is_entries || is_keys(schema, i);
        for (int32_t c = 0; c < field->n_children; c++, n++) {
            schema->fields[n].schema = field->schema->children[c];
            schema->fields[n].parent = i;
        }
        field->dictionary = -1;
        if (field->schema->dictionary != NULL) {
            field->dictionary = n;
            schema->fields[n].schema = field->schema->dictionary;
            schema->fields[n].parent = i;
            n++;
        }
    }
    bc_assert(n == schema->n_fields);
    return 0;
}

/* Checks that run ends are integers of 16, 32 or 64 bits: the core reads them. */
static int check_run_ends(const struct bc_schema *schema, struct bc_error *error) {
    for (int32_t i = 0; i < schema->n_fields; i++) {
        const struct bc_field *field = &schema->fields[i];
        if (field->kind != BC_LAYOUT_RUN_END) continue;
        bool right = false;
        if (field->n_children == 2) {
            const struct ArrowSchema *ends = schema->fields[field->first_child].schema;
            right = ends->dictionary == NULL && strlen(ends->format) == 1 &&
                    strchr("sil", ends->format[0]) != NULL;
        }
        if (right) continue;
        char path[256];
        bc__schema_field_path(schema, i, path, sizeof(path));
        return bc__error_set(error, EINVAL,
                             "Field '%s' has run ends that are not int16, int32 or int64",
                             path);
    }
    return 0;
}

/* Assigns dictionary ids depth first: an outer dictionary comes before an inner one. */
static void assign_dictionary_ids(struct bc_schema *schema, int32_t index,
                                  int64_t *next) {
    struct bc_field *field = &schema->fields[index];
    if (field->dictionary >= 0) {
        field->dictionary_id = (*next)++;
        assign_dictionary_ids(schema, field->dictionary, next);
    }
    for (int32_t c = 0; c < field->n_children; c++) {
        assign_dictionary_ids(schema, field->first_child + c, next);
    }
}

int bc__schema_new(const struct ArrowSchema *source, struct bc_schema **out_schema,
                   struct bc_error *error) {
    bc_assert(source != NULL && out_schema != NULL);
    int64_t unions = 0;
    int64_t n = count_fields(source, 0, &unions);
    if (n < 0) {
        return bc__error_set(
            error, EINVAL,
            "The stream's schema is released, incomplete, or nested more "
            "than %d levels deep",
            BC_DEPTH_MAX);
    }
    if (strcmp(source->format, "+s") != 0) {
        return bc__error_set(error, EINVAL,
                             "Expected a stream of record batches (struct type, format "
                             "'+s'), got a stream of format '%s'",
                             source->format);
    }
    struct bc_schema *schema =
        bc__calloc(1, sizeof(*schema) + (size_t)n * sizeof(schema->fields[0]));
    if (schema == NULL) return bc__error_memory(error);
    schema->n_fields = (int32_t)n;
    int code = ENOMEM;
    schema->union_tables = bc__malloc((size_t)unions * UNION_IDS);
    if (schema->union_tables == NULL || ArrowSchemaDeepCopy(source, &schema->copy) != 0) {
        code = bc__error_memory(error);
    } else {
        normalize(&schema->copy);
        code = fill_fields(schema, error);
        if (code == 0) code = check_run_ends(schema, error);
        int64_t id = 0;
        if (code == 0) assign_dictionary_ids(schema, 0, &id);
    }
    if (code != 0) {
        bc__schema_free(schema);
        return code;
    }
    *out_schema = schema;
    return 0;
}

void bc__schema_free(struct bc_schema *schema) {
    if (schema == NULL) return;
    if (schema->copy.release != NULL) schema->copy.release(&schema->copy);
    bc__free(schema->union_tables);
    bc__free(schema);
}

int bc__schema_export(const struct bc_schema *schema, struct ArrowSchema *out_schema,
                      struct bc_error *error) {
    bc_assert(schema != NULL && out_schema != NULL);
    struct ArrowSchema copy = {0};
    if (ArrowSchemaDeepCopy(&schema->copy, &copy) != 0) return bc__error_memory(error);
    *out_schema = copy;
    return 0;
}

int32_t bc__schema_column_of(const struct bc_schema *schema, int32_t field) {
    bc_assert(field > 0 && field < schema->n_fields);
    while (schema->fields[field].parent > 0) field = schema->fields[field].parent;
    return field - schema->fields[0].first_child;
}

void bc__schema_field_path(const struct bc_schema *schema, int32_t field, char *out,
                           size_t size) {
    bc_assert(field >= 0 && field < schema->n_fields && size > 0);
    const struct bc_field *self = &schema->fields[field];
    out[0] = '\0';
    if (self->parent > 0) {
        bc__schema_field_path(schema, self->parent, out, size);
        bc__text_append(out, size, ".");
    }
    bool is_dictionary =
        self->parent >= 0 && schema->fields[self->parent].dictionary == field;
    const char *name = is_dictionary ? "dictionary" : self->schema->name;
    bc__text_append(out, size, "%s", name == NULL ? "" : name);
}
