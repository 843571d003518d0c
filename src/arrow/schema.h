/* A copy of a stream's schema, and its fields as a flat table.
 *
 * The table is breadth first: field 0 is the root struct, and the children of a field are
 * neighbours. Child i of a field is the field at index `first_child + i`. The values of a
 * dictionary are one more field, after the children. Batches keep their nodes in the same
 * order, so a tree of arrays is one block with one pointer table. */
#ifndef BC_ARROW_SCHEMA_H
#define BC_ARROW_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "batchcorder/batchcorder.h"

/* Physical layouts. Recording depends on a type's layout only. */
enum bc_layout {
    BC_LAYOUT_NULL,
    BC_LAYOUT_FIXED,        /* validity, values of `bits` bits; also dictionary indices */
    BC_LAYOUT_BINARY,       /* validity, offsets of `bits` bits, bytes */
    BC_LAYOUT_VIEW,         /* validity, 16-byte views, variadic buffers, their sizes */
    BC_LAYOUT_LIST,         /* validity, offsets of `bits` bits; also maps */
    BC_LAYOUT_LIST_VIEW,    /* validity, offsets and sizes of `bits` bits */
    BC_LAYOUT_FIXED_LIST,   /* validity; `list_size` child values for each value */
    BC_LAYOUT_STRUCT,       /* validity */
    BC_LAYOUT_SPARSE_UNION, /* type ids */
    BC_LAYOUT_DENSE_UNION,  /* type ids, 32-bit offsets */
    BC_LAYOUT_RUN_END       /* no buffers; run ends and values as children */
};

/* The most fields of a schema, and the most levels below its root. */
enum { BC_FIELDS_MAX = 1 << 20, BC_DEPTH_MAX = 128 };

struct bc_field {
    enum bc_layout kind;
    bool has_validity;
    bool is_required;  /* it may have no null: a map's entries and keys */
    int32_t n_buffers; /* of the C data interface; for views, without variadic buffers */
    int32_t bits;
    int32_t list_size;
    int32_t n_children;
    int32_t first_child;
    int32_t dictionary;               /* field of the dictionary's values, or -1 */
    int64_t dictionary_id;            /* in the IPC format; if it has a dictionary */
    int32_t parent;                   /* -1 for the root */
    size_t alignment;                 /* of the second buffer */
    const int8_t *union_children;     /* unions: for 128 type ids, the child or -1 */
    const struct ArrowSchema *schema; /* the field in the copy */
};

struct bc_schema {
    int32_t n_fields;
    int32_t n_without_bitmap; /* fields of layouts without a validity bitmap */
    bool is_big_endian;       /* the byte order of buffers in the file of the schema */
    struct ArrowSchema copy;
    int8_t *union_tables;
    struct bc_field fields[];
};

/* Makes a schema from a copy of `source`, whose root must be a struct.
 *
 * Flags without a meaning for their field are cleared. A map's entries and keys become
 * not nullable: DuckDB up to 1.1 marks them as nullable, which consumers refuse.
 * EINVAL: the schema is invalid, or too deep or too wide.
 * ENOTSUP: a type is not supported.
 * ENOMEM. */
int bc__schema_new(const struct ArrowSchema *source, struct bc_schema **out_schema,
                   struct bc_error *error);
/* Frees a schema; NULL and incomplete ones are allowed. */
void bc__schema_free(struct bc_schema *schema);

/* Exports a copy of the schema, which the consumer releases. ENOMEM. */
int bc__schema_export(const struct bc_schema *schema, struct ArrowSchema *out_schema,
                      struct bc_error *error);

/* Initialises nanoarrow's view of a field. It also accepts fixed-size binary of width 0,
 * which nanoarrow refuses. `out_reason`: receives the error message; NULL means none.
 * EINVAL: the type is invalid. */
struct ArrowSchemaView;
struct ArrowError;
int bc__schema_view(const struct ArrowSchema *schema, struct ArrowSchemaView *out_view,
                    struct ArrowError *out_reason);

/* Returns the index of the column that contains a field. The field is not the root. */
int32_t bc__schema_column_of(const struct bc_schema *schema, int32_t field);

/* Writes the dotted path of a field, for error messages: "a.b.item". */
void bc__schema_field_path(const struct bc_schema *schema, int32_t field, char *out,
                           size_t size);

#endif
