/* What a cache is: shared by cache.c (its life, its limits) and cache_readers.c (who
 * reads it). Nobody else looks inside. */
#ifndef BC_CACHE_H
#define BC_CACHE_H

#include "disk/disk.h"
#include "record/ingest.h"
#include "replay/reader.h"
#include "store/store.h"

struct bc_cache {
    atomic_uint refs;
    atomic_uint holds;
    atomic_bool closed;
    bool has_disk;
    struct bc_schema *schema;
    struct bc_store store;
    struct bc_ingest ingest;
    struct bc_disk disk;
    struct bc_backing backing;
    struct bc_mutex lock; /* guards what follows */
    struct bc_reader *readers;
    uint64_t readers_made;
    uint64_t readers_max;
    uint64_t evicted_below; /* batches that are going, or gone: no reader starts there */
    uint64_t hits_memory;   /* of readers that are gone */
    uint64_t hits_disk;
    struct bc_cache *next; /* in the process's list (cache_fork.c) */
    struct bc_cache *previous;
};

/* From here on, and until there, a fork waits for the cache's locks. */
void bc__cache_enlist(struct bc_cache *cache);
void bc__cache_delist(struct bc_cache *cache);

#endif
