/* The statistics of a cache's batches: bc_cache_statistics.
 *
 *  - A recording, or a cache with BC_STATISTICS_ALWAYS, gathers each batch that it
 * stores.
 *  - An opened recording reads them from its file, if the file has them.
 *  - Any other cache gathers a column when its statistics are first needed.
 *
 * The ingest's store_lock guards them. It is released between two batches. A storage is
 * read without it. */
#include "disk/statistics.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "cache/cache.h"
#include "replay/export.h"

/* Locks the statistics of a cache that is entered. */
static void lock_statistics(struct bc_cache *cache) {
    if (bc__cache_has_storage(cache)) bc__mutex_lock(&cache->ingest.store_lock);
}

static void unlock_statistics(struct bc_cache *cache) {
    if (bc__cache_has_storage(cache)) bc__mutex_unlock(&cache->ingest.store_lock);
}

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
    lock_statistics(cache);
    if (cache->statistics == NULL) {
        code = bc__statistics_new(cache->schema, &cache->statistics);
    }
    unlock_statistics(cache);
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
    lock_statistics(cache);
    uint64_t number = bc__statistics_count(cache->statistics, columns);
    unlock_statistics(cache);
    *out_batch = NULL;
    *out_done = number >= end;
    if (*out_done) return 0;
    struct bc_batch *batch = NULL;
    bool borrowed = true;
    struct bc_batch_info info;
    if (number >= low) {
        const struct bc_store_read request = {number, columns, false, end};
        int code =
            bc__store_get(&cache->store, &request, &batch, &borrowed, &info, error);
        if (code != 0) return code;
    }
    int code = 0;
    lock_statistics(cache);
    /* Another thread may have gathered this batch of a storage meanwhile. */
    if (bc__statistics_count(cache->statistics, columns) == number) {
        code = bc__statistics_add_columns(cache->statistics, number, batch, columns);
    }
    unlock_statistics(cache);
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
    uint64_t *rows = bc__calloc((size_t)n + 1, sizeof(*rows));
    if (rows == NULL) return bc__error_memory(error);
    int code = bc__cache_enter(cache, error);
    if (code == 0) {
        for (uint64_t i = 0; i < n && code == 0; i++) {
            struct bc_index_entry entry;
            code = bc__store_entry(&cache->store, low + i, &entry, error);
            if (code == 0) rows[i] = entry.rows;
        }
        if (code == 0) {
            lock_statistics(cache);
            code = bc__statistics_table(cache->statistics, projection, low, n, rows,
                                        out_table);
            unlock_statistics(cache);
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

/* ---- the columns asked for ---- */

/* Columns, by their index in the cache's schema and in the stream's. */
struct columns {
    int64_t n;
    int32_t *own;
    int32_t *stream;
    struct bc_projection *read;  /* of the stream */
    struct bc_projection *table; /* of the table of statistics */
};

static void columns_finish(struct columns *columns) {
    bc__free(columns->own);
    bc__projection_free(columns->read);
    bc__projection_free(columns->table);
}

/* Finds the columns. `given`: NULL means all columns of the cache. */
static int find_columns(struct bc_cache *cache, const int32_t *given, int64_t n,
                        struct columns *out, struct bc_error *error) {
    memset(out, 0, sizeof(*out));
    /* Both members are set once, with the lock. */
    bc__mutex_lock(&cache->lock);
    const struct bc_schema *schema =
        cache->selection == NULL ? cache->schema : cache->selection->schema;
    const int32_t *selected = cache->columns;
    bc__mutex_unlock(&cache->lock);
    int32_t n_own = schema->fields[0].n_children;
    out->n = given == NULL ? n_own : n;
    out->own = bc__malloc(((size_t)out->n * 2 + 1) * sizeof(*out->own));
    if (out->own == NULL) return bc__error_memory(error);
    out->stream = out->own + out->n;
    for (int64_t i = 0; i < out->n; i++) {
        int32_t column = given == NULL ? (int32_t)i : given[i];
        bool exists = column >= 0 && column < n_own;
        out->own[i] = column;
        out->stream[i] = !exists ? -1 : selected == NULL ? column : selected[column];
    }
    int code = bc__projection_new(cache->schema, out->stream, out->n, &out->read, error);
    if (code == 0) {
        code = bc__statistics_project(cache->statistics, out->stream, out->n, &out->table,
                                      error);
    }
    if (code != 0) columns_finish(out);
    return code;
}

/* Exports the schema of the table. The path of a leaf begins with the index of its column
 * in the cache's schema. */
static int export_schema(const struct bc_cache *cache, const struct columns *columns,
                         struct ArrowSchema *out_schema, struct bc_error *error) {
    struct ArrowSchema schema;
    int code = bc__schema_export(columns->table->schema, &schema, error);
    if (code != 0) return code;
    int64_t child = BC_STATISTICS_COLUMNS;
    for (int64_t i = 0; i < columns->n && code == 0; i++) {
        int32_t n = bc__statistics_leaves(cache->statistics, columns->stream[i]);
        for (; n > 0 && code == 0; n--, child++) {
            code = bc__statistics_set_column(schema.children[child], columns->own[i]);
        }
    }
    if (code != 0) {
        schema.release(&schema);
        return bc__error_memory(error);
    }
    *out_schema = schema;
    return 0;
}

/* Exports the table, whose reference moves into the array. */
static int export_table(const struct bc_cache *cache, const struct columns *columns,
                        struct bc_batch *table, struct ArrowSchema *out_schema,
                        struct ArrowArray *out_array, struct bc_error *error) {
    struct ArrowSchema schema;
    int code = export_schema(cache, columns, &schema, error);
    if (code == 0) {
        code = bc__export_batch(columns->table->schema, columns->table->fields, table,
                                NULL, out_array);
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
    struct columns found;
    struct bc_batch *table = NULL;
    int code = make_statistics(cache, error);
    if (code == 0) code = find_columns(cache, columns, n_columns, &found, error);
    if (code != 0) return code;
    bc_assert(found.read != NULL && found.table != NULL);
    if (is_in_file(cache)) code = read_table(cache, found.table, &table, error);
    if (code == 0 && table == NULL) {
        code = gather_table(cache, found.read, found.table, &table, error);
    }
    if (code == 0) {
        code = export_table(cache, &found, table, out_schema, out_array, error);
    }
    columns_finish(&found);
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
