#include "disk/delta_chain.h"

#include "base/alloc.h"
#include "base/check.h"

static const uint64_t CHAIN_BYTES_MAX = (uint64_t)256 << 20;

static void unlink_chain(struct bc_dictionaries *dictionaries, struct bc_chain *chain) {
    struct bc_chain **from_older =
        chain->older == NULL ? &dictionaries->oldest : &chain->older->newer;
    struct bc_chain **from_newer =
        chain->newer == NULL ? &dictionaries->newest : &chain->newer->older;
    *from_older = chain->newer;
    *from_newer = chain->older;
}

static void link_newest(struct bc_dictionaries *dictionaries, struct bc_chain *chain) {
    chain->newer = NULL;
    chain->older = dictionaries->newest;
    if (chain->older == NULL) {
        dictionaries->oldest = chain;
    } else {
        chain->older->newer = chain;
    }
    dictionaries->newest = chain;
}

static void free_chain(struct bc_dictionaries *dictionaries, struct bc_chain *chain) {
    unlink_chain(dictionaries, chain);
    dictionaries->chain_bytes -= chain->bytes;
    bc__delta_values_unref(chain->values);
    bc__free(chain);
}

struct bc_chain *bc__chains_use(struct bc_dictionaries *dictionaries, int32_t index,
                                uint64_t base) {
    struct bc_chain *chain = bc__dictionaries_chain(dictionaries, index, base);
    if (chain != NULL) {
        unlink_chain(dictionaries, chain);
        link_newest(dictionaries, chain);
        return chain;
    }
    chain = bc__calloc(1, sizeof(*chain));
    if (chain == NULL) return NULL;
    chain->index = index;
    chain->base = base;
    chain->values =
        bc__delta_values_new(dictionaries->schema, dictionaries->all[index].field);
    if (chain->values == NULL) {
        bc__free(chain);
        return NULL;
    }
    bc__dictionaries_set_chain(dictionaries, index, base, chain);
    link_newest(dictionaries, chain);
    return chain;
}

/* Removes the chain from its base, and the values of its other versions from the cache.
 */
static void detach_versions(struct bc_dictionaries *dictionaries,
                            const struct bc_chain *chain) {
    bc__dictionaries_set_chain(dictionaries, chain->index, chain->base, NULL);
    uint64_t parts = bc__delta_values_parts(chain->values);
    for (uint64_t i = 1; i < parts; i++) {
        bc__dictionaries_uncache(dictionaries, chain->index, chain->base + i);
    }
}

void bc__chains_trim(struct bc_dictionaries *dictionaries, struct bc_chain *used) {
    uint64_t bytes = bc__delta_values_bytes(used->values);
    dictionaries->chain_bytes += bytes - used->bytes;
    used->bytes = bytes;
    for (;;) {
        struct bc_chain *oldest = dictionaries->oldest;
        if (oldest == used) return;
        bool has_base =
            bc__dictionaries_has_version(dictionaries, oldest->index, oldest->base);
        if (has_base && dictionaries->chain_bytes <= CHAIN_BYTES_MAX) return;
        detach_versions(dictionaries, oldest);
        free_chain(dictionaries, oldest);
    }
}

void bc__chains_clear(struct bc_dictionaries *dictionaries) {
    while (dictionaries->oldest != NULL) free_chain(dictionaries, dictionaries->oldest);
}
