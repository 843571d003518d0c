/* Dictionaries that grow: what only was added is written as a delta, and read back behind
 * what was there before.
 *
 * That is done for values without nulls that stand in one or two flat buffers: numbers
 * and the like of whole bytes, and (large) strings and binaries. The parts are copied
 * into buffers with room to grow, of which every version of the dictionary takes as many
 * values as it has: what a version covers never changes. */
#ifndef BC_DISK_GROWN_H
#define BC_DISK_GROWN_H

#include "arrow/batch.h"

enum bc_growth { BC_GROWTH_NONE, BC_GROWTH_SAME, BC_GROWTH_MORE };

/* What `values` are to `before`, values of the same field: the same, these and more, or
 * (also where that is not looked into) something else. */
enum bc_growth bc__grown_compare(const struct bc_field *field,
                                 const struct bc_node *before,
                                 const struct bc_node *values);

/* Values of a dictionary and its deltas; counted. One thread at a time appends. */
struct bc_grown;
void bc__grown_unref(struct bc_grown *grown);
/* Appends a part to `*grown`, which may be NULL, and may be replaced by a larger one.
 * ENOTSUP: values that we do not write as parts; EINVAL: wrong ones; ENOMEM. */
int bc__grown_append(struct bc_grown **grown, const struct bc_field *field,
                     const struct bc_node *part);
/* The first `length` values as the one node of a batch that keeps them. EINVAL: there are
 * not so many; ENOMEM. */
int bc__grown_batch(struct bc_grown *grown, const struct bc_field *field, int64_t length,
                    struct bc_batch **out_batch);

#endif
