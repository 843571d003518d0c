/* Values of a dictionary and those that deltas add, of any type, behind each other.
 *
 * The first part is the whole dictionary, the others are deltas. Each part is copied
 * once, behind the parts before it, into memory with room to grow. After every part a
 * mark says how much of each column there is. So the dictionary after any part is a batch
 * over the same memory, and what it covers never changes:
 *
 *      memory   | part 0 | part 1 | part 2 | room to grow
 *      batch 0  |--------|
 *      batch 2  |--------------------------|
 *
 * Bitmaps are the exception: two parts may share a byte. Each batch has its own copy.
 *
 * Whatever part is appended may be hostile: all offsets, sizes, views and ids in it are
 * checked by the pass that copies them. */
#ifndef BC_IPC_DELTA_VALUES_H
#define BC_IPC_DELTA_VALUES_H

#include "arrow/batch.h"

/* Counted. One thread at a time appends and makes batches. */
struct bc_delta_values;

/* Makes an empty one for values of field number `field`. The schema is borrowed for
 * appends and batches. NULL without memory. */
struct bc_delta_values *bc__delta_values_new(const struct bc_schema *schema,
                                             int32_t field);
void bc__delta_values_unref(struct bc_delta_values *values);
uint64_t bc__delta_values_parts(const struct bc_delta_values *values);
/* The memory that it takes. */
uint64_t bc__delta_values_bytes(const struct bc_delta_values *values);
/* Appends a decoded part, which has the nodes of the values alone, depth first. EINVAL:
 * it is broken, or too much for the type's offsets; ENOMEM. On failure nothing changes.
 */
int bc__delta_values_append(struct bc_delta_values *values, const struct bc_batch *part);
/* Makes a batch of the values up to part number `part`, which keeps them. ENOMEM. */
int bc__delta_values_batch(struct bc_delta_values *values, uint64_t part,
                           struct bc_batch **out_batch);
/* How many values of its dictionary node number `place`, which is of indices, reaches in
 * the parts up to `part`. */
int64_t bc__delta_values_reached(const struct bc_delta_values *values, uint64_t part,
                                 int32_t place);

#endif
