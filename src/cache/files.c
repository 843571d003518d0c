/* Caches and files with names: opened, saved, shared, verified, described. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "cache/cache.h"
#include "ipc/decode.h"

/* Until `leave`, the cache is not closed, and nothing is stored. */
static int enter(struct bc_cache *cache, struct bc_error *error) {
    bc__mutex_lock(&cache->ingest.store_lock);
    if (!atomic_load(&cache->closed)) return 0;
    bc__mutex_unlock(&cache->ingest.store_lock);
    return bc__error_closed(error);
}

static void leave(struct bc_cache *cache) { bc__mutex_unlock(&cache->ingest.store_lock); }

/* ---- opening ---- */

static int open_path(const char *path, int given, int *out_file, struct bc_error *error) {
    int code =
        given >= 0 ? bc__sys_dup(given, out_file) : bc__sys_open(path, false, out_file);
    if (code == 0) return 0;
    return bc__error_set(error, code, "Failed to open: %s: '%s'", bc__error_message(code),
                         path);
}

int bc_file_open(const char *path, const struct bc_file_options *options,
                 struct bc_cache **out_cache, struct bc_error *error) {
    bc_assert(path != NULL && out_cache != NULL);
    static const struct bc_file_options defaults = BC_FILE_OPTIONS_INIT;
    if (options == NULL) options = &defaults;
    int code = bc__error_struct_size(options->struct_size, sizeof(*options),
                                     "BC_FILE_OPTIONS_INIT", error);
    if (code != 0) return code;
    if (options->partial && options->follow) {
        return bc__error_set(error, EINVAL,
                             "Either what is there is opened (partial), or the rest is "
                             "waited for (follow)");
    }
    struct bc_disk_source source = {
        .path = path,
        .is_lent = options->file >= 0,
        .is_partial = options->partial != 0,
        .follows = options->follow != 0,
        .copies = options->copies != 0,
        .validates = options->verify != 0,
        .batches_max = options->batches_max,
    };
    code = open_path(path, options->file, &source.file, error);
    if (code != 0) return code;
    const struct bc_cache_origin origin = {false, &source};
    struct bc_cache_options cache_options = BC_CACHE_OPTIONS_INIT;
    cache_options.memory_bytes_max = 0;
    cache_options.hooks = options->hooks;
    struct bc_cache *cache;
    code = bc__cache_init(NULL, &cache_options, &origin, &cache, error);
    if (code != 0) return code;
    /* A file without an index is scanned now, once. */
    uint64_t batches;
    if (!options->follow) code = bc_cache_ingest(cache, &batches, error);
    if (code != 0) {
        bc_cache_unref(cache);
        return code;
    }
    *out_cache = cache;
    return 0;
}

int bc_file_verify(const char *path, uint64_t *out_batches, struct bc_error *error) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    struct bc_cache *cache;
    uint64_t number = 0;
    int code = bc_file_open(path, &options, &cache, error);
    bool opened = code == 0;
    if (opened) {
        uint64_t batches = bc__store_published(&cache->store);
        while (number < batches) {
            struct ArrowArray array;
            code = bc_cache_get(cache, number, &array, NULL, error);
            if (code != 0) break;
            array.release(&array);
            number++;
        }
        bc_cache_unref(cache);
    }
    if (opened && out_batches != NULL) *out_batches = number;
    return code;
}

/* ---- giving away ---- */

static bool list_batch(void *context, uint64_t number,
                       struct bc_trailer_batch *out_batch) {
    struct bc_index_entry entry;
    if (bc__store_entry(context, number, &entry, NULL) != 0 || entry.extent.size == 0) {
        return false;
    }
    *out_batch = (struct bc_trailer_batch){entry.extent.offset, entry.extent.size,
                                           (int64_t)entry.first_row};
    return true;
}

int bc__cache_finalize(struct bc_disk *disk, const struct bc_store *store,
                       struct bc_error *error) {
    const struct bc_listing listing = {
        .batches = bc__store_published(store),
        .rows = atomic_load(&store->rows),
        .bytes = atomic_load(&store->bytes),
        .at = list_batch,
        .context = (void *)(uintptr_t)store,
    };
    return bc__disk_finalize(disk, &listing, error);
}

static bool is_opened(const struct bc_cache *cache) {
    return cache->has_disk && cache->disk.encoder.metadata == NULL;
}

/* Are all batches that are recorded in the file, for good? The first one that is not, is
 * said. */
static int check_all_on_disk(struct bc_cache *cache, struct bc_error *error) {
    if (!cache->has_disk) {
        return bc__error_set(error, EINVAL,
                             "The recording is in memory only: make it with "
                             "StreamCache.on_disk(), or save() it and open() the file");
    }
    uint64_t first = atomic_load(&cache->store.first);
    if (first > 0) {
        return bc__error_set(error, EINVAL,
                             "Batches before number %llu were evicted (max_readers)",
                             (unsigned long long)first);
    }
    if (cache->readers_max > 0) {
        /* Holes would be made in what others have. */
        return bc__error_set(error, EINVAL,
                             "Batches are evicted when all readers have passed them "
                             "(max_readers): save() the recording and open() the file");
    }
    uint64_t batches = bc__store_published(&cache->store);
    for (uint64_t i = 0; i < batches && cache->store.policy != BC_WRITE_ON_INSERTION;
         i++) {
        struct bc_index_entry entry;
        int code = bc__store_entry(&cache->store, i, &entry, error);
        if (code != 0) return code;
        if (entry.extent.size > 0) continue;
        return bc__error_set(error, EINVAL,
                             "Batch %llu is in memory only (write_policy "
                             "'on_eviction'): make the cache with 'on_insertion', or "
                             "save() it and open() the file",
                             (unsigned long long)i);
    }
    return 0;
}

/* The batches recorded are in the file, which then gets its end if that is known. */
static int finish_file(struct bc_cache *cache, bool exhausted, struct bc_error *error) {
    struct bc_disk *disk = &cache->disk;
    if (bc__cache_is_forked(cache)) {
        /* Without its end it is read all the same. */
        if (disk->schema_bytes != 0 && bc__file_is_flushed(&disk->file)) return 0;
        return bc__error_set(error, ECANCELED,
                             "Batches recorded are not in the file yet, and only the "
                             "process that made the cache can write it: save() the "
                             "recording, or share it before the fork");
    }
    if (exhausted) return bc__cache_finalize(disk, &cache->store, error);
    int code = disk->schema_bytes == 0 ? bc__disk_append_schema(disk, error) : 0;
    return code == 0 ? bc__store_flush(&cache->store, error) : code;
}

int bc_cache_share(struct bc_cache *cache, uint64_t *out_batches,
                   struct bc_error *error) {
    bc_assert(cache != NULL && out_batches != NULL);
    int code = enter(cache, error);
    if (code != 0) return code;
    /* Asked first: all that was published before the end is seen. */
    bool exhausted = bc__ingest_exhausted(&cache->ingest);
    code = check_all_on_disk(cache, error);
    if (code == 0 && !is_opened(cache)) {
        code = finish_file(cache, exhausted, error);
        /* From now on others may have it open. */
        atomic_store(&cache->disk.file.is_public, true);
    }
    if (code == 0) *out_batches = bc__store_published(&cache->store);
    leave(cache);
    return code;
}

/* A descriptor of the cache's file, which stays open when the cache is closed. */
static int dup_file(struct bc_cache *cache, int *out_file, struct bc_error *error) {
    int code = enter(cache, error);
    if (code != 0) return code;
    code = bc__sys_dup(cache->disk.file.file, out_file);
    leave(cache);
    if (code == 0) return 0;
    return bc__error_set(error, code, "Failed to save the recording: %s",
                         bc__error_message(code));
}

/* Gives the open file, which has the name `from`, the name `path` too. ENOTSUP: that
 * cannot be. */
static int link_file(int file, const char *from, const char *path, bool replaces,
                     bool durable) {
    struct bc_naming naming;
    int code = bc__naming_init(&naming, path);
    if (code != 0) return code;
    /* No process may take the hidden name for one that was left. The lock is of an open
     * file of its own, since other threads may save the same one. */
    int another = bc__sys_open_again(file, from);
    code = another < 0 ? ENOTSUP : bc__sys_lock_shared(another);
    /* Then no process can say that it was left. */
    if (code == ENOLCK) code = 0;
    if (code == 0) code = bc__naming_link(&naming, file, from);
    if (code == 0) code = bc__naming_publish(&naming, file, replaces, false);
    if (another >= 0) bc__sys_close(another);
    /* Another file system, one without links, or links that are not allowed: a copy
     * has the same errors where these are not the reason. */
    if (code != 0 && code != EEXIST) code = ENOTSUP;
    if (code == 0 && durable) {
        code = bc__naming_sync(&naming);
        if (code != 0 && !replaces) bc__naming_unlink(&naming, file);
    }
    bc__naming_finish(&naming, file);
    return code;
}

/* Gives the cache's own file the name too, where it is a complete recording. ENOTSUP:
 * that cannot be. */
static int save_link(struct bc_cache *cache, const char *path, bool replaces,
                     bool durable, struct bc_error *error) {
    bc__mutex_lock(&cache->lock);
    bool is_narrowed = cache->selection != NULL;
    bc__mutex_unlock(&cache->lock);
    if (is_narrowed) return ENOTSUP;
    struct bc_disk *disk = &cache->disk;
    struct bc_error reason = {0, ""};
    uint64_t batches;
    int code = bc_cache_share(cache, &batches, &reason);
    /* Not all is in the file; or it is closed, which the copy says too. */
    if (code == EINVAL || code == ECANCELED) return ENOTSUP;
    if (code != 0) return bc__error_set(error, code, "%s", reason.message);
    if (!atomic_load(&disk->has_trailer)) return ENOTSUP;
    int file;
    code = dup_file(cache, &file, error);
    if (code != 0) return code;
    /* A copy has the right mode from the start. */
    if (disk->file.dir_path != NULL && bc__sys_publish_mode(file) != 0) code = ENOTSUP;
    if (code == 0 && durable) code = bc__file_sync_as(&disk->file, file);
    if (code == 0) code = link_file(file, disk->file.path, path, replaces, durable);
    bc__sys_close(file);
    if (code == 0 || code == ENOTSUP) return code;
    return bc__error_set(error, code, "Failed to save the recording: %s: '%s'",
                         bc__error_message(code), path);
}

/* Records the cache anew, in a file that gets its name when it is complete. */
static int save_copy(struct bc_cache *cache, const char *path, bool replaces,
                     bool durable, struct bc_error *error) {
    static const struct bc_reader_options from_start = BC_READER_OPTIONS_INIT;
    struct bc_reader *reader;
    int code = bc__cache_reader(cache, &from_start, false, &reader, error);
    if (code != 0) return code;
    struct ArrowArrayStream stream;
    bc_reader_export(reader, &stream);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.memory_bytes_max = 0;
    options.record_path = path;
    options.durable = durable;
    options.hooks = cache->ingest.hooks.enter == NULL ? NULL : &cache->ingest.hooks;
    if (cache->has_disk) {
        options.compression = (enum bc_compression)cache->disk.encoder.body.codec;
    }
    const struct bc_cache_origin origin = {true, NULL};
    struct bc_cache *copy;
    code = bc__cache_init(&stream, &options, &origin, &copy, error);
    if (code != 0) {
        stream.release(&stream);
        return code;
    }
    uint64_t batches;
    struct bc_error reason;
    code = bc_cache_ingest(copy, &batches, &reason);
    if (code != 0) {
        /* What its writer left broken: here a file is wrong, and no argument. */
        bool damaged = code == EINVAL && is_opened(cache) && !atomic_load(&cache->closed);
        code = bc__error_set(error, damaged ? EBADMSG : code, "%s", reason.message);
    }
    if (code == 0) code = bc__file_name(&copy->disk.file, replaces, error);
    bc_cache_unref(copy);
    return code;
}

int bc_cache_save(struct bc_cache *cache, const char *path, int replaces, int durable,
                  struct bc_error *error) {
    bc_assert(cache != NULL && path != NULL);
    uint64_t batches;
    int code = bc_cache_ingest(cache, &batches, error);
    if (code != 0) return code;
    code = save_link(cache, path, replaces != 0, durable != 0, error);
    if (code != ENOTSUP) return code;
    return save_copy(cache, path, replaces != 0, durable != 0, error);
}

int bc_cache_has_writer(struct bc_cache *cache) {
    bc_assert(cache != NULL);
    if (enter(cache, NULL) != 0) return 0;
    enum bc_lock lock = BC_LOCK_FREE;
    if (is_opened(cache)) lock = bc__sys_probe_lock(cache->disk.file.file);
    leave(cache);
    return lock == BC_LOCK_UNKNOWN ? -1 : lock == BC_LOCK_HELD;
}

int bc_file_discard(const char *path, struct bc_error *error) {
    bc_assert(path != NULL);
    return bc__disk_discard(path, error);
}

int bc_cache_is_unlocked(const struct bc_cache *cache) {
    return cache->has_disk && cache->disk.file.refused != 0;
}

/* ---- looking ---- */

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
    bool busy = is_selected || cache->readers_made > 0 || cache->readers != NULL;
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

int bc_cache_find_row(struct bc_cache *cache, uint64_t row, uint64_t *out_batch,
                      uint64_t *out_row_in_batch, struct bc_error *error) {
    bc_assert(cache != NULL && out_batch != NULL && out_row_in_batch != NULL);
    struct bc_index_entry entry;
    struct bc_pin pin;
    bc__cache_pin_first(cache, &pin);
    int code = enter(cache, error);
    if (code == 0) {
        code =
            bc__store_find_row(&cache->store, pin.number, row, out_batch, &entry, error);
        leave(cache);
    }
    bc__cache_unpin(cache, &pin);
    if (code == 0) *out_row_in_batch = row - entry.first_row;
    return code;
}

static int row_starts(struct bc_cache *cache, uint64_t start, uint64_t n,
                      uint64_t *out_rows, struct bc_error *error) {
    uint64_t batches = bc__store_published(&cache->store);
    if (start > batches || n > batches - start) {
        return bc__error_set(error, EINVAL, "Only %llu batches are recorded",
                             (unsigned long long)batches);
    }
    uint64_t end = start == 0 ? 0 : UINT64_MAX;
    for (uint64_t i = 0; i < n || end == UINT64_MAX; i++) {
        struct bc_index_entry entry;
        uint64_t number = n == 0 ? start - 1 : start + i;
        int code = bc__store_entry(&cache->store, number, &entry, error);
        if (code != 0) return code;
        end = entry.first_row + entry.rows;
        if (n > 0) out_rows[i] = entry.first_row;
    }
    out_rows[n] = end;
    return 0;
}

int bc_cache_row_starts(struct bc_cache *cache, uint64_t start, uint64_t n,
                        uint64_t *out_rows, struct bc_error *error) {
    bc_assert(cache != NULL && out_rows != NULL);
    struct bc_pin pin;
    /* Without any, the end of the one before is wanted. */
    uint64_t first = n == 0 && start > 0 ? start - 1 : start;
    int code = bc__cache_pin(cache, &pin, first, error);
    if (code != 0) return code;
    code = enter(cache, error);
    if (code == 0) {
        code = row_starts(cache, start, n, out_rows, error);
        leave(cache);
    }
    bc__cache_unpin(cache, &pin);
    return code;
}

static enum bc_file_kind kind_of(const struct bc_cache *cache) {
    const struct bc_disk *disk = &cache->disk;
    if (!cache->has_disk) return BC_FILE_NONE;
    if (!is_opened(cache)) {
        return disk->file.dir_path != NULL ? BC_FILE_CACHE : BC_FILE_RECORDING;
    }
    if (atomic_load(&disk->has_trailer) || disk->scanner.is_ours)
        return BC_FILE_RECORDING;
    return disk->blocks != NULL ? BC_FILE_ARROW : BC_FILE_STREAM;
}

/* The same for batch `number`, which is pinned; `*out_found`: it is in the file. */
static int measure_batch(struct bc_cache *cache, uint64_t number, int64_t *columns,
                         enum bc_codec *out_codec, bool *out_found,
                         struct bc_error *error) {
    struct bc_index_entry entry;
    int code = enter(cache, error);
    if (code != 0) return code;
    code = bc__store_entry(&cache->store, number, &entry, error);
    *out_found = code == 0 && entry.extent.size > 0;
    if (*out_found) {
        code = bc__disk_measure(&cache->disk, entry.extent.offset, entry.extent.size,
                                number, columns, out_codec, error);
    }
    leave(cache);
    return code;
}

/* Adds up the bytes of every column of the file, in all batches; or, where `columns` is
 * NULL, looks at the first one. Between two batches others may record and evict. */
static int measure(struct bc_cache *cache, int64_t *columns, enum bc_codec *out_codec,
                   struct bc_error *error) {
    struct bc_pin pin;
    bc__cache_pin_first(cache, &pin);
    uint64_t batches = bc__store_published(&cache->store);
    enum bc_codec codec;
    bool found = false;
    bool found_any = false;
    int code = 0;
    for (uint64_t i = pin.number; i < batches && code == 0; i++) {
        if (found_any && columns == NULL) break;
        code = measure_batch(cache, i, columns, &codec, &found, error);
        if (code == 0 && found && !found_any) *out_codec = codec;
        found_any = found_any || found;
        bc__cache_move_pin(cache, &pin, i + 1);
    }
    bc__cache_unpin(cache, &pin);
    return code;
}

/* What the file is. `columns` are all of its columns. */
static int describe_file(struct bc_cache *cache, int64_t *columns,
                         struct bc_file_info *info, struct bc_error *error) {
    struct bc_disk *disk = &cache->disk;
    int64_t size;
    int code = bc__sys_size(disk->file.file, &size);
    if (code != 0) {
        return bc__error_set(error, code, "Disk read failed: %s",
                             bc__error_message(code));
    }
    bool has_end = disk->saw_end || atomic_load(&disk->has_trailer);
    bool is_foreign = is_opened(cache) && !disk->scanner.is_ours;
    info->bytes = (uint64_t)size;
    info->checksums = disk->encoder.checksums;
    info->complete = has_end || (is_foreign && !disk->is_partial);
    bc__dictionaries_measure(&disk->dictionaries, &info->dictionary_batches,
                             &info->dictionary_bytes, columns);
    return 0;
}

/* The bytes of the columns that the cache has, of those of its file. */
static void give_columns(struct bc_cache *cache, const int64_t *columns,
                         uint64_t *out_column_bytes) {
    /* Set once, both, under the lock. */
    bc__mutex_lock(&cache->lock);
    const struct bc_schema *schema =
        cache->selection == NULL ? cache->schema : cache->selection->schema;
    int32_t n = schema->fields[0].n_children;
    for (int32_t i = 0; i < n; i++) {
        int32_t column = cache->columns == NULL ? i : cache->columns[i];
        out_column_bytes[i] = (uint64_t)columns[column];
    }
    bc__mutex_unlock(&cache->lock);
}

int bc_cache_describe(struct bc_cache *cache, struct bc_file_info *out_info,
                      uint64_t *out_column_bytes, struct bc_error *error) {
    bc_assert(cache != NULL && out_info != NULL);
    int code = bc__error_struct_size(out_info->struct_size, sizeof(*out_info),
                                     "sizeof(struct bc_file_info)", error);
    if (code != 0) return code;
    struct bc_file_info info = {.struct_size = sizeof(info), .kind = kind_of(cache)};
    int32_t n = cache->schema->fields[0].n_children;
    int64_t *columns = bc__calloc((size_t)n + 1, sizeof(*columns));
    if (columns == NULL) return bc__error_memory(error);
    enum bc_codec codec = BC_CODEC_NONE;
    bool has_file = info.kind != BC_FILE_NONE;
    bool measures = out_column_bytes != NULL;
    if (has_file) code = measure(cache, measures ? columns : NULL, &codec, error);
    info.compression = (enum bc_compression)codec;
    if (code == 0) code = enter(cache, error);
    if (code == 0) {
        if (has_file) code = describe_file(cache, columns, &info, error);
        leave(cache);
    }
    if (code == 0) *out_info = info;
    if (code == 0 && measures) give_columns(cache, columns, out_column_bytes);
    bc__free(columns);
    return code;
}
