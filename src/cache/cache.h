/* A cache, shared by the files of this room. No other room looks inside.
 *
 *     source ─▶ ingest ─▶ store ─┬─▶ memory          reader ─▶ stream ─▶ consumer
 *                  ▲             └─▶ disk              │  │
 *                  └───────────── advance ─────────────┘  └─▶ store (published batches)
 *
 * Strong references: the user's, and one for each reader. With the last one the cache is
 * closed. Weak references: one for all strong ones, and one for the prefetching thread.
 * With the last one the cache is freed.
 *
 * Construction has these steps, and a failure undoes those that were done:
 *
 *     alloc ─▶ schema ─▶ disk ─▶ store ─▶ index ─▶ ingest ─▶ name ─▶ start
 *
 *     a cache (create.c)              x       x           x             x
 *     a recording (create.c)          x       x           x       x     x
 *     a resumed recording (create.c)  x       x     x     x             x
 *     an opened file (open.c)         x       x     x     x             x
 *
 * Closing happens once, in this order: `closed` is set; the ingest ends, so that waiting
 * threads wake and the source is released; each reader's lock is taken once and its
 * borrows are promoted, so that no reader needs the store any more; batches, mapping and
 * file are released. */
#ifndef BC_CACHE_CACHE_H
#define BC_CACHE_CACHE_H

#include "base/refcount.h"
#include "base/sys.h"
#include "disk/disk.h"
#include "record/ingest.h"
#include "record/prefetch.h"
#include "replay/reader.h"
#include "store/store.h"

/* A cursor of one call that looks at slots. While it is listed, the batches from `number`
 * on stay. On the caller's stack. */
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
    struct bc_schema *schema;
    int32_t *columns; /* the selected columns, or NULL; set before its first reader */
    struct bc_projection *selection;
    struct bc_store store;
    struct bc_ingest ingest;
    struct bc_disk disk;
    struct bc_identity identity; /* of a recording's file */
    struct bc_mutex lock;        /* guards what follows */
    struct bc_cache *writer;     /* of the followed recording, with a reference */
    struct bc_list readers;
    uint64_t readers_made;
    uint64_t max_readers;
    uint64_t evicted_below; /* earlier batches are evicted: no reader starts there */
    struct bc_list pins;
    uint64_t memory_hits; /* of closed readers */
    uint64_t disk_hits;
    struct bc_member member; /* in the registry of the process (fork.c) */
};

static inline struct bc_reader *bc__reader_of(struct bc_link *link) {
    return BC_CONTAINER(link, struct bc_reader, link);
}

/* In a fork's child the source and the file are the parent's. The child releases nothing
 * of them. */
static inline bool bc__cache_is_forked(const struct bc_cache *cache) {
    return cache->ingest.process != bc__sys_process();
}

/* ---- construction (cache.c) ---- */

/* Makes an empty cache. ENOMEM. */
int bc__cache_alloc(uint64_t max_readers, struct bc_cache **out_cache,
                    struct bc_error *error);
/* Frees a cache whose construction failed. It has no ingest. */
void bc__cache_discard(struct bc_cache *cache);
/* Adds the store. ENOMEM. */
int bc__cache_init_store(struct bc_cache *cache, uint64_t memory_capacity,
                         enum bc_write_policy policy, struct bc_error *error);
/* Adds the ingest: `source` moves in, or is NULL. ENOMEM. */
int bc__cache_init_ingest(struct bc_cache *cache, struct ArrowArrayStream *source,
                          const struct bc_ingest_options *options,
                          struct bc_error *error);
/* Removes the ingest: the source moves back. */
void bc__cache_undo_ingest(struct bc_cache *cache, struct ArrowArrayStream *out_source);
/* Finds out which file a recording is, so that followers in this process find its
 * writer. EIO. */
int bc__cache_identify(struct bc_cache *cache, struct bc_error *error);
/* Registers the cache, and starts the prefetching thread. ENOMEM, EAGAIN. */
int bc__cache_start(struct bc_cache *cache, struct bc_error *error);
/* Makes a recording, as bc_cache_new does; its name is given later. (create.c) */
int bc__cache_new_unnamed(struct ArrowArrayStream *source,
                          const struct bc_cache_options *options,
                          struct bc_cache **out_cache, struct bc_error *error);
/* The memory budget that `wanted` stands for. (create.c) */
uint64_t bc__cache_memory_budget(uint64_t wanted);

/* ---- batches that stay (evict.c) ---- */

/* Pins the batches from `number` on. EINVAL: batch `number` was evicted. */
int bc__cache_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number,
                  struct bc_error *error);
/* Pins all batches that are not evicted: from `pin->number` on. */
void bc__cache_pin_first(struct bc_cache *cache, struct bc_pin *pin);
/* Moves the pin to `number`. No lock is held. */
void bc__cache_move_pin(struct bc_cache *cache, struct bc_pin *pin, uint64_t number);
void bc__cache_unpin(struct bc_cache *cache, struct bc_pin *pin);
/* In a fork's child, with the cache's lock held: keeps the pins of this thread. The other
 * pins are on the stacks of threads that the child does not have. */
void bc__cache_pins_forked(struct bc_cache *cache);
/* Evicts the batches that no reader and no pin needs. True if one was evicted. */
bool bc__cache_evict(struct bc_cache *cache);
/* EINVAL: batch `number` was evicted. The cache's lock is held. */
int bc__cache_check_evicted(const struct bc_cache *cache, uint64_t number,
                            struct bc_error *error);

/* ---- the rest ---- */

/* A reader that max_readers does not count. (readers.c) */
int bc__cache_reader(struct bc_cache *cache, const struct bc_reader_options *options,
                     bool counted, struct bc_reader **out_reader, struct bc_error *error);
/* Until bc__cache_leave, the cache is not closed, and no batch is stored. EINVAL: it is
 * closed. (cache.c) */
int bc__cache_enter(struct bc_cache *cache, struct bc_error *error);
void bc__cache_leave(struct bc_cache *cache);
/* The cache has opened a file. */
static inline bool bc__cache_is_opened(const struct bc_cache *cache) {
    return cache->has_disk && cache->disk.encoder.metadata == NULL;
}

/* Asks the writer for a follower's next batch; bc_ingest_options has `request`.
 * (follow.c) */
int bc__cache_request(void *context, int code, struct bc_error *error);
/* Looks for the writer, before other threads see the follower. */
void bc__cache_find_writer(struct bc_cache *cache);
/* Releases the writer when the follower is closed. */
void bc__cache_release_writer(struct bc_cache *cache);

/* The cache of this process that writes this recording, with a reference; or NULL.
 * (fork.c) */
struct bc_cache *bc__cache_writer_of(struct bc_identity identity);
/* Between these calls, a fork waits for the cache's locks, which stay valid. */
void bc__cache_register(struct bc_cache *cache);
void bc__cache_unregister(struct bc_cache *cache);

#endif
