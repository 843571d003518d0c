/* A cache. Only the files of src/cache access its members.
 *
 *     source ─▶ ingest ─▶ store ─┬─▶ memory          reader ─▶ stream ─▶ consumer
 *                  ▲             └─▶ disk              │  │
 *                  └───────────── advance ─────────────┘  └─▶ store (published batches)
 *
 * Strong references: those of the user, and one for each reader. When the last one is
 * dropped, the cache is closed. Weak references: one for all strong references, and one
 * for the prefetching thread. When the last one is dropped, the cache is freed.
 *
 * Construction has these steps. If a step fails, the earlier steps are undone.
 *
 *     alloc ─▶ schema ─▶ disk ─▶ store ─▶ index ─▶ ingest ─▶ name ─▶ start
 *
 *     a cache (create.c)              x       x           x             x
 *     a recording (create.c)          x       x           x       x     x
 *     a resumed recording (create.c)  x       x     x     x             x
 *     an opened file (open.c)         x       x     x     x             x
 *
 * A cache is closed once, in this order:
 *
 * 1. `closed` is set.
 * 2. The ingest ends: waiting threads wake, and the source is released.
 * 3. Each reader's borrows are promoted, with its lock: no reader needs the store then.
 * 4. The batches, the mapping and the file are released. */
#ifndef BC_CACHE_CACHE_H
#define BC_CACHE_CACHE_H

#include "base/refcount.h"
#include "base/sys.h"
#include "disk/disk.h"
#include "record/ingest.h"
#include "record/prefetch.h"
#include "replay/reader.h"
#include "store/store.h"

/* A pin: a cursor of one call that reads slots. While it is listed, no batch from
 * `number` on is evicted. It is on the caller's stack. */
struct bc_pin {
    uint64_t number;
    uintptr_t thread;
    struct bc_link link;
};

struct bc_cache {
    atomic_uint refs;
    atomic_uint weak_refs;
    atomic_bool closed;
    atomic_bool is_made; /* construction cannot fail any more */
    bool has_disk;
    bool has_store;
    enum bc_statistics_policy statistics_policy;
    struct bc_statistics
        *statistics; /* guarded by the ingest's store_lock; may be NULL */
    struct bc_schema *schema;
    int32_t *columns; /* the selected columns, or NULL; set before its first reader */
    struct bc_projection *selection;
    struct bc_store store;
    struct bc_ingest ingest;
    struct bc_disk disk;
    struct bc_identity identity; /* of a recording's file */
    struct bc_mutex lock;        /* guards the members below */
    struct bc_cache *writer; /* the followed recording's writer, referenced; or NULL */
    struct bc_takeover_calls *takeover; /* of a follower; or NULL */
    struct bc_list readers;
    uint64_t readers_made;
    uint64_t max_readers;
    uint64_t evicted_below; /* earlier batches are evicted: no reader starts there */
    struct bc_list pins;
    uint64_t n_inside;    /* of a storage: threads between enter and leave */
    bool is_emptied;      /* of a storage: its batches and file are released */
    uint64_t memory_hits; /* of closed readers */
    uint64_t disk_hits;
    struct bc_member member; /* in the registry of the process (fork.c) */
};

static inline struct bc_reader *bc__reader_of(struct bc_link *link) {
    return BC_CONTAINER(link, struct bc_reader, link);
}

/* Returns true for a file that functions of the caller read. */
static inline bool bc__cache_has_storage(const struct bc_cache *cache) {
    return cache->has_disk && bc__file_has_storage(&cache->disk.file);
}

/* Returns true in a fork's child. The source and the file belong to the parent, so the
 * child does not release them. */
static inline bool bc__cache_is_forked(const struct bc_cache *cache) {
    return cache->ingest.process != bc__sys_process();
}

/* ---- construction (cache.c) ---- */

/* Allocates an empty cache. ENOMEM. */
int bc__cache_alloc(uint64_t max_readers, struct bc_cache **out_cache,
                    struct bc_error *error);
/* Frees a cache whose construction failed. It has no ingest. */
void bc__cache_discard(struct bc_cache *cache);
/* Adds the store. ENOMEM. */
int bc__cache_init_store(struct bc_cache *cache, uint64_t memory_capacity,
                         enum bc_write_policy policy, struct bc_error *error);
/* Adds the ingest. On success `source` moves in. `source`: may be NULL. ENOMEM. */
int bc__cache_init_ingest(struct bc_cache *cache, struct ArrowArrayStream *source,
                          const struct bc_ingest_options *options,
                          struct bc_error *error);
/* Removes the ingest: the source moves back. */
void bc__cache_undo_ingest(struct bc_cache *cache, struct ArrowArrayStream *out_source);
/* Sets the identity of a recording's file, by which followers of this process find its
 * writer. Returns 0 or the errno of the read. */
int bc__cache_identify(struct bc_cache *cache, struct bc_error *error);
/* Registers the cache, and starts the prefetching thread. ENOMEM, EAGAIN. */
int bc__cache_start(struct bc_cache *cache, struct bc_error *error);
/* Like bc_cache_new(), for a recording that gets its name later. (create.c) */
int bc__cache_new_unnamed(struct ArrowArrayStream *source,
                          const struct bc_cache_options *options,
                          struct bc_cache **out_cache, struct bc_error *error);
/* EINVAL: the hooks lack `enter` or `leave`. (create.c) */
int bc__cache_check_hooks(const struct bc_hooks *hooks, struct bc_error *error);
/* Returns the memory budget. `wanted`: bytes, or BC_BYTES_DEFAULT. (create.c) */
uint64_t bc__cache_memory_budget(uint64_t wanted);

/* ---- eviction and pins (evict.c) ---- */

/* Pins the batches from `number` on. EINVAL: batch `number` was evicted. */
int bc__cache_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number,
                  struct bc_error *error);
/* Pins all batches that are not evicted, and sets `pin->number` to the first one. */
void bc__cache_pin_first(struct bc_cache *cache, struct bc_pin *pin);
/* Moves the pin to `number`. No lock is held. */
void bc__cache_move_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number);
/* Removes the pin, and evicts the batches that it kept. No lock is held. */
void bc__cache_unpin(struct bc_cache *cache, struct bc_pin *pin);
/* In a fork's child, with the cache's lock held: keeps the pins of this thread. The other
 * pins are on the stacks of threads that the child does not have. */
void bc__cache_pins_forked(struct bc_cache *cache);
/* Evicts the batches that no reader and no pin needs. Returns true if a batch was
 * evicted, by any thread. */
bool bc__cache_evict(struct bc_cache *cache);
/* Checks that batch `number` is not evicted. The cache's lock is held. EINVAL: it is. */
int bc__cache_check_evicted(const struct bc_cache *cache, uint64_t number,
                            struct bc_error *error);

/* ---- statistics (statistics.c) ---- */

/* Gathers the statistics of each batch from now on. Called before the first batch is
 * stored. ENOMEM. */
int bc__cache_gather_all(struct bc_cache *cache, struct bc_error *error);
/* Gathers the statistics of all recorded batches and columns that lack them. Fails as
 * bc_cache_statistics() does. */
int bc__cache_gather(struct bc_cache *cache, struct bc_error *error);

/* ---- the rest ---- */

/* Makes a reader. `counted`: max_readers counts it. (readers.c) */
int bc__cache_reader(struct bc_cache *cache, const struct bc_reader_options *options,
                     bool counted, struct bc_reader **out_reader, struct bc_error *error);
/* Prevents other threads from storing a batch, or releasing the file in close, until
 * bc__cache_leave. EINVAL: the cache is closed. (cache.c) */
int bc__cache_enter(struct bc_cache *cache, struct bc_error *error);
void bc__cache_leave(struct bc_cache *cache);
/* Returns true if the cache was opened from a file. */
static inline bool bc__cache_is_opened(const struct bc_cache *cache) {
    return cache->has_disk && cache->disk.encoder.metadata == NULL;
}

/* Requests a follower's next batch from its writer, as the `request` of
 * bc_ingest_options. (follow.c) */
int bc__cache_request(void *context, int code, bool *out_failed, struct bc_error *error);
/* Finds the writer. Called before other threads see the follower. */
void bc__cache_find_writer(struct bc_cache *cache);
/* Releases the writer when the follower is closed. */
void bc__cache_release_writer(struct bc_cache *cache);
/* Replaces the follower's writer. The reference moves in. */
void bc__cache_replace_writer(struct bc_cache *cache, struct bc_cache *writer);
/* Starts a writer of a recording whose writer died, by the functions of
 * bc_cache_allow_takeover(). Without functions, returns EOWNERDEAD. `out_failed`: true if
 * the returned error is permanent. EAGAIN: the file must be scanned again. (takeover.c)
 */
int bc__cache_take_over(struct bc_cache *cache, bool *out_failed, struct bc_error *error);
/* Releases the functions when the follower is closed. (takeover.c) */
void bc__cache_release_takeover(struct bc_cache *cache);

/* Returns the cache of this process that writes the recording, referenced, or NULL.
 * (fork.c) */
struct bc_cache *bc__cache_writer_of(struct bc_identity identity);
/* Adds the cache to the registry, until bc__cache_unregister: a fork acquires the cache's
 * locks, which must be valid. */
void bc__cache_register(struct bc_cache *cache);
void bc__cache_unregister(struct bc_cache *cache);

#endif
