/* The statistics of a cache's batches: bc_cache_statistics.
 *
 *  - A recording, or a cache with BC_STATISTICS_ALWAYS, gathers each batch that it
 * stores.
 *  - An opened recording reads them from its file, if the file has them.
 *  - Any other cache gathers a column when its statistics are first needed.
 *
 * The lock of bc__cache_enter guards them. It is released between two batches. */
#include "disk/statistics.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"
#include "replay/export.h"

static int statistics_error(int code, struct bc_error *error) {
    if (code == ENOMEM) return bc__error_memory(error);
    return bc__error_set(error, code, "The statistics have no table: %s",
                         bc__error_message(code));
}

int bc__cache_gather_all(struct bc_cache *cache, struct bc_error *error) {
    bc_assert(cache->statistics == NULL);
    int code = bc__statistics_new(cache->schema, &cache->statistics);
    if (code != 0) return statistics_error(code, error);
    bc__store_gather(&cache->store, cache->statistics);
    return 0;
}

/* Makes empty statistics if the cache has none. */
static int make_statistics(struct bc_cache *cache, struct bc_error *error) {
    if (cache->statistics_policy == BC_STATISTICS_NEVER) {
        return bc__error_set(error, EINVAL, "The cache was made without statistics");
    }
    int code = bc__cache_enter(cache, error);
    if (code != 0) return code;
    if (cache->statistics == NULL) {
        code = bc__statistics_new(cache->schema, &cache->statistics);
    }
    bc__cache_leave(cache);
    return code == 0 ? 0 : statistics_error(code, error);
}

/* ---- gathering ---- */

/* Gathers the columns of the next batch that lacks them, below `end`. The cache is
 * entered. `low`: earlier batches may be evicted. `out_batch`: to unreference, or NULL.
 */
static int gather_next(struct bc_cache *cache, const struct bc_projection *columns,
                       uint64_t low, uint64_t end, struct bc_batch **out_batch,
                       bool *out_done, struct bc_error *error) {
    uint64_t number = bc__statistics_count(cache->statistics, columns);
    *out_batch = NULL;
    *out_done = number >= end;
    if (*out_done) return 0;
    struct bc_batch *batch = NULL;
    bool borrowed = true;
    struct bc_batch_info info;
    if (number >= low) {
        int code = bc__store_get(&cache->store, number, columns, false, &batch, &borrowed,
                                 &info, error);
        if (code != 0) return code;
    }
    int code = bc__statistics_add_columns(cache->statistics, number, batch, columns);
    if (!borrowed) *out_batch = batch;
    return code == 0 ? 0 : bc__error_memory(error);
}

/* Gathers the columns of all batches below `end`. Those from `low` on are pinned. */
static int gather(struct bc_cache *cache, const struct bc_projection *columns,
                  uint64_t low, uint64_t end, struct bc_error *error) {
    struct bc_hook_state state;
    int code = bc__ingest_enter_hooks(&cache->ingest, &state, error);
    if (code != 0) return code;
    for (bool done = false; code == 0 && !done;) {
        struct bc_batch *batch = NULL;
        code = bc__ingest_poll(&cache->ingest, error);
        if (code == 0) code = bc__cache_enter(cache, error);
        if (code != 0) break;
        code = gather_next(cache, columns, low, end, &batch, &done, error);
        bc__cache_leave(cache);
        bc__batch_unref(batch);
    }
    bc__ingest_leave_hooks(&cache->ingest, &state);
    return code;
}

int bc__cache_gather(struct bc_cache *cache, struct bc_error *error) {
    int code = make_statistics(cache, error);
    if (code != 0) return code;
    struct bc_pin pin;
    bc__cache_pin_first(cache, &pin);
    code = gather(cache, NULL, pin.number, bc__store_published(&cache->store), error);
    bc__cache_unpin(cache, &pin);
    return code;
}

/* ---- tables ---- */

static bool is_in_file(const struct bc_cache *cache) {
    return bc__cache_is_opened(cache) && atomic_load(&cache->disk.has_trailer) &&
           cache->disk.trailer.statistics_bytes > 0;
}

/* Reads the table from the file. `*out_table` stays NULL if it is damaged. */
static int read_table(struct bc_cache *cache, const struct bc_projection *projection,
                      struct bc_batch **out_table, struct bc_error *error) {
    int code = bc__cache_enter(cache, error);
    if (code != 0) return code;
    code = bc__disk_read_statistics(&cache->disk, cache->statistics->table, projection,
                                    out_table, error);
    bc__cache_leave(cache);
    return code == EBADMSG ? 0 : code;
}

/* Makes the table of the batches from `low` to `end`, which were gathered. */
static int make_table(struct bc_cache *cache, const struct bc_projection *projection,
                      uint64_t low, uint64_t end, struct bc_batch **out_table,
                      struct bc_error *error) {
    uint64_t n = end - low;
    uint64_t *rows = bc__malloc((n + 1) * sizeof(*rows));
    if (rows == NULL) return bc__error_memory(error);
    int code = bc__cache_enter(cache, error);
    if (code == 0) {
        for (uint64_t i = 0; i < n && code == 0; i++) {
            struct bc_index_entry entry;
            code = bc__store_entry(&cache->store, low + i, &entry, error);
            if (code == 0) rows[i] = entry.rows;
        }
        if (code == 0) {
            code = bc__statistics_table(cache->statistics, projection, low, n, rows,
                                        out_table);
            if (code != 0) code = statistics_error(code, error);
        }
        bc__cache_leave(cache);
    }
    bc__free(rows);
    return code;
}

static int gather_table(struct bc_cache *cache, const struct bc_projection *columns,
                        const struct bc_projection *projection,
                        struct bc_batch **out_table, struct bc_error *error) {
    struct bc_pin pin;
    bc__cache_pin_first(cache, &pin);
    uint64_t end = bc__store_published(&cache->store);
    int code = gather(cache, columns, pin.number, end, error);
    if (code == 0) {
        code = make_table(cache, projection, pin.number, end, out_table, error);
    }
    bc__cache_unpin(cache, &pin);
    return code;
}

/* Exports the table, whose reference moves into the array. */
static int export_table(const struct bc_projection *projection, struct bc_batch *table,
                        struct ArrowSchema *out_schema, struct ArrowArray *out_array,
                        struct bc_error *error) {
    struct ArrowSchema schema;
    int code = bc__schema_export(projection->schema, &schema, error);
    if (code == 0) {
        code = bc__export_batch(projection->schema, projection->fields, table, NULL,
                                out_array);
        if (code != 0) {
            schema.release(&schema);
            code = bc__error_memory(error);
        }
    }
    if (code != 0) {
        bc__batch_unref(table);
        return code;
    }
    *out_schema = schema;
    return 0;
}

int bc_cache_statistics(struct bc_cache *cache, const int32_t *columns, int64_t n_columns,
                        struct ArrowSchema *out_schema, struct ArrowArray *out_array,
                        struct bc_error *error) {
    bc_assert(cache != NULL && out_schema != NULL && out_array != NULL);
    struct bc_projection *chosen = NULL;
    struct bc_projection *projection = NULL;
    struct bc_batch *table = NULL;
    int code = make_statistics(cache, error);
    if (code == 0) code = bc__cache_project(cache, columns, n_columns, &chosen, error);
    if (code == 0) {
        code = bc__statistics_project(cache->statistics, chosen, &projection, error);
    }
    if (code == 0 && is_in_file(cache)) {
        code = read_table(cache, projection, &table, error);
    }
    if (code == 0 && table == NULL) {
        code = gather_table(cache, chosen, projection, &table, error);
    }
    if (code == 0) {
        code = export_table(projection, table, out_schema, out_array, error);
    }
    bc__projection_free(chosen);
    bc__projection_free(projection);
    return code;
}

int bc_cache_verify_statistics(struct bc_cache *cache, struct bc_error *error) {
    if (!is_in_file(cache)) return 0;
    int code = make_statistics(cache, error);
    if (code == 0) code = bc__cache_enter(cache, error);
    if (code != 0) return code;
    struct bc_batch *table = NULL;
    code = bc__disk_read_statistics(&cache->disk, cache->statistics->table, NULL, &table,
                                    error);
    bc__cache_leave(cache);
    bc__batch_unref(table);
    return code;
}
