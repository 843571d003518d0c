/* Compares a dictionary's values with the values that were written before. */
#ifndef BC_IPC_DICTIONARY_CHANGE_H
#define BC_IPC_DICTIONARY_CHANGE_H

#include "arrow/batch.h"

enum bc_dictionary_change { BC_CHANGE_REPLACED, BC_CHANGE_NONE, BC_CHANGE_APPENDED };

/* Returns whether `values` equal `before`, append to it, or replace it. Both are values
 * of the same field, and their offsets are not trusted.
 *
 * It compares values without nulls of a fixed width of whole bytes, and (large) strings
 * and binaries. Other values are BC_CHANGE_REPLACED. */
enum bc_dictionary_change bc__dictionary_change_of(const struct bc_field *field,
                                                   const struct bc_node *before,
                                                   const struct bc_node *values);

#endif
