/* Schemas of the IPC metadata: of a stream's first message, and of a file's footer. */
#ifndef BC_IPC_SCHEMA_READ_H
#define BC_IPC_SCHEMA_READ_H

#include "arrow/schema.h"
#include "ipc/flatbuffer_reader.h"

/* The metadata's versions that are read: V4 and V5. 0, or ENOTSUP with words. */
int bc__schema_read_version(int version, struct bc_error *error);

/* Makes a schema of a Schema table, with the dictionary ids that it has. EINVAL, also
 * where `flat` is broken; ENOMEM; ENOTSUP: types and features that are not
 * known. Recursion is bounded by BC_DEPTH_MAX. */
int bc__schema_read(struct bc_flat *flat, const struct bc_flat_table *table,
                    struct bc_schema **out_schema, struct bc_error *error);

#endif
