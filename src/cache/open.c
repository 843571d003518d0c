/* Files opened for reading: bc_file_open, bc_file_verify, bc_file_discard. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "cache/cache.h"

static int open_path(const char *path, const struct bc_file_options *options,
                     int *out_file, struct bc_error *error) {
    int given = options->file;
    *out_file = -1;
    if (options->storage != NULL) return 0;
    int code =
        given >= 0 ? bc__sys_dup(given, out_file) : bc__sys_open(path, false, out_file);
    if (code == 0) return 0;
    return bc__error_set(error, code, "Failed to open: %s: '%s'", bc__error_message(code),
                         path);
}

/* Adds the file's tier and the store. If the file has an index, all batches are
 * published. */
static int open_tiers(struct bc_cache *cache, const struct bc_disk_source *source,
                      struct bc_error *error) {
    int code = bc__disk_open_file(&cache->disk, source, &cache->schema, error);
    if (code != 0) return code;
    cache->has_disk = true;
    code = bc__cache_init_store(cache, 0, BC_WRITE_ON_INSERTION, error);
    if (code != 0 || !cache->disk.tier.has_index) return code;
    const struct bc_trailer *trailer = &cache->disk.trailer;
    return bc__store_load_index(&cache->store, (uint64_t)trailer->batches,
                                (uint64_t)trailer->rows, (uint64_t)trailer->bytes, error);
}

static int open_file(const struct bc_disk_source *source, const struct bc_hooks *hooks,
                     struct bc_cache **out_cache, struct bc_error *error) {
    struct bc_cache *cache;
    int code = bc__cache_alloc(0, &cache, error);
    if (code != 0) {
        if (source->file >= 0) bc__sys_close(source->file);
        return code;
    }
    code = open_tiers(cache, source, error);
    const struct bc_ingest_options ingest = {
        .hooks = hooks,
        .exhausted = cache->disk.tier.has_index,
        .request = bc__cache_request,
        .request_context = cache,
        .is_unlocked = source->storage != NULL,
    };
    if (code == 0) code = bc__cache_init_ingest(cache, NULL, &ingest, error);
    if (code == 0) {
        if (source->follows) code = bc__cache_identify(cache, error);
        if (code == 0) code = bc__cache_start(cache, error);
        if (code != 0) bc__cache_undo_ingest(cache, NULL);
    }
    if (code != 0) {
        bc__cache_discard(cache);
        return code;
    }
    if (source->follows) bc__cache_find_writer(cache);
    atomic_store(&cache->is_made, true);
    *out_cache = cache;
    return 0;
}

int bc_file_open(const char *path, const struct bc_file_options *options,
                 struct bc_cache **out_cache, struct bc_error *error) {
    bc_assert(path != NULL && out_cache != NULL);
    struct bc_file_options known = BC_FILE_OPTIONS_INIT;
    int code = BC_READ_OPTIONS(&known, options, error);
    if (code != 0) return code;
    options = &known;
    code = bc__cache_check_hooks(options->hooks, error);
    if (code != 0) return code;
    if (options->partial && options->follow) {
        return bc__error_set(error, EINVAL, "partial and follow are mutually exclusive");
    }
    struct bc_storage storage = {0};
    if (options->storage != NULL) {
        if (options->follow || options->file >= 0) {
            return bc__error_set(error, EINVAL,
                                 "storage is mutually exclusive with follow and file");
        }
        bc_assert(options->storage->read != NULL && options->storage->size >= 0);
        storage = *options->storage;
        /* On failure, the caller keeps the context. */
        storage.release = NULL;
    }
    struct bc_disk_source source = {
        .storage = options->storage == NULL ? NULL : &storage,
        .path = path,
        .is_lent = options->file >= 0,
        .is_partial = options->partial != 0,
        .follows = options->follow != 0,
        .copies = options->read_into_memory != 0,
        .is_writable = options->writable != 0,
        .validates = options->verify != 0,
        .max_batches = options->max_batches,
    };
    code = open_path(path, options, &source.file, error);
    if (code != 0) return code;
    struct bc_cache *cache;
    code = open_file(&source, options->hooks, &cache, error);
    if (code != 0) return code;
    /* A file without an index is scanned once, here. */
    uint64_t batches;
    if (!options->follow) code = bc_cache_ingest(cache, &batches, error);
    if (code != 0) {
        bc_cache_unref(cache);
        return code;
    }
    if (options->storage != NULL) {
        cache->disk.file.storage.release = options->storage->release;
    }
    *out_cache = cache;
    return 0;
}

int bc_file_verify(const char *path, const struct bc_file_options *options,
                   uint64_t *out_batches, struct bc_error *error) {
    struct bc_file_options known = BC_FILE_OPTIONS_INIT;
    int code = BC_READ_OPTIONS(&known, options, error);
    if (code != 0) return code;
    known.verify = 1;
    struct bc_cache *cache;
    uint64_t number = 0;
    code = bc_file_open(path, &known, &cache, error);
    bool opened = code == 0;
    if (opened) {
        uint64_t batches = bc__store_published(&cache->store);
        while (number < batches) {
            struct ArrowArray array;
            code = bc_cache_batch(cache, number, &array, NULL, error);
            if (code != 0) break;
            array.release(&array);
            number++;
        }
        if (code == 0) code = bc_cache_verify_statistics(cache, error);
        bc_cache_unref(cache);
    }
    if (opened && out_batches != NULL) *out_batches = number;
    return code;
}

int bc_file_discard(const char *path, struct bc_error *error) {
    bc_assert(path != NULL);
    return bc__disk_discard(path, error);
}

int bc_cache_select(struct bc_cache *cache, const int32_t *columns, int64_t n_columns,
                    struct bc_error *error) {
    bc_assert(cache != NULL && (columns != NULL || n_columns == 0));
    static const int32_t none;
    struct bc_projection *selection;
    int code = bc__projection_new(cache->schema, columns == NULL ? &none : columns,
                                  n_columns, &selection, error);
    if (code != 0) return code;
    int32_t *copy = bc__malloc(((size_t)n_columns + 1) * sizeof(*copy));
    if (copy == NULL) {
        bc__projection_free(selection);
        return bc__error_memory(error);
    }
    if (n_columns > 0) memcpy(copy, columns, (size_t)n_columns * sizeof(*copy));
    bc__mutex_lock(&cache->lock);
    bool is_selected = cache->columns != NULL;
    bool busy = is_selected || cache->readers_made > 0 || cache->readers.first != NULL;
    if (!busy) {
        cache->columns = copy;
        cache->selection = selection;
    }
    bc__mutex_unlock(&cache->lock);
    if (!busy) return 0;
    bc__projection_free(selection);
    bc__free(copy);
    return bc__error_set(error, EBUSY, "%s",
                         is_selected ? "The cache's columns are selected already"
                                     : "The cache is being read");
}
