/* A description of a cache's file: bc_cache_file_info. */
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sys.h"
#include "cache/cache.h"

static enum bc_file_kind file_kind(const struct bc_cache *cache) {
    const struct bc_disk *disk = &cache->disk;
    if (!cache->has_disk) return BC_FILE_NONE;
    if (!bc__cache_is_opened(cache)) {
        return disk->file.dir_path != NULL ? BC_FILE_CACHE : BC_FILE_RECORDING;
    }
    if (atomic_load(&disk->has_trailer) || disk->scanner.is_ours)
        return BC_FILE_RECORDING;
    return disk->blocks != NULL ? BC_FILE_ARROW : BC_FILE_STREAM;
}

/* Adds up the bytes of each column of batch `number`, which is pinned. `out_found`: the
 * batch is in the file. */
static int measure_batch(struct bc_cache *cache, uint64_t number, int64_t *columns,
                         enum bc_codec *out_codec, bool *out_found,
                         struct bc_error *error) {
    struct bc_index_entry entry;
    int code = bc__cache_enter(cache, error);
    if (code != 0) return code;
    code = bc__store_entry(&cache->store, number, &entry, error);
    *out_found = code == 0 && entry.extent.size > 0;
    if (*out_found) {
        code = bc__disk_measure(&cache->disk, entry.extent, number, columns, out_codec,
                                error);
    }
    bc__cache_leave(cache);
    return code;
}

/* Adds up the bytes of each column of the file, over all batches. `columns`: NULL means
 * that only the codec of the first batch is read. Between two batches, other threads may
 * record and evict. */
static int measure_batches(struct bc_cache *cache, int64_t *columns,
                           enum bc_codec *out_codec, struct bc_error *error) {
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

/* Describes the file as a whole, and adds dictionaries to `columns`, all of its
 * columns. */
static int describe_file(struct bc_cache *cache, int64_t *columns,
                         struct bc_file_info *info, struct bc_error *error) {
    struct bc_disk *disk = &cache->disk;
    int64_t size;
    int code = bc__file_size(&disk->file, &size);
    if (code != 0) {
        return bc__error_set(error, code, "Disk read failed: %s",
                             bc__error_message(code));
    }
    bool has_end = disk->saw_end || atomic_load(&disk->has_trailer);
    bool is_foreign = bc__cache_is_opened(cache) && !disk->scanner.is_ours;
    info->bytes = (uint64_t)size;
    info->checksum = disk->encoder.checksums;
    info->complete = has_end || (is_foreign && !disk->is_partial);
    bc__dictionaries_measure(&disk->dictionaries, &info->dictionary_batches,
                             &info->dictionary_bytes, columns);
    return 0;
}

/* Writes the bytes of the cache's columns, which may be a selection of the file's
 * columns. */
static void write_selected_columns(struct bc_cache *cache, const int64_t *columns,
                                   uint64_t *out_column_bytes) {
    /* Both members are set once, with the lock. */
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

int bc_cache_file_info(struct bc_cache *cache, struct bc_file_info *out_info,
                       uint64_t *out_column_bytes, struct bc_error *error) {
    bc_assert(cache != NULL && out_info != NULL);
    int code = bc__struct_check_size(out_info->struct_size, error);
    if (code != 0) return code;
    struct bc_file_info info = {.struct_size = out_info->struct_size,
                                .kind = file_kind(cache)};
    int32_t n = cache->schema->fields[0].n_children;
    int64_t *columns = bc__calloc((size_t)n + 1, sizeof(*columns));
    if (columns == NULL) return bc__error_memory(error);
    enum bc_codec codec = BC_CODEC_NONE;
    bool has_file = info.kind != BC_FILE_NONE;
    bool measures = out_column_bytes != NULL;
    if (has_file) code = measure_batches(cache, measures ? columns : NULL, &codec, error);
    info.compression = (enum bc_compression)codec;
    if (code == 0) code = bc__cache_enter(cache, error);
    if (code == 0) {
        if (has_file) code = describe_file(cache, columns, &info, error);
        bc__cache_leave(cache);
    }
    if (code == 0) {
        bc__struct_write(out_info, out_info->struct_size, &info, sizeof(info));
    }
    if (code == 0 && measures) write_selected_columns(cache, columns, out_column_bytes);
    bc__free(columns);
    return code;
}
