/* Files of a cache for other processes: its own file published, a link to it, or a
 * copy. */
#include <errno.h>

#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "cache/cache.h"

/* Checks that all recorded batches are in the file, and stay there. The error names the
 * first batch that is not. */
static int check_all_on_disk(struct bc_cache *cache, struct bc_error *error) {
    if (!cache->has_disk) {
        return bc__error_set_kind(
            error, BC_ERROR_NOT_ON_DISK, EINVAL,
            "Batches are in memory only, because the cache has no disk tier");
    }
    uint64_t first = atomic_load(&cache->store.first);
    if (first > 0) {
        return bc__error_set_kind(error, BC_ERROR_EVICTED, EINVAL,
                                  "Batches before batch %llu were evicted",
                                  (unsigned long long)first);
    }
    if (cache->max_readers > 0) {
        /* Evicted batches would become holes in the file of other processes. */
        return bc__error_set_kind(
            error, BC_ERROR_EVICTED, EINVAL,
            "The file will not keep every batch: a limit of readers evicts them");
    }
    uint64_t batches = bc__store_published(&cache->store);
    for (uint64_t i = 0; i < batches && cache->store.policy != BC_WRITE_ON_INSERTION;
         i++) {
        struct bc_index_entry entry;
        int code = bc__store_entry(&cache->store, i, &entry, error);
        if (code != 0) return code;
        if (entry.extent.size > 0) continue;
        return bc__error_set_kind(
            error, BC_ERROR_NOT_ON_DISK, EINVAL,
            "Batch %llu is in memory only: the write policy is on eviction",
            (unsigned long long)i);
    }
    return 0;
}

/* Writes all recorded batches to the file, and its end if the source has ended. */
static int finish_file(struct bc_cache *cache, bool exhausted, struct bc_error *error) {
    struct bc_disk *disk = &cache->disk;
    if (bc__cache_is_forked(cache)) {
        /* A file without an end can be read too. */
        if (disk->schema_bytes != 0 && bc__file_is_flushed(&disk->file)) return 0;
        return bc__error_set_kind(
            error, BC_ERROR_FORKED, ECANCELED,
            "Recorded batches are not in the file yet, and only the "
            "process that made the cache can write it");
    }
    if (exhausted) {
        struct bc_index index = bc__store_index(&cache->store);
        index.statistics = cache->statistics;
        return bc__disk_finalize(disk, &index, error);
    }
    int code = disk->schema_bytes == 0 ? bc__disk_append_schema(disk, error) : 0;
    return code == 0 ? bc__store_flush(&cache->store, error) : code;
}

int bc_cache_publish(struct bc_cache *cache, uint64_t *out_batches,
                     struct bc_error *error) {
    bc_assert(cache != NULL && out_batches != NULL);
    int code = bc__cache_enter(cache, error);
    if (code != 0) return code;
    /* Read before the published count: the count then includes every batch before the
     * end. */
    bool exhausted = bc__ingest_exhausted(&cache->ingest);
    code = check_all_on_disk(cache, error);
    if (code == 0 && !bc__cache_is_opened(cache)) {
        code = finish_file(cache, exhausted, error);
        /* From now on other processes may have the file open. */
        atomic_store(&cache->disk.file.is_public, true);
    }
    if (code == 0) *out_batches = bc__store_published(&cache->store);
    bc__cache_leave(cache);
    return code;
}

/* Duplicates the descriptor of the cache's file, which stays open when the cache is
 * closed. */
static int dup_file(struct bc_cache *cache, int *out_file, struct bc_error *error) {
    int code = bc__cache_enter(cache, error);
    if (code != 0) return code;
    code = bc__sys_dup(cache->disk.file.file, out_file);
    bc__cache_leave(cache);
    if (code == 0) return 0;
    return bc__error_set(error, code, "Failed to save the recording: %s",
                         bc__error_message(code));
}

/* Links the open file to `path`. `from`: a name of the file. ENOTSUP: the file system
 * cannot do that. */
static int link_file(int file, const char *from, const char *path, bool overwrite,
                     bool durable) {
    struct bc_naming naming;
    int code = bc__naming_init(&naming, path);
    if (code != 0) return code;
    /* The lock tells other processes that the hidden file is in use. It is of another
     * open file, because other threads may save the same cache. */
    int another = bc__sys_open_again(file, from);
    code = another < 0 ? ENOTSUP : bc__sys_lock_shared(another);
    /* If locks are refused, no process can find the hidden file unlocked either. */
    if (code == ENOLCK) code = 0;
    if (code == 0) code = bc__naming_link(&naming, file, from);
    if (code == 0) code = bc__naming_publish(&naming, file, overwrite, false);
    if (another >= 0) bc__sys_close(another);
    /* The reason may be another file system, or that links are not possible or not
     * allowed. For any other reason, the copy fails with the same error. */
    if (code != 0 && code != EEXIST) code = ENOTSUP;
    if (code == 0 && durable) {
        code = bc__naming_sync(&naming);
        if (code != 0 && !overwrite) bc__naming_unlink(&naming, file);
    }
    bc__naming_finish(&naming, file);
    return code;
}

/* Links the cache's own file to `path` if it is a complete recording. ENOTSUP: a copy is
 * needed. */
static int save_link(struct bc_cache *cache, const char *path, bool overwrite,
                     bool durable, struct bc_error *error) {
    bc__mutex_lock(&cache->lock);
    bool is_narrowed = cache->selection != NULL;
    bc__mutex_unlock(&cache->lock);
    struct bc_disk *disk = &cache->disk;
    if (is_narrowed || bc__file_has_storage(&disk->file)) return ENOTSUP;
    struct bc_error reason = {0};
    uint64_t batches;
    int code = bc_cache_publish(cache, &batches, &reason);
    /* The file lacks batches, or the cache is closed, which the copy reports too. */
    if (code == EINVAL || code == ECANCELED) return ENOTSUP;
    if (code != 0) return bc__error_copy(error, code, &reason);
    if (!atomic_load(&disk->has_trailer)) return ENOTSUP;
    int file;
    code = dup_file(cache, &file, error);
    if (code != 0) return code;
    /* If the mode cannot be set, a copy has the right mode from the start. */
    if (disk->file.dir_path != NULL && bc__sys_publish_mode(file) != 0) code = ENOTSUP;
    if (code == 0 && durable) code = bc__file_sync_as(&disk->file, file);
    if (code == 0) code = link_file(file, disk->file.path, path, overwrite, durable);
    bc__sys_close(file);
    if (code == 0 || code == ENOTSUP) return code;
    return bc__error_set(error, code, "Failed to save the recording: %s: '%s'",
                         bc__error_message(code), path);
}

/* Records the batches of `reader` into a new file, which gets its name when it is
 * complete. */
static int copy_batches(struct bc_cache *cache, struct bc_reader *reader,
                        const char *path, bool overwrite, bool durable,
                        struct bc_error *error) {
    struct ArrowArrayStream stream;
    bc_reader_export(bc_reader_ref(reader), &stream);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.memory_capacity = 0;
    options.record_path = path;
    options.durable = durable;
    options.statistics = cache->statistics_policy == BC_STATISTICS_NEVER
                             ? BC_STATISTICS_NEVER
                             : BC_STATISTICS_DEFAULT;
    options.hooks = cache->ingest.hooks.enter == NULL ? NULL : &cache->ingest.hooks;
    if (cache->has_disk) {
        options.compression = (enum bc_compression)cache->disk.encoder.body.codec;
    }
    struct bc_cache *copy;
    int code = bc__cache_new_unnamed(&stream, &options, &copy, error);
    if (code != 0) {
        stream.release(&stream);
        return code;
    }
    uint64_t batches;
    code = bc_cache_ingest(copy, &batches, error);
    /* The file's writer wrote an invalid batch. The file is wrong, not an argument. */
    if (code == EINVAL && bc__cache_is_opened(cache) && !atomic_load(&cache->closed)) {
        error->kind = BC_ERROR_CORRUPT;
        code = EBADMSG;
    }
    if (code == 0) code = bc__file_name(&copy->disk.file, overwrite, error);
    bc_cache_unref(copy);
    return code;
}

/* Records the cache into a new file. */
static int save_copy(struct bc_cache *cache, const char *path, bool overwrite,
                     bool durable, struct bc_error *error) {
    static const struct bc_reader_options from_start = BC_READER_OPTIONS_INIT;
    struct bc_reader *reader;
    int code = bc__cache_reader(cache, &from_start, false, &reader, error);
    if (code != 0) return code;
    struct bc_error reason = {0};
    code = copy_batches(cache, reader, path, overwrite, durable, &reason);
    /* The reader is the copy's source. Its own error has the kind. */
    if (reason.kind == BC_ERROR_SOURCE) reason.kind = reader->error.kind;
    bc_reader_unref(reader);
    return code == 0 ? 0 : bc__error_copy(error, code, &reason);
}

int bc_cache_save(struct bc_cache *cache, const char *path,
                  const struct bc_save_options *options, struct bc_error *error) {
    bc_assert(cache != NULL && path != NULL);
    struct bc_save_options known = BC_SAVE_OPTIONS_INIT;
    int code = BC_READ_OPTIONS(&known, options, error);
    if (code != 0) return code;
    uint64_t batches;
    code = bc_cache_ingest(cache, &batches, error);
    if (code != 0) return code;
    code = save_link(cache, path, known.overwrite != 0, known.durable != 0, error);
    if (code != ENOTSUP) return code;
    return save_copy(cache, path, known.overwrite != 0, known.durable != 0, error);
}
