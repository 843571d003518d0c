/* Schemas of a few columns for the tests. Freed by the caller. */
#ifndef BC_TESTS_LIB_SCHEMA_BUILDER_H
#define BC_TESTS_LIB_SCHEMA_BUILDER_H

#include "arrow/schema.h"
#include "nanoarrow/nanoarrow.h"
#include "tap.h"

/* Imports and releases the C schema. */
static inline struct bc_schema *schema_import(struct ArrowSchema *c_schema) {
    struct bc_schema *schema;
    CHECK(bc__schema_new(c_schema, &schema, NULL) == 0);
    c_schema->release(c_schema);
    return schema;
}

/* Returns a schema of `n` columns of one type. */
static inline struct bc_schema *schema_of_type(int n, enum ArrowType type) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, n) == 0);
    for (int i = 0; i < n; i++) {
        CHECK(ArrowSchemaSetType(c_schema.children[i], type) == 0);
    }
    return schema_import(&c_schema);
}

/* Returns a schema of one column of this format, with children of one type. */
static inline struct bc_schema *schema_of_format(const char *format, int64_t n_children,
                                                 enum ArrowType child_type) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    struct ArrowSchema *column = c_schema.children[0];
    CHECK(ArrowSchemaSetFormat(column, format) == 0);
    CHECK(ArrowSchemaAllocateChildren(column, n_children) == 0);
    for (int64_t i = 0; i < n_children; i++) {
        ArrowSchemaInit(column->children[i]);
        CHECK(ArrowSchemaSetType(column->children[i], child_type) == 0);
        CHECK(ArrowSchemaSetName(column->children[i], "x") == 0);
    }
    return schema_import(&c_schema);
}

#endif
