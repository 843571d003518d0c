/* Reads batches back from the disk tier. Internal to src/store. */
#ifndef BC_STORE_READBACK_H
#define BC_STORE_READBACK_H

#include "store/store.h"

/* Reads a batch from disk. Where that is all of it, its nodes stay in the slot for later
 * reads, which then cost what those from memory do, as long as all such nodes take little
 * memory. */
int bc__store_read_back(struct bc_store *store, struct bc_slot *slot, uint64_t number,
                        const struct bc_projection *projection, bool quick,
                        struct bc_batch **out_batch, bool *out_borrowed,
                        struct bc_error *error);

#endif
