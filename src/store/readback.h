/* Reads batches back from the disk tier. Internal to src/store. */
#ifndef BC_STORE_READBACK_H
#define BC_STORE_READBACK_H

#include "store/store.h"

/* Reads a batch from disk. If all columns are read, the slot keeps the nodes for
 * later reads, which are then as cheap as reads from memory. The nodes of all slots have
 * a limit. Parameters and errors: those of bc__store_get. EINVAL: the batch was
 * evicted. */
int bc__store_read_back(struct bc_store *store, struct bc_slot *slot,
                        const struct bc_store_read *request, struct bc_batch **out_batch,
                        bool *out_borrowed, struct bc_error *error);

#endif
