/* Caches and recordings made from a source: bc_cache_new. */
#include <string.h>

#include "arrow/utf8.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "cache/cache.h"

enum { KEY_BYTES_MAX = 1 << 20 };

int bc__cache_check_hooks(const struct bc_hooks *hooks, struct bc_error *error) {
    if (hooks == NULL || (hooks->enter != NULL && hooks->leave != NULL)) return 0;
    return bc__error_set(error, EINVAL, "Hooks need both enter and leave");
}

static int check_options(const struct bc_cache_options *options, struct bc_error *error) {
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
    int code = bc__cache_check_hooks(options->hooks, error);
    if (code != 0) return code;
    if (options->statistics < BC_STATISTICS_DEFAULT ||
        options->statistics > BC_STATISTICS_NEVER) {
        return bc__error_set(error, EINVAL, "Unknown statistics policy %d",
                             (int)options->statistics);
    }
    if (options->record_path == NULL) {
        if (!options->durable && !options->resume && options->key == NULL) return 0;
        return bc__error_set(error, EINVAL, "durable, resume and key need a record_path");
    }
    if (options->key != NULL) {
        size_t size = strlen(options->key);
        if (size > KEY_BYTES_MAX) {
            return bc__error_set(error, EINVAL, "The key has %zu bytes, the most is %d",
                                 size, KEY_BYTES_MAX);
        }
        if (!bc__utf8_is_valid((const uint8_t *)options->key, (int64_t)size)) {
            return bc__error_set(error, EINVAL, "The key is not valid UTF-8");
        }
    }
    if (options->disk_path != NULL || options->max_readers != 0 || !options->checksum ||
        options->write_policy != BC_WRITE_ON_INSERTION) {
        return bc__error_set(error, EINVAL,
                             "A recording keeps all batches, with checksums, in its own "
                             "file: it allows no disk_path, max_readers or write "
                             "policy");
    }
    return 0;
}

uint64_t bc__cache_memory_budget(uint64_t wanted) {
    if (wanted != BC_BYTES_DEFAULT) return wanted;
    uint64_t memory = bc__sys_memory();
    return memory - memory / 8;
}

static int init_store(struct bc_cache *cache, const struct bc_cache_options *options,
                      struct bc_error *error) {
    int code =
        bc__cache_init_store(cache, bc__cache_memory_budget(options->memory_capacity),
                             (enum bc_write_policy)options->write_policy, error);
    cache->statistics_policy = (enum bc_statistics_policy)options->statistics;
    bool gathers =
        options->statistics == BC_STATISTICS_ALWAYS ||
        (options->statistics == BC_STATISTICS_DEFAULT && options->record_path != NULL);
    return code == 0 && gathers ? bc__cache_gather_all(cache, error) : code;
}

/* Returns the options of a recording's file. `is_named_later`: the file gets its name
 * when it is complete. */
static struct bc_disk_options recording_options(const struct bc_cache_options *options,
                                                bool is_named_later) {
    return (struct bc_disk_options){
        .path = options->record_path,
        .key = options->key,
        .is_recording = true,
        .durable = options->durable != 0,
        .is_named_later = is_named_later,
        .capacity = options->disk_capacity,
        .checksums = true,
        .codec = (enum bc_codec)options->compression,
    };
}

/* ---- the tiers of each kind of cache ---- */

/* Adds the tiers of a cache. Its schema is set. */
typedef int tiers_function(struct bc_cache *cache, const struct bc_cache_options *options,
                           struct bc_error *error);

static int open_new_file(struct bc_cache *cache, const struct bc_cache_options *options,
                         const struct bc_disk_options *disk, struct bc_error *error) {
    int code = bc__disk_open(&cache->disk, cache->schema, disk, error);
    if (code != 0) return code;
    cache->has_disk = true;
    return init_store(cache, options, error);
}

static int init_cache(struct bc_cache *cache, const struct bc_cache_options *options,
                      struct bc_error *error) {
    if (options->disk_path == NULL) return init_store(cache, options, error);
    const struct bc_disk_options disk = {
        .path = options->disk_path,
        .capacity = options->disk_capacity,
        .evicts = options->max_readers != 0,
        .checksums = options->checksum != 0,
        .codec = (enum bc_codec)options->compression,
    };
    return open_new_file(cache, options, &disk, error);
}

static int init_recording(struct bc_cache *cache, const struct bc_cache_options *options,
                          struct bc_error *error) {
    const struct bc_disk_options disk = recording_options(options, false);
    return open_new_file(cache, options, &disk, error);
}

static int init_unnamed(struct bc_cache *cache, const struct bc_cache_options *options,
                        struct bc_error *error) {
    const struct bc_disk_options disk = recording_options(options, true);
    return open_new_file(cache, options, &disk, error);
}

/* Publishes the batches of the file, and continues the recording after the last one. */
static int init_resumed(struct bc_cache *cache, const struct bc_cache_options *options,
                        struct bc_error *error) {
    const struct bc_disk_options disk = recording_options(options, false);
    int code = bc__disk_resume(&cache->disk, cache->schema, &disk, error);
    if (code != 0) return code;
    cache->has_disk = true;
    code = init_store(cache, options, error);
    for (bool ended = false; code == 0 && !ended;) {
        code = bc__store_put_next(&cache->store, &ended, error);
    }
    return code == 0 ? bc__disk_start_appending(&cache->disk, error) : code;
}

/* ---- construction (cache/cache.h) ---- */

/* Does the last steps. `publishes`: a new recording gets its name. */
static int start_cache(struct bc_cache *cache, bool publishes, struct bc_error *error) {
    int code = 0;
    if (cache->has_disk && cache->disk.file.publishes_last) {
        code = bc__cache_identify(cache, error);
    }
    if (code == 0 && publishes) code = bc__disk_publish_name(&cache->disk, error);
    if (code != 0) return code;
    code = bc__cache_start(cache, error);
    if (code != 0 && publishes) bc__file_unlink_name(&cache->disk.file);
    return code;
}

static int create_cache(struct ArrowArrayStream *source,
                        const struct bc_cache_options *options,
                        tiers_function *init_tiers, struct bc_cache **out_cache,
                        struct bc_error *error) {
    struct bc_cache *cache;
    int code = bc__cache_alloc(options->max_readers, &cache, error);
    if (code != 0) return code;
    code = bc__source_schema(source, &cache->schema, error);
    if (code == 0) code = init_tiers(cache, options, error);
    const struct bc_ingest_options ingest = {
        .resumable = bc__reader_is_stream(source),
        .hooks = options->hooks,
        .prefetch = options->prefetch,
    };
    if (code == 0) code = bc__cache_init_ingest(cache, source, &ingest, error);
    if (code == 0) {
        bool has_batches = bc__store_published(&cache->store) > 0;
        if (has_batches && cache->store.statistics != NULL) {
            code = bc__cache_gather(cache, error);
        }
        if (code == 0) code = start_cache(cache, init_tiers == init_recording, error);
        if (code != 0) bc__cache_undo_ingest(cache, source);
    }
    if (code != 0) {
        bc__cache_discard(cache);
        return code;
    }
    atomic_store(&cache->is_made, true);
    *out_cache = cache;
    return 0;
}

int bc__cache_new_unnamed(struct ArrowArrayStream *source,
                          const struct bc_cache_options *options,
                          struct bc_cache **out_cache, struct bc_error *error) {
    return create_cache(source, options, init_unnamed, out_cache, error);
}

/* Returns the function for the kind of cache that the options ask for. */
static tiers_function *tiers_of(const struct bc_cache_options *options) {
    if (options->record_path == NULL) return init_cache;
    return options->resume ? init_resumed : init_recording;
}

int bc_cache_new(struct ArrowArrayStream *source, const struct bc_cache_options *options,
                 struct bc_cache **out_cache, struct bc_error *error) {
    bc_assert(out_cache != NULL);
    if (source == NULL || source->release == NULL) {
        return bc__error_set(error, EINVAL, "The source is a released stream");
    }
    struct bc_cache_options known = BC_CACHE_OPTIONS_INIT;
    int code = BC_READ_OPTIONS(&known, options, error);
    if (code == 0) code = check_options(&known, error);
    if (code != 0) return code;
    return create_cache(source, &known, tiers_of(&known), out_cache, error);
}
