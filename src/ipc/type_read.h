/* Reads types of IPC metadata, as formats of the C data interface. */
#ifndef BC_IPC_TYPE_READ_H
#define BC_IPC_TYPE_READ_H

#include "ipc/flatbuffer_reader.h"

struct ArrowSchema;

/* The reason why a type is refused. It continues the name of the field: "has ...". */
struct bc_type_problem {
    char message[96];
};

/* Gives `out_schema` the format of an integer type (Int). Errors as bc__type_read(). */
int bc__type_read_int(struct bc_flat *flat, const struct bc_flat_table *type,
                      struct ArrowSchema *out_schema,
                      struct bc_type_problem *out_problem);
/* Gives `out_schema` the format and the flags of a Field's type.
 * `n_children`: the number of the Field's children, which are not read.
 * `out_problem`: set for EINVAL and ENOTSUP, unless `flat` is broken.
 * EINVAL: the type is invalid.
 * ENOTSUP: the type is unknown.
 * ENOMEM. */
int bc__type_read(struct bc_flat *flat, const struct bc_flat_table *field,
                  uint32_t n_children, struct ArrowSchema *out_schema,
                  struct bc_type_problem *out_problem);

#endif
