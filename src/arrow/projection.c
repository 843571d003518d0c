#include "arrow/projection.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

/* The release of a borrowed root: the schema is its owner's. */
static void release_nothing(struct ArrowSchema *schema) { (void)schema; }

/* Makes the schema of the columns, by copying a root that borrows them. */
static int make_projected_schema(const struct bc_schema *schema, const int32_t *columns,
                                 int64_t n_columns, struct bc_schema **out_schema,
                                 struct bc_error *error) {
    struct ArrowSchema **children = bc__malloc((size_t)n_columns * sizeof(*children));
    if (children == NULL) return bc__error_memory(error);
    for (int64_t i = 0; i < n_columns; i++) {
        children[i] = schema->copy.children[columns[i]];
    }
    struct ArrowSchema root = schema->copy;
    root.children = children;
    root.n_children = n_columns;
    root.release = release_nothing;
    int code = bc__schema_new(&root, out_schema, error);
    bc__free(children);
    return code;
}

/* Fills `fields`. Both schemas are breadth first: a field comes before its children. */
static void map_fields(struct bc_projection *projection, const struct bc_schema *all,
                       const int32_t *columns) {
    const struct bc_schema *some = projection->schema;
    projection->fields[0] = 0;
    for (int32_t i = 0; i < some->n_fields; i++) {
        const struct bc_field *to = &some->fields[i];
        const struct bc_field *from = &all->fields[projection->fields[i]];
        for (int32_t c = 0; c < to->n_children; c++) {
            int32_t child = i == 0 ? columns[c] : c;
            projection->fields[to->first_child + c] = from->first_child + child;
        }
        if (to->dictionary >= 0) projection->fields[to->dictionary] = from->dictionary;
    }
}

int bc__projection_new(const struct bc_schema *schema, const int32_t *columns,
                       int64_t n_columns, struct bc_projection **out_projection,
                       struct bc_error *error) {
    bc_assert(n_columns >= 0 && (columns != NULL || n_columns == 0));
    int32_t n_all = schema->fields[0].n_children;
    for (int64_t i = 0; i < n_columns; i++) {
        if (columns[i] >= 0 && columns[i] < n_all) continue;
        return bc__error_set(error, EINVAL,
                             "Column number %d does not exist: the stream has %d columns",
                             (int)columns[i], (int)n_all);
    }
    struct bc_projection *projection = bc__calloc(1, sizeof(*projection));
    if (projection == NULL) return bc__error_memory(error);
    projection->n_columns = n_all;
    projection->n_words = (size_t)n_all / 64 + 1;
    int code =
        make_projected_schema(schema, columns, n_columns, &projection->schema, error);
    if (code == 0) {
        size_t n_fields = (size_t)projection->schema->n_fields;
        projection->fields = bc__malloc(n_fields * sizeof(projection->fields[0]));
        projection->columns = bc__calloc(projection->n_words, sizeof(uint64_t));
        if (projection->fields == NULL || projection->columns == NULL) {
            code = bc__error_memory(error);
        }
    }
    if (code != 0) {
        bc__projection_free(projection);
        return code;
    }
    map_fields(projection, schema, columns);
    for (int64_t i = 0; i < n_columns; i++) {
        projection->columns[columns[i] / 64] |= (uint64_t)1 << (columns[i] % 64);
    }
    *out_projection = projection;
    return 0;
}

void bc__projection_free(struct bc_projection *projection) {
    if (projection == NULL) return;
    bc__schema_free(projection->schema);
    bc__free(projection->fields);
    bc__free(projection->columns);
    bc__free(projection);
}
