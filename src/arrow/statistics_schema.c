/* The schema of the table of statistics. */
#include <stdio.h>
#include <string.h>

#include "arrow/statistics_table.h"
#include "base/alloc.h"
#include "base/error.h"
#include "nanoarrow/nanoarrow.h"

static int set_field(struct ArrowSchema *schema, const char *name, const char *format,
                     int64_t n_children) {
    ArrowSchemaInit(schema);
    int code = ArrowSchemaSetFormat(schema, format);
    if (code == 0) code = ArrowSchemaSetName(schema, name);
    if (code == 0 && n_children > 0) {
        code = ArrowSchemaAllocateChildren(schema, n_children);
    }
    return code;
}

/* Returns the dotted path of a field, which is not cut. The caller frees it. */
static char *path_of(const struct bc_schema *schema, int32_t field) {
    size_t size = 1;
    for (int32_t at = field; at > 0; at = schema->fields[at].parent) {
        const char *name = schema->fields[at].schema->name;
        size += name == NULL ? 1 : strlen(name) + 1;
    }
    char *path = bc__malloc(size);
    if (path != NULL) bc__schema_field_path(schema, field, path, size);
    return path;
}

/* Writes the child indices from the schema to a field, with dots between them. */
static void write_indices(const struct bc_schema *schema, int32_t field, char *out,
                          size_t size) {
    int32_t parent = schema->fields[field].parent;
    out[0] = '\0';
    if (parent > 0) {
        write_indices(schema, parent, out, size);
        bc__text_append(out, size, ".");
    }
    bc__text_append(out, size, "%d", (int)(field - schema->fields[parent].first_child));
}

/* Up to seven digits and a dot for each level, and a NUL. */
enum { PATH_BYTES = (BC_DEPTH_MAX + 1) * 8 };
static const char path_key[] = "batchcorder.path";

static int set_path(struct ArrowSchema *schema, const char *indices) {
    struct ArrowBuffer metadata;
    int code = ArrowMetadataBuilderInit(&metadata, NULL);
    if (code == 0) {
        code = ArrowMetadataBuilderAppend(&metadata, ArrowCharView(path_key),
                                          ArrowCharView(indices));
    }
    if (code == 0) code = ArrowSchemaSetMetadata(schema, (const char *)metadata.data);
    ArrowBufferReset(&metadata);
    return code;
}

int bc__statistics_set_column(struct ArrowSchema *leaf, int32_t column) {
    struct ArrowStringView path = ArrowCharView("");
    int code = ArrowMetadataGetValue(leaf->metadata, ArrowCharView(path_key), &path);
    if (code != 0) return code;
    int64_t digits = 0;
    while (digits < path.size_bytes && path.data[digits] != '.') digits++;
    char indices[PATH_BYTES];
    indices[0] = '\0';
    bc__text_append(indices, sizeof(indices), "%d%.*s", (int)column,
                    (int)(path.size_bytes - digits), path.data + digits);
    return set_path(leaf, indices);
}

static int set_leaf(struct ArrowSchema *schema, const struct bc_schema *stream,
                    const struct bc_leaf *leaf) {
    char indices[PATH_BYTES];
    write_indices(stream, leaf->field, indices, sizeof(indices));
    char *path = path_of(stream, leaf->field);
    if (path == NULL) return ENOMEM;
    const char *format = stream->fields[leaf->values].schema->format;
    /* Bounds of wide values are cut. */
    if (format[0] == 'w' && stream->fields[leaf->values].bits > BC_BOUND_BYTES * 8) {
        format = "z";
    }
    bool has_nans = leaf->order == BC_ORDER_FLOAT;
    int code = set_field(schema, path, "+s", has_nans ? 5 : 4);
    bc__free(path);
    struct ArrowSchema **children = schema->children;
    if (code == 0) code = set_path(schema, indices);
    if (code == 0) code = set_field(children[BC_LEAF_NULLS], "null_count", "l", 0);
    if (code == 0) code = set_field(children[BC_LEAF_LOW], "min", format, 0);
    if (code == 0) code = set_field(children[BC_LEAF_HIGH], "max", format, 0);
    if (code == 0) code = set_field(children[BC_LEAF_EXACT], "exact", "b", 0);
    if (code == 0 && has_nans) {
        code = set_field(children[BC_LEAF_NANS], "nan_count", "l", 0);
    }
    return code;
}

int bc__statistics_schema(const struct bc_statistics *statistics,
                          struct bc_schema **out_schema) {
    struct ArrowSchema schema = {0};
    int code = set_field(&schema, "", "+s",
                         (int64_t)statistics->n_leaves + BC_STATISTICS_COLUMNS);
    if (code == 0) code = set_field(schema.children[0], "batch", "l", 0);
    if (code == 0) code = set_field(schema.children[1], "row_count", "l", 0);
    for (int32_t i = 0; i < statistics->n_leaves && code == 0; i++) {
        code = set_leaf(schema.children[i + BC_STATISTICS_COLUMNS], statistics->schema,
                        &statistics->leaves[i]);
    }
    if (code == 0) code = bc__schema_new(&schema, out_schema, NULL);
    if (schema.release != NULL) schema.release(&schema);
    return code;
}
