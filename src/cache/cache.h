/* What a cache is: shared by cache.c (its life, its limits), cache_readers.c (who
 * reads it), cache_files.c and cache_follow.c. Nobody else looks inside. */
#ifndef BC_CACHE_CACHE_H
#define BC_CACHE_CACHE_H

#include "base/sys.h"
#include "disk/disk.h"
#include "record/ingest.h"
#include "replay/reader.h"
#include "store/store.h"

/* A cursor for one call that looks at slots: the batches from `number` on stay while it
 * stands. On the caller's stack, in the cache's list. */
struct bc_pin {
    uint64_t number;
    uintptr_t thread;
    struct bc_pin *next;
    struct bc_pin *previous;
};

struct bc_cache {
    atomic_uint refs;
    atomic_uint weak_refs;
    atomic_bool closed;
    atomic_bool is_made; /* nothing can fail any more that would free it */
    bool has_disk;
    struct bc_schema *schema;
    int32_t *columns; /* that it is narrowed to, or NULL; before its first reader */
    struct bc_projection *selection;
    struct bc_store store;
    struct bc_ingest ingest;
    struct bc_disk disk;
    struct bc_tier_ops tier;
    struct bc_identity identity; /* of its file */
    struct bc_mutex lock;        /* guards what follows */
    struct bc_cache *writer;     /* that writes what this one follows, with a reference */
    struct bc_reader *readers;
    uint64_t readers_made;
    uint64_t readers_max;
    uint64_t evicted_below; /* batches that are going, or gone: no reader starts there */
    struct bc_pin *pins;
    uint64_t hits_memory; /* of readers that are gone */
    uint64_t hits_disk;
    struct bc_member member; /* of what the process has (cache_fork.c) */
};

/* In a fork's child the source and the file are the parent's: what closing gives back
 * elsewhere, the child's exit does. */
static inline bool bc__cache_is_forked(const struct bc_cache *cache) {
    return cache->ingest.process != bc__sys_process();
}

/* How a cache comes to be, beyond what its options say. */
struct bc_cache_origin {
    bool is_nameless;                     /* a recording gets its name later */
    const struct bc_disk_source *opening; /* a file instead of a source */
};
/* bc_cache_new, and the same for files, where `source` is NULL and the file moves in. */
int bc__cache_init(struct ArrowArrayStream *source,
                   const struct bc_cache_options *options,
                   const struct bc_cache_origin *origin, struct bc_cache **out_cache,
                   struct bc_error *error);
/* A reader that readers_max does not count. */
int bc__cache_reader(struct bc_cache *cache, const struct bc_reader_options *options,
                     bool counted, struct bc_reader **out_reader, struct bc_error *error);
/* Pins the batches from `number` on. EINVAL: batch `number` was evicted. */
int bc__cache_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number,
                  struct bc_error *error);
/* Pins all batches that are not evicted: from `pin->number` on. */
void bc__cache_pin_first(struct bc_cache *cache, struct bc_pin *pin);
/* The pin holds the batches from `number` on. No lock is held. */
void bc__cache_move_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number);
void bc__cache_unpin(struct bc_cache *cache, struct bc_pin *pin);
/* In a fork's child, with the cache's lock held: the pins of this thread stay. The others
 * stand on the stacks of threads that are not there. */
void bc__cache_pins_forked(struct bc_cache *cache);
/* The trailer, with the ingest's `store_lock` lock held or nobody else inside. */
int bc__cache_finalize(struct bc_disk *disk, const struct bc_store *store,
                       struct bc_error *error);

/* What brings the batches of an opened file. (cache_follow.c) */
struct bc_file_source bc__cache_file_source(struct bc_cache *cache);
/* Before others see the cache, which follows; and when it is closed. */
void bc__cache_find_writer(struct bc_cache *cache);
void bc__cache_release_writer(struct bc_cache *cache);

/* The cache of this process that writes this recording, with a reference; or NULL. */
struct bc_cache *bc__cache_writer_of(struct bc_identity identity);
/* From here on, and until there, a fork waits for the cache's locks. In between they stay
 * valid. */
void bc__cache_register(struct bc_cache *cache);
void bc__cache_unregister(struct bc_cache *cache);

#endif
