#include "replay/reader.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/refcount.h"
#include "replay/export.h"

/* Copies the order into the reader. Returns 0 or ENOMEM. */
static int copy_order(struct bc_reader *reader, const struct bc_reader_options *options) {
    uint64_t n = options->n_order;
    if (n > SIZE_MAX / sizeof(*reader->order) - 1) return ENOMEM;
    reader->order = bc__malloc((size_t)(n + 1) * sizeof(*reader->order));
    if (reader->order == NULL) return ENOMEM;
    if (reader->stop > n) reader->stop = n;
    reader->first = UINT64_MAX;
    for (uint64_t i = 0; i < n; i++) {
        reader->order[i] = options->order[i];
        bool is_read = i >= options->start && i < reader->stop &&
                       (i - options->start) % options->step == 0;
        if (is_read && options->order[i] < reader->first) {
            reader->first = options->order[i];
        }
    }
    return 0;
}

int bc__reader_new(const struct bc_reader_cache *cache,
                   const struct bc_reader_options *options,
                   struct bc_projection *projection, bool counted,
                   struct bc_reader **out_reader) {
    bc_assert(cache != NULL && cache->store != NULL);
    struct bc_reader *reader =
        counted ? bc__calloc_cacheline(sizeof(*reader)) : bc__calloc(1, sizeof(*reader));
    if (reader == NULL) return ENOMEM;
    reader->stop = options->stop;
    reader->step = options->step;
    int code = options->order == NULL ? 0 : copy_order(reader, options);
    if (code == 0) code = bc__borrow_list_new(counted, &reader->borrow_list);
    if (code != 0) {
        bc__free(reader->order);
        bc__free(reader);
        return code;
    }
    atomic_init(&reader->refs, 1);
    reader->cache = *cache;
    reader->projection = projection;
    atomic_init(&reader->cursor, options->start);
    reader->counted = counted;
    *out_reader = reader;
    return 0;
}

uint64_t bc__reader_mark(const struct bc_reader *reader) {
    uint64_t cursor = atomic_load_explicit(&reader->cursor, memory_order_acquire);
    if (cursor >= reader->stop) return UINT64_MAX;
    return reader->order == NULL ? cursor : reader->first;
}

void bc__reader_discard(struct bc_reader *reader) {
    bc_assert(reader != NULL);
    bc__borrow_list_orphan(reader->borrow_list);
    bc__projection_free(reader->projection);
    bc__free(reader->order);
    bc__free(reader);
}

void bc__reader_promote(struct bc_reader *reader) {
    bc__mutex_lock(&reader->borrow_list->lock);
    bc__borrow_list_promote(reader->borrow_list);
    bc__mutex_unlock(&reader->borrow_list->lock);
}

struct bc_reader *bc_reader_ref(struct bc_reader *reader) {
    bc__ref(&reader->refs);
    return reader;
}

void bc_reader_unref(struct bc_reader *reader) {
    if (reader == NULL || !bc__unref(&reader->refs)) return;
    const struct bc_reader_cache cache = reader->cache;
    bc__reader_promote(reader);
    cache.ops->on_close(cache.context, reader);
    bc__reader_discard(reader);
}

const struct bc_schema *bc__reader_schema(const struct bc_reader *reader) {
    return reader->projection == NULL ? reader->cache.store->schema
                                      : reader->projection->schema;
}

int bc_reader_schema(const struct bc_reader *reader, struct ArrowSchema *out_schema,
                     struct bc_error *error) {
    return bc__schema_export(bc__reader_schema(reader), out_schema, error);
}

uint64_t bc_reader_position(const struct bc_reader *reader) {
    return atomic_load_explicit(&reader->cursor, memory_order_relaxed);
}

enum step { STEP_DONE, STEP_NOT_YET, STEP_ENDED, STEP_FAILED };

struct result {
    uint64_t number;
    struct bc_batch *unused; /* a reference to drop: the export failed */
    int code;
};

/* Counts a batch by its tier. */
static void count_hit(_Atomic uint64_t *hits) {
    /* Written with the reader's lock only. */
    uint64_t before = atomic_load_explicit(hits, memory_order_relaxed);
    atomic_store_explicit(hits, before + 1, memory_order_relaxed);
}

/* Returns the number of the batch at the cursor, which is before the reader's end. */
static uint64_t number_at(const struct bc_reader *reader, uint64_t cursor) {
    return reader->order == NULL ? cursor : reader->order[cursor];
}

/* Moves the cursor to the next batch. The reader's lock is held. */
static void move_cursor(struct bc_reader *reader, uint64_t cursor) {
    uint64_t next = cursor + reader->step;
    if (next < cursor) next = UINT64_MAX;
    atomic_store_explicit(&reader->cursor, next, memory_order_release);
}

/* Exports the batch at the cursor if it is published. The reader's lock is held. */
static enum step read_at_cursor(struct bc_reader *reader, bool quick,
                                struct ArrowArray *out_array,
                                struct bc_batch_info *out_info, struct result *result,
                                struct bc_error *error) {
    struct bc_store *store = reader->cache.store;
    uint64_t cursor = atomic_load_explicit(&reader->cursor, memory_order_relaxed);
    if (atomic_load_explicit(reader->cache.closed, memory_order_acquire)) {
        result->code = bc__error_closed(error);
        return STEP_FAILED;
    }
    if (cursor >= reader->stop) return STEP_ENDED;
    uint64_t number = number_at(reader, cursor);
    result->number = number;
    if (number >= bc__store_published(store)) return STEP_NOT_YET;
    const struct bc_projection *projection = reader->projection;
    struct bc_batch *batch;
    bool borrowed;
    struct bc_batch_info info;
    const struct bc_store_read request = {number, projection, quick, 0};
    result->code = bc__store_get(store, &request, &batch, &borrowed, &info, error);
    if (result->code != 0) return STEP_FAILED;
    bool borrows = borrowed && reader->cache.ops->on_advance == NULL;
    if (borrowed && !borrows) (void)bc__batch_ref(batch);
    struct bc_borrow_list *borrow_list = borrows ? reader->borrow_list : NULL;
    const int32_t *fields = projection == NULL ? NULL : projection->fields;
    if (bc__export_batch(bc__reader_schema(reader), fields, batch, borrow_list,
                         out_array) != 0) {
        result->unused = borrows ? NULL : batch;
        result->code = bc__error_memory(error);
        return STEP_FAILED;
    }
    move_cursor(reader, cursor);
    count_hit(info.in_memory ? &reader->memory_hits : &reader->disk_hits);
    if (out_info != NULL) *out_info = info;
    return STEP_DONE;
}

/* Reports that the cursor has moved. No lock is held. */
static void report_position(const struct bc_reader *reader) {
    const struct bc_reader_cache *cache = &reader->cache;
    if (cache->ops->on_advance != NULL) cache->ops->on_advance(cache->context);
    if (!reader->counted || reader->order != NULL) return;
    bc__demand_on_position(&cache->ingest->demand, bc_reader_position(reader),
                           reader->stop);
}

/* Sets the error of a read that bc_reader_next_quick() does not do. */
static int not_quick_error(struct bc_error *error) {
    return bc__error_set(error, EAGAIN, "The read takes long, or waits for a thread");
}

static int order_error(uint64_t number, struct bc_error *error) {
    return bc__error_set(error, EINVAL,
                         "The order has batch %llu, which the stream lacks",
                         (unsigned long long)number);
}

static int end_stream(struct ArrowArray *out_array, struct bc_batch_info *out_info) {
    memset(out_array, 0, sizeof(*out_array));
    if (out_info != NULL) memset(out_info, 0, sizeof(*out_info));
    return 0;
}

/* ---- a storage ---- */

static int get_stored(struct bc_reader *reader, uint64_t number,
                      struct bc_batch **out_batch, struct bc_batch_info *out_info,
                      struct bc_error *error) {
    const struct bc_reader_cache *cache = &reader->cache;
    struct bc_hook_state state;
    int code = bc__ingest_enter_hooks(cache->ingest, &state, error);
    if (code != 0) return code;
    code = cache->ops->enter(cache->context, error);
    if (code == 0) {
        bool borrowed;
        bool is_in_order = reader->order == NULL && reader->step == 1;
        const struct bc_store_read request = {number, reader->projection, false,
                                              is_in_order ? reader->stop : 0};
        code =
            bc__store_get(cache->store, &request, out_batch, &borrowed, out_info, error);
        bc_assert(code != 0 || !borrowed);
        cache->ops->leave(cache->context);
    }
    bc__ingest_leave_hooks(cache->ingest, &state);
    return code;
}

/* Exports the batch, unless the cursor has moved or the cache is closed: then
 * `*out_array` is released. The batch's reference moves in. */
static int export_stored(struct bc_reader *reader, uint64_t cursor,
                         struct bc_batch *batch, struct ArrowArray *out_array,
                         struct bc_error *error) {
    const struct bc_projection *projection = reader->projection;
    const int32_t *fields = projection == NULL ? NULL : projection->fields;
    out_array->release = NULL;
    bc__mutex_lock(&reader->borrow_list->lock);
    bool is_current = atomic_load(&reader->cursor) == cursor &&
                      !atomic_load_explicit(reader->cache.closed, memory_order_acquire);
    int code = 0;
    if (is_current) {
        code =
            bc__export_batch(bc__reader_schema(reader), fields, batch, NULL, out_array);
    }
    bool is_exported = is_current && code == 0;
    if (is_exported) {
        move_cursor(reader, cursor);
        count_hit(&reader->disk_hits);
    }
    bc__mutex_unlock(&reader->borrow_list->lock);
    if (!is_exported) bc__batch_unref(batch);
    return code == 0 ? 0 : bc__error_memory(error);
}

/* As next_batch(), without the reader's lock while the batch is read. */
static int next_stored(struct bc_reader *reader, struct ArrowArray *out_array,
                       struct bc_batch_info *out_info, struct bc_error *error) {
    const struct bc_reader_cache *cache = &reader->cache;
    for (;;) {
        if (atomic_load_explicit(cache->closed, memory_order_acquire)) {
            return bc__error_closed(error);
        }
        uint64_t cursor = atomic_load_explicit(&reader->cursor, memory_order_relaxed);
        uint64_t published = bc__store_published(cache->store);
        if (cursor >= reader->stop || (reader->order == NULL && cursor >= published)) {
            return end_stream(out_array, out_info);
        }
        uint64_t number = number_at(reader, cursor);
        if (number >= published) return order_error(number, error);
        struct bc_batch *batch;
        struct bc_batch_info info;
        int code = get_stored(reader, number, &batch, &info, error);
        if (code == 0) code = export_stored(reader, cursor, batch, out_array, error);
        if (code != 0) return code;
        if (out_array->release == NULL) continue;
        if (out_info != NULL) *out_info = info;
        report_position(reader);
        return 0;
    }
}

static int next_batch(struct bc_reader *reader, bool quick, struct ArrowArray *out_array,
                      struct bc_batch_info *out_info, struct bc_error *error) {
    bc_assert(reader != NULL && out_array != NULL);
    const struct bc_reader_cache *cache = &reader->cache;
    if (cache->ops->enter != NULL) {
        return quick ? not_quick_error(error)
                     : next_stored(reader, out_array, out_info, error);
    }
    for (;;) {
        struct result result = {0, NULL, 0};
        /* Read before the published count: the count then includes every batch before the
         * end. */
        bool exhausted = bc__ingest_exhausted(cache->ingest);
        if (!quick) {
            bc__mutex_lock(&reader->borrow_list->lock);
        } else if (!bc__mutex_try_lock(&reader->borrow_list->lock)) {
            return not_quick_error(error);
        }
        enum step step =
            read_at_cursor(reader, quick, out_array, out_info, &result, error);
        bc__mutex_unlock(&reader->borrow_list->lock);
        if (step == STEP_DONE) {
            report_position(reader);
            return 0;
        }
        if (step == STEP_FAILED) {
            bc__batch_unref(result.unused);
            return result.code == EAGAIN ? not_quick_error(error) : result.code;
        }
        if (exhausted && step == STEP_NOT_YET && reader->order != NULL) {
            return order_error(result.number, error);
        }
        if (exhausted || step == STEP_ENDED) return end_stream(out_array, out_info);
        int code = cache->ops->advance(cache->context, result.number, error);
        if (code != 0) return code;
    }
}

int bc_reader_next(struct bc_reader *reader, struct ArrowArray *out_array,
                   struct bc_batch_info *out_info, struct bc_error *error) {
    return next_batch(reader, false, out_array, out_info, error);
}

int bc_reader_next_quick(struct bc_reader *reader, struct ArrowArray *out_array,
                         struct bc_batch_info *out_info, struct bc_error *error) {
    return next_batch(reader, true, out_array, out_info, error);
}

int bc_reader_skip(struct bc_reader *reader, uint64_t number) {
    const struct bc_reader_cache *cache = &reader->cache;
    int code = 0;
    /* Another thread may hold the lock for a whole read. */
    if (!bc__mutex_try_lock(&reader->borrow_list->lock)) return EAGAIN;
    uint64_t cursor = atomic_load_explicit(&reader->cursor, memory_order_relaxed);
    if (atomic_load_explicit(cache->closed, memory_order_acquire)) {
        code = EINVAL;
    } else if (cursor >= reader->stop || number_at(reader, cursor) != number ||
               number >= bc__store_published(cache->store)) {
        code = EAGAIN;
    } else {
        move_cursor(reader, cursor);
        count_hit(&reader->memory_hits);
    }
    bc__mutex_unlock(&reader->borrow_list->lock);
    if (code == 0) report_position(reader);
    return code;
}

static int stream_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    struct bc_reader *reader = stream->private_data;
    return bc_reader_schema(reader, out, &reader->error);
}

static int stream_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct bc_reader *reader = stream->private_data;
    return bc_reader_next(reader, out, NULL, &reader->error);
}

static const char *stream_error(struct ArrowArrayStream *stream) {
    const struct bc_reader *reader = stream->private_data;
    if (reader->error.code == 0) return NULL;
    if (reader->error.kind != BC_ERROR_SOURCE) return reader->error.message;
    /* The message in a bc_error may be cut. The ingest has the whole message. */
    const char *message = NULL;
    (void)bc__ingest_failure(reader->cache.ingest, &message);
    return message == NULL ? reader->error.message : message;
}

static void stream_release(struct ArrowArrayStream *stream) {
    bc_reader_unref(stream->private_data);
    stream->release = NULL;
}

void bc_reader_export(struct bc_reader *reader, struct ArrowArrayStream *out_stream) {
    bc_assert(reader != NULL && out_stream != NULL);
    *out_stream = (struct ArrowArrayStream){.get_schema = stream_schema,
                                            .get_next = stream_next,
                                            .get_last_error = stream_error,
                                            .release = stream_release,
                                            .private_data = reader};
}

bool bc__reader_is_stream(const struct ArrowArrayStream *stream) {
    return stream->get_next == stream_next;
}
