/* A dictionary and its deltas in contiguous memory, for values of any type.
 *
 * Part 0 is the whole dictionary, and each later part is a delta. Each part is copied
 * once, after the previous parts, into growing memory. After each part, a mark records
 * the length of each column. The dictionary after any part is thus a batch over the same
 * memory, and the bytes of this batch never change:
 *
 *      memory   | part 0 | part 1 | part 2 | free capacity
 *      batch 0  |--------|
 *      batch 2  |--------------------------|
 *
 * Bitmaps are the exception, since two parts may share a byte. Each batch has a copy.
 *
 * A part may be hostile. The pass that copies it checks all offsets, sizes, views and
 * type ids. */
#ifndef BC_IPC_DELTA_VALUES_H
#define BC_IPC_DELTA_VALUES_H

#include "arrow/batch.h"

/* Reference-counted. One thread at a time appends parts and makes batches. */
struct bc_delta_values;

/* Returns empty delta values, or NULL without memory.
 * `schema`: borrowed while parts are appended and batches made.
 * `field`: index of the field of the values. */
struct bc_delta_values *bc__delta_values_new(const struct bc_schema *schema,
                                             int32_t field);
/* Drops a reference; NULL is allowed. */
void bc__delta_values_unref(struct bc_delta_values *values);
/* Returns the number of parts. */
uint64_t bc__delta_values_parts(const struct bc_delta_values *values);
/* Returns the allocated bytes. */
uint64_t bc__delta_values_bytes(const struct bc_delta_values *values);
/* Appends a decoded part. On failure nothing changes.
 * `part`: has only the nodes of the values, depth first.
 * EINVAL: the part is invalid, or too large for the type's offsets.
 * ENOMEM. */
int bc__delta_values_append(struct bc_delta_values *values, const struct bc_batch *part);
/* Makes a batch of the values of parts 0 to `part`. It references the delta values.
 * ENOMEM. */
int bc__delta_values_batch(struct bc_delta_values *values, uint64_t part,
                           struct bc_batch **out_batch);
/* Returns the number of dictionary values that indices reach in parts 0 to `part`.
 * `node`: index of the node of the indices, depth first. */
int64_t bc__delta_values_reached(const struct bc_delta_values *values, uint64_t part,
                                 int32_t node);

#endif
