/* Chains: the delta values of a dictionary and its deltas, kept for every version.
 *
 * The first read of a delta creates its chain. A chain has the parts up to the latest
 * version that was read, and later parts are appended when they are needed. While the
 * chain is kept, each part is read and copied once, in any order of reads:
 *
 *      newest <-> chain <-> chain <-> oldest       by their last use
 *
 * The chains of a file take at most CHAIN_BYTES_MAX together. Above the limit, the oldest
 * chains are freed, and the cached values of their versions with them. The chain in use
 * always stays. A batch keeps the memory of its chain alive.
 *
 * All functions need the chain lock. */
#ifndef BC_DISK_DELTA_CHAIN_H
#define BC_DISK_DELTA_CHAIN_H

#include "disk/dictionary.h"
#include "ipc/delta_values.h"

struct bc_chain {
    struct bc_chain *newer, *older;
    struct bc_delta_values *values;
    uint64_t bytes; /* its share of `chain_bytes` */
    int32_t index;
    uint64_t base; /* number of the version that is its first part */
};

/* Returns the chain of version `base` of a dictionary, as the newest chain of the list.
 * Creates an empty chain if there is none. NULL: out of memory. */
struct bc_chain *bc__chains_use(struct bc_dictionaries *dictionaries, int32_t index,
                                uint64_t base);
/* Counts the growth of `used`. Frees the oldest chains while the total is above the limit
 * or their base version is released. */
void bc__chains_trim(struct bc_dictionaries *dictionaries, struct bc_chain *used);

#endif
