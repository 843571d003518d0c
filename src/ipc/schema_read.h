/* Reads schemas in IPC metadata: in a stream's first message, and in a file's footer. */
#ifndef BC_IPC_SCHEMA_READ_H
#define BC_IPC_SCHEMA_READ_H

#include "arrow/schema.h"
#include "ipc/flatbuffer_reader.h"

/* Checks that the metadata's version can be read. ENOTSUP: it is not V4 or V5. */
int bc__schema_read_version(int version, struct bc_error *error);

/* Makes a schema from a Schema table, with the dictionary ids of the table. BC_DEPTH_MAX
 * bounds the recursion.
 * EINVAL: the table is invalid, or `flat` is broken.
 * ENOTSUP: a type or feature is unknown.
 * ENOMEM. */
int bc__schema_read(struct bc_flat *flat, const struct bc_flat_table *table,
                    struct bc_schema **out_schema, struct bc_error *error);

#endif
