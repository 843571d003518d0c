/* Types of the IPC metadata, read as formats of the C data interface. */
#ifndef BC_IPC_TYPE_READ_H
#define BC_IPC_TYPE_READ_H

#include "ipc/flatbuffer_reader.h"

struct ArrowSchema;

/* What is wrong with a type, to stand behind the name of its field: "has ...". */
struct bc_type_problem {
    char words[96];
};

/* Gives `out_schema` the format of an integer type (Int), and the flags and the format of
 * the type of a Field that has `n_children` (they are not looked at). 0, ENOMEM; EINVAL
 * and ENOTSUP with `*out_problem`, unless `flat` is broken. */
int bc__type_read_int(struct bc_flat *flat, const struct bc_flat_table *type,
                      struct ArrowSchema *out_schema,
                      struct bc_type_problem *out_problem);
int bc__type_read(struct bc_flat *flat, const struct bc_flat_table *field,
                  uint32_t n_children, struct ArrowSchema *out_schema,
                  struct bc_type_problem *out_problem);

#endif
