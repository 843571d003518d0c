/* What the values of a dictionary are to those that were written before. */
#ifndef BC_IPC_DICTIONARY_CHANGE_H
#define BC_IPC_DICTIONARY_CHANGE_H

#include "arrow/batch.h"

enum bc_dictionary_change { BC_CHANGE_REPLACED, BC_CHANGE_NONE, BC_CHANGE_APPENDED };

/* What `values` are to `before`, values of the same field: the same, these and more, or
 * (also where that is not looked into) something else. Looked into are values without
 * nulls in one or two flat buffers: numbers and the like of whole bytes, and (large)
 * strings and binaries. Offsets are not trusted. */
enum bc_dictionary_change bc__dictionary_change_of(const struct bc_field *field,
                                                   const struct bc_node *before,
                                                   const struct bc_node *values);

#endif
