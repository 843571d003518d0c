/* Chains: a dictionary and its deltas, put together once and kept for every version.
 *
 * A chain is made when a delta is read first. It has the parts up to the latest version
 * that was read, and takes the next ones as they are needed. So however versions are
 * read, each part is read and copied once, as long as its chain is kept:
 *
 *      newest <-> chain <-> chain <-> oldest       by their last use
 *
 * The chains of a file take CHAIN_BYTES_MAX together. Beyond that the oldest ones go, and
 * with them what was decoded of their versions; the one in use stays in any case. So does
 * what a batch holds: it keeps the memory of its chain.
 *
 * All of this needs the chain lock. */
#ifndef BC_DISK_DELTA_CHAIN_H
#define BC_DISK_DELTA_CHAIN_H

#include "disk/dictionary.h"
#include "ipc/delta_values.h"

struct bc_chain {
    struct bc_chain *newer, *older;
    struct bc_delta_values *values;
    uint64_t bytes; /* of it, in the sum of all */
    int32_t index;
    uint64_t base; /* the version that is its first part */
};

/* The chain of version `base` of a dictionary, which becomes the newest one; an empty
 * one, where there was none. NULL without memory. */
struct bc_chain *bc__chains_use(struct bc_dictionaries *dictionaries, int32_t index,
                                uint64_t base);
/* The chain has grown: gives others up where all take too much, and those whose versions
 * were given up. */
void bc__chains_trim(struct bc_dictionaries *dictionaries, struct bc_chain *used);

#endif
