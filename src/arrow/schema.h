/* A stream's schema: a copy, and its fields as a flat table.
 *
 * The fields stand breadth first: field 0 is the root struct, and the children of a field
 * are neighbours, so that a tree of arrays is one block with one pointer table (the child
 * number i of field f is field `first_child + i`). A dictionary's values follow as a
 * child of their own. Batches keep their nodes in the same order. */
#ifndef BC_ARROW_SCHEMA_H
#define BC_ARROW_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "batchcorder/batchcorder.h"

/* Memory layouts, which is all that recording needs to know of a type. */
enum bc_layout {
    BC_LAYOUT_NULL,
    BC_LAYOUT_FIXED,        /* validity, values of `bits` bits; dictionary indices too */
    BC_LAYOUT_BINARY,       /* validity, offsets of `bits` bits, bytes */
    BC_LAYOUT_VIEW,         /* validity, 16-byte views, variadic buffers, their sizes */
    BC_LAYOUT_LIST,         /* validity, offsets of `bits` bits; maps too */
    BC_LAYOUT_LIST_VIEW,    /* validity, offsets and sizes of `bits` bits */
    BC_LAYOUT_FIXED_LIST,   /* validity; `list_size` child values each */
    BC_LAYOUT_STRUCT,       /* validity */
    BC_LAYOUT_SPARSE_UNION, /* type ids */
    BC_LAYOUT_DENSE_UNION,  /* type ids, 32-bit offsets */
    BC_LAYOUT_RUN_END       /* no buffers; run ends and values as children */
};

/* Fields in all, and levels below the root, of the largest schema that we take. */
enum { BC_FIELDS_MAX = 1 << 20, BC_DEPTH_MAX = 128 };

struct bc_field {
    enum bc_layout kind;
    bool has_validity;
    bool is_required;  /* a map's entries and keys: no null in them */
    int32_t n_buffers; /* of the C data interface; the least, where it varies (views) */
    int32_t bits;
    int32_t list_size;
    int32_t n_children;
    int32_t first_child;
    int32_t dictionary;               /* field of the dictionary's values, or -1 */
    int64_t dictionary_id;            /* in the IPC format, with a dictionary */
    int32_t parent;                   /* -1 for the root */
    size_t alignment;                 /* of the second buffer */
    const int8_t *union_children;     /* 128: child of each type id, or -1; unions only */
    const struct ArrowSchema *schema; /* in the copy */
};

struct bc_schema {
    int32_t n_fields;
    int32_t n_without_bitmap; /* fields of kinds that have none */
    bool is_big_endian;       /* the buffers of the file that it was read from are */
    struct ArrowSchema copy;
    int8_t *union_tables;
    struct bc_field fields[];
};

/* Copies `source`, whose root must be a struct. Flags that mean nothing where they stand
 * are left out, and a map's entries and keys are not nullable whatever a producer (DuckDB
 * up to 1.1) says: consumers refuse such fields. EINVAL, ENOMEM. */
int bc__schema_new(const struct ArrowSchema *source, struct bc_schema **out_schema,
                   struct bc_error *error);
/* Frees it, NULL and half-built ones too. */
void bc__schema_free(struct bc_schema *schema);

/* A copy of the copy, for a consumer to release. */
int bc__schema_export(const struct bc_schema *schema, struct ArrowSchema *out_schema,
                      struct bc_error *error);

/* nanoarrow's view of a field, also of the one type that it refuses: fixed-size binary of
 * no bytes. 0 or EINVAL; the words, where there are any, go to `out_reason`. */
struct ArrowSchemaView;
struct ArrowError;
int bc__schema_view(const struct ArrowSchema *schema, struct ArrowSchemaView *out_view,
                    struct ArrowError *out_reason);

/* The column, from 0, that a field below the root is or is part of. */
int32_t bc__schema_column_of(const struct bc_schema *schema, int32_t field);

/* The dotted path of a field, for messages: "a.b.item". */
void bc__schema_field_path(const struct bc_schema *schema, int32_t field, char *out,
                           size_t size);

#endif
