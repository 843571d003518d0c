/* Readers of a cache: their creation, and the operations that they call. */
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"

/* Flushes a durable recording, so that a batch is on the disk before a reader gets it. */
static int sync_recording(struct bc_cache *cache, struct bc_error *error) {
    if (!cache->has_disk || !cache->disk.file.durable) return 0;
    /* The parent does this. */
    if (bc__cache_is_forked(cache)) return 0;
    bc__mutex_lock(&cache->ingest.store_lock);
    bool closed = atomic_load(&cache->closed);
    int code = closed ? 0 : bc__store_flush(&cache->store, error);
    bc__mutex_unlock(&cache->ingest.store_lock);
    return code;
}

/* Advances the ingest. If memory is short, evicts batches that no reader needs, and
 * retries. */
static int advance_ingest(void *context, uint64_t number, struct bc_error *error) {
    struct bc_cache *cache = context;
    for (;;) {
        int code = bc__ingest_advance(&cache->ingest, number, error);
        if (code == 0) return sync_recording(cache, error);
        if (code != ENOMEM || !bc__cache_evict(cache)) return code;
    }
}

int bc_cache_ingest_to(struct bc_cache *cache, uint64_t batches, uint64_t *out_batches,
                       struct bc_error *error) {
    bc_assert(cache != NULL && out_batches != NULL);
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    if (batches > 0) {
        uint64_t last = batches == UINT64_MAX ? batches : batches - 1;
        int code = advance_ingest(cache, last, error);
        if (code != 0) return code;
    }
    *out_batches = bc__store_published(&cache->store);
    return 0;
}

int bc_cache_ingest(struct bc_cache *cache, uint64_t *out_batches,
                    struct bc_error *error) {
    return bc_cache_ingest_to(cache, UINT64_MAX, out_batches, error);
}

/* Checked at every move: another thread may be evicting below an older low-water mark. */
static void on_advance(void *context) { (void)bc__cache_evict(context); }

static void on_close(void *context, struct bc_reader *reader) {
    struct bc_cache *cache = context;
    bc__mutex_lock(&cache->lock);
    bc__list_remove(&cache->readers, &reader->link);
    cache->memory_hits += atomic_load(&reader->memory_hits);
    cache->disk_hits += atomic_load(&reader->disk_hits);
    bc__mutex_unlock(&cache->lock);
    (void)bc__cache_evict(cache);
    bc_cache_unref(cache);
}

static int enter_file(void *context, struct bc_error *error) {
    return bc__cache_enter(context, error);
}

static void leave_file(void *context) { bc__cache_leave(context); }

/* Checks that the reader may be admitted. The cache's lock is held. */
static int check_reader(const struct bc_cache *cache, const struct bc_reader *reader,
                        struct bc_error *error) {
    if (atomic_load(&cache->closed)) {
        return bc__error_closed(error);
    }
    if (reader->counted && cache->max_readers != 0 &&
        cache->readers_made >= cache->max_readers) {
        return bc__error_set_kind(error, BC_ERROR_TOO_MANY, EINVAL,
                                  "Maximum number of readers (%llu) has been reached",
                                  (unsigned long long)cache->max_readers);
    }
    uint64_t first =
        reader->order == NULL ? bc_reader_position(reader) : bc__reader_mark(reader);
    return bc__cache_check_evicted(cache, first, error);
}

/* Admits the reader if it may start at its position. */
static int admit_reader(struct bc_cache *cache, struct bc_reader *reader,
                        struct bc_error *error) {
    bc__mutex_lock(&cache->lock);
    if (bc_reader_position(reader) == BC_READER_FRONTIER && reader->order == NULL) {
        atomic_store(&reader->cursor, bc__store_published(&cache->store));
    }
    int code = check_reader(cache, reader, error);
    if (code == 0) {
        bc__list_add(&cache->readers, &reader->link);
        if (reader->counted) cache->readers_made++;
        (void)bc_cache_ref(cache);
    }
    bc__mutex_unlock(&cache->lock);
    return code;
}

/* Makes the projection of the columns with these indices in the cache's schema. If
 * `columns` is NULL and the cache has all columns, the projection is NULL. */
static int project(struct bc_cache *cache, const int32_t *columns, int64_t n,
                   struct bc_projection **out_projection, struct bc_error *error) {
    *out_projection = NULL;
    /* Both members are set once, with the lock. */
    bc__mutex_lock(&cache->lock);
    bool is_selected = cache->columns != NULL;
    bc__mutex_unlock(&cache->lock);
    if (!is_selected) {
        if (columns == NULL) return 0;
        return bc__projection_new(cache->schema, columns, n, out_projection, error);
    }
    int32_t n_selected = cache->selection->schema->fields[0].n_children;
    if (columns == NULL) {
        return bc__projection_new(cache->schema, cache->columns, n_selected,
                                  out_projection, error);
    }
    int32_t *translated = bc__malloc(((size_t)n + 1) * sizeof(*translated));
    if (translated == NULL) return bc__error_memory(error);
    for (int64_t i = 0; i < n; i++) {
        bool is_one = columns[i] >= 0 && columns[i] < n_selected;
        translated[i] = is_one ? cache->columns[columns[i]] : -1;
    }
    int code = bc__projection_new(cache->schema, translated, n, out_projection, error);
    bc__free(translated);
    return code;
}

int bc__cache_reader(struct bc_cache *cache, const struct bc_reader_options *options,
                     bool counted, struct bc_reader **out_reader,
                     struct bc_error *error) {
    static const struct bc_reader_ops keeping = {.advance = advance_ingest,
                                                 .on_close = on_close};
    static const struct bc_reader_ops evicting = {
        .advance = advance_ingest, .on_advance = on_advance, .on_close = on_close};
    static const struct bc_reader_ops stored = {.advance = advance_ingest,
                                                .on_close = on_close,
                                                .enter = enter_file,
                                                .leave = leave_file};
    const struct bc_reader_ops *ops = cache->max_readers == 0 ? &keeping : &evicting;
    if (bc__cache_has_storage(cache)) ops = &stored;
    const struct bc_reader_cache parts = {
        .ops = ops,
        .context = cache,
        .ingest = &cache->ingest,
        .store = &cache->store,
        .closed = &cache->closed,
    };
    struct bc_projection *projection = NULL;
    int code = project(cache, options->columns, options->n_columns, &projection, error);
    if (code != 0) return code;
    struct bc_reader *reader;
    if (bc__reader_new(&parts, options, projection, counted, &reader) != 0) {
        bc__projection_free(projection);
        return bc__error_memory(error);
    }
    code = admit_reader(cache, reader, error);
    if (code != 0) {
        bc__reader_discard(reader);
        return code;
    }
    if (counted && reader->order == NULL) {
        uint64_t published = bc__store_published(&cache->store);
        uint64_t start = bc_reader_position(reader);
        /* If the reader starts beyond the published batches, prefetching still continues
         * from the published count. */
        bc__demand_on_position(&cache->ingest.demand,
                               start < published ? start : published, reader->stop);
    }
    /* If this was the last reader to be made, earlier batches may be evicted now. */
    (void)bc__cache_evict(cache);
    *out_reader = reader;
    return 0;
}

int bc_cache_reader(struct bc_cache *cache, const struct bc_reader_options *options,
                    struct bc_reader **out_reader, struct bc_error *error) {
    bc_assert(cache != NULL && out_reader != NULL);
    struct bc_reader_options known = BC_READER_OPTIONS_INIT;
    int code = BC_READ_OPTIONS(&known, options, error);
    if (code != 0) return code;
    if (known.step == 0) {
        return bc__error_set(error, EINVAL, "A reader's step is at least 1");
    }
    return bc__cache_reader(cache, &known, true, out_reader, error);
}

static int read_one_batch(struct bc_cache *cache, uint64_t number, bool quick,
                          struct ArrowArray *out_array, struct bc_batch_info *out_info,
                          struct bc_error *error) {
    bc_assert(cache != NULL && out_array != NULL);
    /* UINT64_MAX means the frontier to a reader. Neither batch can exist. */
    if (number == UINT64_MAX) number--;
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.start = number;
    options.stop = number + 1;
    bc__store_prefetch_slot(&cache->store, number);
    struct bc_reader *reader = NULL;
    int code = bc__cache_reader(cache, &options, false, &reader, error);
    if (code != 0) return code;
    code = quick ? bc_reader_next_quick(reader, out_array, out_info, error)
                 : bc_reader_next(reader, out_array, out_info, error);
    bc_reader_unref(reader);
    return code;
}

int bc_cache_batch(struct bc_cache *cache, uint64_t number, struct ArrowArray *out_array,
                   struct bc_batch_info *out_info, struct bc_error *error) {
    return read_one_batch(cache, number, false, out_array, out_info, error);
}

int bc_cache_batch_quick(struct bc_cache *cache, uint64_t number,
                         struct ArrowArray *out_array, struct bc_batch_info *out_info,
                         struct bc_error *error) {
    return read_one_batch(cache, number, true, out_array, out_info, error);
}

int bc_cache_stream(struct bc_cache *cache, struct ArrowArrayStream *out_stream,
                    struct bc_error *error) {
    struct bc_reader *reader;
    int code = bc_cache_reader(cache, NULL, &reader, error);
    if (code == 0) bc_reader_export(reader, out_stream);
    return code;
}
