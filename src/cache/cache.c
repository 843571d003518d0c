/* The facade: wires the layers and owns their lifetime.
 *
 *     source ─▶ ingest ─▶ store ─┬─▶ memory          reader ─▶ stream ─▶ consumer
 *                  ▲             └─▶ disk              │  │
 *                  └───────────── advance ─────────────┘  └─▶ store (published batches)
 *
 * References: the user's, and one for each reader; with the last one the cache is closed.
 * Holds: one for all references, and one for the thread that prefetches; with the last
 * one it is freed. Closing happens once, in this order:
 * `closed` is set; the ingest ends (waiters wake, the source goes); every reader's lock
 * is taken once and its borrows are settled, so that nobody needs the store any more;
 * batches, mapping and file go. */
#include "cache/cache.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "disk/errors.h"

const char *bc_version(void) { return BC_VERSION; }

static int tier_append(void *context, struct bc_batch *batch,
                       const struct bc_buffer_ranges *ranges, bool more,
                       struct bc_extent *out_extent, struct bc_error *error) {
    return bc__disk_append(context, batch, ranges, more, &out_extent->offset,
                           &out_extent->size, error);
}

static int tier_flush(void *context, struct bc_error *error) {
    struct bc_disk *disk = context;
    return bc__file_flush(&disk->file, error);
}

static int tier_read(void *context, struct bc_extent extent, uint64_t number,
                     const struct bc_projection *projection, const uint64_t *unverified,
                     int64_t bytes_max, struct bc_batch **out_batch,
                     struct bc_error *error) {
    const struct bc_disk_read what = {projection, unverified, bytes_max};
    return bc__disk_read(context, extent.offset, extent.size, number, what, out_batch,
                         error);
}

static uint64_t tier_read_cost(void *context, struct bc_extent extent, uint64_t rows,
                               bool is_new) {
    return bc__disk_read_cost(context, extent.size, rows, is_new);
}

static void tier_release(void *context, struct bc_extent extent) {
    bc__disk_release(context, extent.offset, extent.size);
}

static void tier_release_retired(void *context, bool done) {
    bc__disk_release_retired(context, done);
}

static int tier_check(void *context, struct bc_error *error) {
    return bc__disk_check(context, error);
}

static int tier_locate(void *context, uint64_t number, struct bc_index_entry *out_entry,
                       struct bc_error *error) {
    struct bc_trailer_batch batch;
    uint64_t rows;
    int code = bc__disk_locate(context, number, &batch, &rows, error);
    if (code != 0) return code;
    *out_entry = (struct bc_index_entry){
        {batch.offset, batch.size}, (uint64_t)batch.first_row, rows};
    return 0;
}

static int tier_finalize(void *context, const struct bc_store *store,
                         struct bc_error *error) {
    return bc__cache_finalize(context, store, error);
}

static void tier_abort(void *context) {
    struct bc_disk *disk = context;
    bc__file_abort(&disk->file);
}

static int check_options(const struct bc_cache_options *options, struct bc_error *error) {
    int code = bc__error_struct_size(options->struct_size, sizeof(*options),
                                     "BC_CACHE_OPTIONS_INIT", error);
    if (code != 0) return code;
    if (options->write_policy != BC_WRITE_ON_INSERTION &&
        options->write_policy != BC_WRITE_ON_EVICTION) {
        return bc__error_set(error, EINVAL, "Unknown write policy %d",
                             (int)options->write_policy);
    }
    if (options->compression < BC_COMPRESSION_NONE ||
        options->compression > BC_COMPRESSION_ZSTD) {
        return bc__error_set(error, EINVAL, "Unknown compression %d",
                             (int)options->compression);
    }
    if (options->hooks != NULL &&
        (options->hooks->enter == NULL || options->hooks->leave == NULL)) {
        return bc__error_set(error, EINVAL, "Hooks need both enter and leave");
    }
    if (options->record_path == NULL) return 0;
    if (options->disk_path != NULL || options->readers_max != 0 || !options->checksums ||
        options->write_policy != BC_WRITE_ON_INSERTION) {
        return bc__error_set(error, EINVAL,
                             "A recording keeps all batches, with checksums, in its own "
                             "file: no disk_path, readers_max or write policy");
    }
    return 0;
}

static uint64_t memory_budget(uint64_t wanted) {
    if (wanted != BC_BYTES_DEFAULT) return wanted;
    uint64_t memory = bc__sys_memory();
    return memory - memory / 8;
}

/* What a cache has besides its store and its ingest. */
static void free_parts(struct bc_cache *cache) {
    if (cache->has_disk) bc__disk_finish(&cache->disk);
    bc__projection_free(cache->selection);
    bc__free(cache->columns);
    bc__schema_free(cache->schema);
    bc__mutex_finish(&cache->lock);
    bc__free(cache);
}

static int open_disk(struct bc_cache *cache, const struct bc_cache_options *options,
                     const struct bc_cache_origin *origin, struct bc_error *error) {
    bool is_recording = options->record_path != NULL;
    if (options->disk_path == NULL && !is_recording && origin->opening == NULL) return 0;
    const struct bc_disk_options disk = {
        .path = is_recording ? options->record_path : options->disk_path,
        .is_recording = is_recording,
        .durable = options->durable != 0,
        .is_named_later = origin->is_nameless,
        .bytes_max = options->disk_bytes_max,
        .evicts = options->readers_max != 0,
        .checksums = options->checksums != 0,
        .codec = (enum bc_codec)options->compression,
    };
    int code;
    if (origin->opening != NULL) {
        code = bc__disk_open_file(&cache->disk, origin->opening, &cache->schema, error);
    } else if (options->resume && is_recording) {
        code = bc__disk_resume(&cache->disk, cache->schema, &disk, error);
    } else {
        code = bc__disk_open(&cache->disk, cache->schema, &disk, error);
    }
    if (code != 0) return code;
    cache->has_disk = true;
    cache->tier = (struct bc_tier_ops){
        .append = tier_append,
        .flush = tier_flush,
        .read = tier_read,
        .read_cost = tier_read_cost,
        .release = tier_release,
        .release_retired = tier_release_retired,
        .check = tier_check,
        .locate = origin->opening != NULL && cache->disk.has_trailer ? tier_locate : NULL,
        .finalize = is_recording ? tier_finalize : NULL,
        .abort = is_recording ? tier_abort : NULL,
        .copies_on_read = cache->disk.copies,
        .context = &cache->disk,
    };
    return 0;
}

/* Gives a hold back, and frees the cache with the last one. */
static void release_weak(struct bc_cache *cache) {
    unsigned before =
        atomic_fetch_sub_explicit(&cache->weak_refs, 1, memory_order_acq_rel);
    bc_assert(before > 0);
    /* A source that forked in the thread that prefetches: the rest is the parent's. */
    if (before != 1 || bc__cache_is_forked(cache)) return;
    /* First: a fork has none of the locks, nor wants them, when they are destroyed. */
    bc__cache_unregister(cache);
    bc__ingest_finish(&cache->ingest);
    bc__store_finish(&cache->store);
    free_parts(cache);
}

static void prefetch(void *context) {
    struct bc_cache *cache = context;
    bc__prefetch_run(&cache->ingest);
    release_weak(cache);
}

static int start_prefetch(struct bc_cache *cache, struct bc_error *error) {
    if (cache->ingest.prefetch.ahead == 0) return 0;
    (void)atomic_fetch_add(&cache->weak_refs, 1);
    int code = bc__thread_start(prefetch, cache);
    if (code == 0) return 0;
    (void)atomic_fetch_sub(&cache->weak_refs, 1);
    return bc__error_set(error, code, "Failed to start the thread that prefetches: %s",
                         strerror(code));
}

/* The batches that a file has already: those of an index, or of a recording to go on
 * with. */
static int load_batches(struct bc_cache *cache, bool resumes, struct bc_error *error) {
    struct bc_disk *disk = &cache->disk;
    const struct bc_file_source file_source = bc__cache_file_source(cache);
    if (!resumes) {
        if (!disk->has_trailer) return 0;
        const struct bc_trailer *trailer = &disk->trailer;
        return bc__store_load_index(&cache->store, (uint64_t)trailer->batches,
                                    (uint64_t)trailer->rows, (uint64_t)trailer->bytes,
                                    error);
    }
    for (;;) {
        struct bc_extent extent;
        uint64_t rows;
        int code = bc__store_reserve(&cache->store, error);
        if (code == 0)
            code = file_source.next(file_source.context, &extent, &rows, error);
        if (code != 0) return code;
        if (extent.size == 0) break;
        bc__store_put_extent(&cache->store, extent, rows);
    }
    return bc__disk_start_appending(disk, error);
}

/* A recording's file, for a follower in this process to find who writes it. */
static int identify(struct bc_cache *cache, struct bc_error *error) {
    const struct bc_disk *disk = &cache->disk;
    if (!cache->has_disk || !(disk->follows || disk->file.publishes_last)) return 0;
    int code = bc__sys_identity(disk->file.file, &cache->identity);
    return code == 0 ? 0 : bc__disk_error_reading(disk, code, error);
}

/* What fills the store; a source moves in on success. */
static int open_ingest(struct bc_cache *cache, struct ArrowArrayStream *source,
                       const struct bc_cache_options *options, bool names,
                       struct bc_error *error) {
    struct bc_ingest_options ingest = {
        .resumable = source != NULL && bc__reader_is_stream(source),
        .hooks = options->hooks,
        .prefetch = options->prefetch,
        .exhausted = source == NULL && cache->disk.has_trailer,
    };
    if (source == NULL && !ingest.exhausted) {
        ingest.file_source = bc__cache_file_source(cache);
    }
    int code = bc__ingest_init(&cache->ingest, source, &cache->store, &ingest);
    if (code != 0) return bc__error_memory(error);
    code = identify(cache, error);
    if (code == 0 && names) code = bc__disk_publish_name(&cache->disk, error);
    if (code == 0) {
        bc__cache_register(cache);
        code = start_prefetch(cache, error);
        if (code != 0) bc__cache_unregister(cache);
        if (code != 0 && names) bc__file_unlink_name(&cache->disk.file);
    }
    if (code != 0) bc__ingest_undo(&cache->ingest, source);
    return code;
}

/* The store, and what fills it. */
static int open_store(struct bc_cache *cache, struct ArrowArrayStream *source,
                      const struct bc_cache_options *options,
                      const struct bc_cache_origin *origin, struct bc_error *error) {
    int code = bc__store_init(
        &cache->store, cache->schema, memory_budget(options->memory_bytes_max),
        cache->has_disk ? &cache->tier : NULL, options->write_policy);
    if (code != 0) return bc__error_memory(error);
    bool is_recording = options->record_path != NULL;
    bool resumes = is_recording && options->resume;
    if (origin->opening != NULL || resumes) code = load_batches(cache, resumes, error);
    if (code == 0) {
        bool names = is_recording && !resumes && !origin->is_nameless;
        code = open_ingest(cache, source, options, names, error);
    }
    if (code != 0) {
        bc__store_clear(&cache->store);
        bc__store_finish(&cache->store);
    }
    return code;
}

int bc__cache_init(struct ArrowArrayStream *source,
                   const struct bc_cache_options *options,
                   const struct bc_cache_origin *origin, struct bc_cache **out_cache,
                   struct bc_error *error) {
    struct bc_cache *cache = bc__calloc(1, sizeof(*cache));
    int code = cache == NULL ? ENOMEM : bc__mutex_init(&cache->lock);
    if (code != 0) {
        bc__free(cache);
        if (origin->opening != NULL) bc__sys_close(origin->opening->file);
        return bc__error_memory(error);
    }
    atomic_init(&cache->refs, 1);
    atomic_init(&cache->weak_refs, 1);
    cache->readers_max = options->readers_max;
    if (source != NULL) code = bc__source_schema(source, &cache->schema, error);
    if (code == 0) code = open_disk(cache, options, origin, error);
    if (code == 0) code = open_store(cache, source, options, origin, error);
    if (code == 0) {
        if (origin->opening != NULL && origin->opening->follows) {
            bc__cache_find_writer(cache);
        }
        atomic_store(&cache->is_made, true);
        *out_cache = cache;
        return 0;
    }
    free_parts(cache);
    return code;
}

int bc_cache_new(struct ArrowArrayStream *source, const struct bc_cache_options *options,
                 struct bc_cache **out_cache, struct bc_error *error) {
    bc_assert(out_cache != NULL);
    if (source == NULL || source->release == NULL) {
        return bc__error_set(error, EINVAL, "The source is a released stream");
    }
    static const struct bc_cache_options defaults = BC_CACHE_OPTIONS_INIT;
    if (options == NULL) options = &defaults;
    int code = check_options(options, error);
    if (code != 0) return code;
    const struct bc_cache_origin origin = {false, NULL};
    return bc__cache_init(source, options, &origin, out_cache, error);
}

struct bc_cache *bc_cache_ref(struct bc_cache *cache) {
    (void)atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
    return cache;
}

void bc_cache_unref(struct bc_cache *cache) {
    if (cache == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&cache->refs, 1, memory_order_acq_rel);
    bc_assert(before > 0);
    if (before != 1 || bc__cache_is_forked(cache)) return;
    bc_cache_close(cache);
    release_weak(cache);
}

void bc_cache_close(struct bc_cache *cache) {
    if (atomic_exchange(&cache->closed, true) || bc__cache_is_forked(cache)) return;
    bc__ingest_close(&cache->ingest);
    bc__mutex_lock(&cache->lock);
    for (struct bc_reader *reader = cache->readers; reader != NULL;
         reader = reader->next) {
        bc__reader_promote(reader);
    }
    bc__mutex_unlock(&cache->lock);
    bc__store_clear(&cache->store);
    if (cache->has_disk) bc__disk_close(&cache->disk);
    bc__cache_release_writer(cache);
}

int bc_cache_failure(struct bc_cache *cache, const char **out_words) {
    bc_assert(cache != NULL && out_words != NULL);
    return bc__ingest_failure(&cache->ingest, out_words);
}

static enum bc_state state_of(struct bc_cache *cache) {
    if (atomic_load(&cache->closed)) return BC_STATE_CLOSED;
    const char *words;
    if (bc__ingest_failure(&cache->ingest, &words) != 0) return BC_STATE_FAILED;
    return bc__ingest_exhausted(&cache->ingest) ? BC_STATE_EXHAUSTED : BC_STATE_OPEN;
}

int bc_cache_schema(struct bc_cache *cache, struct ArrowSchema *out_schema,
                    struct bc_error *error) {
    /* Set once, under the lock. */
    bc__mutex_lock(&cache->lock);
    const struct bc_schema *schema =
        cache->selection == NULL ? cache->schema : cache->selection->schema;
    bc__mutex_unlock(&cache->lock);
    return bc__schema_export(schema, out_schema, error);
}

void bc_cache_stats(struct bc_cache *cache, struct bc_cache_stats *stats) {
    bc_assert(stats != NULL && stats->struct_size == sizeof(*stats));
    stats->state = state_of(cache);
    stats->exhausted = bc__ingest_exhausted(&cache->ingest);
    stats->batches = bc__store_published(&cache->store);
    stats->rows = atomic_load(&cache->store.rows);
    stats->bytes = atomic_load(&cache->store.bytes);
    stats->batches_evicted = atomic_load(&cache->store.first);
    stats->source_calls = atomic_load(&cache->ingest.source.calls);
    stats->source_ns = atomic_load(&cache->ingest.source.nanoseconds);
    stats->resumed = cache->ingest.n_recorded;
    stats->waiting = atomic_load(&cache->ingest.waiters);
    stats->disk_bytes = 0;
    stats->disk_bytes_max = 0;
    if (cache->has_disk) {
        if (stats->state != BC_STATE_CLOSED)
            stats->disk_bytes = bc__file_used(&cache->disk.file);
        stats->disk_bytes_max = atomic_load(&cache->disk.file.limit);
    }
    bc__mutex_lock(&cache->store.lock);
    stats->memory_bytes_max = cache->store.budget.limit;
    stats->memory_bytes = cache->store.budget.used + cache->store.budget.reserved;
    bc__mutex_unlock(&cache->store.lock);
    bc__mutex_lock(&cache->lock);
    stats->readers = cache->readers_made;
    stats->hits_memory = cache->hits_memory;
    stats->hits_disk = cache->hits_disk;
    for (const struct bc_reader *reader = cache->readers; reader != NULL;
         reader = reader->next) {
        stats->hits_memory += atomic_load(&reader->hits_memory);
        stats->hits_disk += atomic_load(&reader->hits_disk);
    }
    bc__mutex_unlock(&cache->lock);
}

const char *bc_cache_path(const struct bc_cache *cache) {
    return cache->has_disk ? cache->disk.file.path : NULL;
}

int bc_cache_limit_memory(struct bc_cache *cache, uint64_t bytes_max,
                          struct bc_error *error) {
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    bc__mutex_lock(&cache->store.lock);
    cache->store.budget.limit = memory_budget(bytes_max);
    bc__mutex_unlock(&cache->store.lock);
    return 0;
}

int bc_cache_limit_disk(struct bc_cache *cache, uint64_t bytes_max,
                        struct bc_error *error) {
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    if (!cache->has_disk) {
        return bc__error_set(error, EINVAL,
                             "The cache has no disk tier whose capacity could be set");
    }
    atomic_store(&cache->disk.file.limit, bytes_max);
    return 0;
}

int bc_cache_reserve(struct bc_cache *cache, uint64_t bytes) {
    struct bc_budget *budget = &cache->store.budget;
    bc__mutex_lock(&cache->store.lock);
    uint64_t free_bytes = bc__budget_free(budget);
    int fits = free_bytes >= budget->reserved && free_bytes - budget->reserved >= bytes;
    if (fits) budget->reserved += bytes;
    bc__mutex_unlock(&cache->store.lock);
    return fits;
}

void bc_cache_unreserve(struct bc_cache *cache, uint64_t bytes) {
    bc__mutex_lock(&cache->store.lock);
    bc_assert(cache->store.budget.reserved >= bytes);
    cache->store.budget.reserved -= bytes;
    bc__mutex_unlock(&cache->store.lock);
}

int bc_cache_overcommitted(struct bc_cache *cache) {
    const struct bc_budget *budget = &cache->store.budget;
    bc__mutex_lock(&cache->store.lock);
    int over = budget->reserved > bc__budget_free(budget);
    bc__mutex_unlock(&cache->store.lock);
    return over;
}
