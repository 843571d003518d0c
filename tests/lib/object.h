/* A recording as an object of an object store: functions read it from memory, count the
 * bytes, and fail on demand. */
#ifndef BC_TESTS_LIB_OBJECT_H
#define BC_TESTS_LIB_OBJECT_H

#include "recording.h"

enum { OBJECT_BATCHES = 150, OBJECT_ROWS = 1000 };

struct object {
    uint8_t *bytes;
    int64_t size;
    int64_t fail_at; /* number of the call of `read` that fails, or -1 */
    int fail_code;
    const char *fail_text; /* its message; NULL: none */
    int ahead_code;        /* the result of `ahead` */
    _Atomic int64_t reads, ranges_read, bytes_read;
    _Atomic int64_t aheads, bytes_ahead, ahead_to;
    _Atomic int releases, distrusts;
    int64_t wrong_at; /* offset of a byte that is wrong until `distrust`, or -1 */
};

static inline int object_read(void *context, const struct bc_range *ranges,
                              void *const *buffers, size_t n, struct bc_error *error) {
    struct object *object = context;
    CHECK(n > 0);
    if (object->reads++ == object->fail_at) {
        if (object->fail_text != NULL) {
            (void)snprintf(error->message, sizeof(error->message), "%s",
                           object->fail_text);
        }
        return object->fail_code;
    }
    for (size_t i = 0; i < n; i++) {
        CHECK(ranges[i].offset >= 0 && ranges[i].size > 0);
        CHECK(ranges[i].size <= object->size - ranges[i].offset);
        memcpy(buffers[i], object->bytes + ranges[i].offset, (size_t)ranges[i].size);
        object->bytes_read += ranges[i].size;
        int64_t wrong = object->wrong_at - ranges[i].offset;
        bool is_wrong = object->wrong_at >= 0 && wrong >= 0 && wrong < ranges[i].size;
        if (is_wrong) ((uint8_t *)buffers[i])[wrong] ^= 1;
    }
    object->ranges_read += (int64_t)n;
    return 0;
}

static inline int object_ahead(void *context, const struct bc_range *ranges, size_t n) {
    struct object *object = context;
    CHECK(n > 0);
    object->aheads++;
    for (size_t i = 0; i < n; i++) {
        CHECK(ranges[i].offset >= 0 && ranges[i].size > 0);
        CHECK(ranges[i].size <= object->size - ranges[i].offset);
        object->bytes_ahead += ranges[i].size;
        object->ahead_to = ranges[i].offset + ranges[i].size;
    }
    return object->ahead_code;
}

static inline void object_distrust(void *context) {
    struct object *object = context;
    object->distrusts++;
    object->wrong_at = -1;
}

static inline void object_release(void *context) {
    struct object *object = context;
    object->releases++;
}

static inline void object_init(struct object *object, const char *path) {
    *object = (struct object){.size = file_size(path), .fail_at = -1, .wrong_at = -1};
    object->bytes = malloc((size_t)object->size);
    int file = open(path, O_RDONLY);
    CHECK(read(file, object->bytes, (size_t)object->size) == object->size);
    CHECK(close(file) == 0);
}

static inline void object_finish(struct object *object) { free(object->bytes); }

static inline int object_open(struct object *object, struct bc_file_options options,
                              struct bc_cache **out_cache, struct bc_error *error) {
    const struct bc_storage storage = {.size = object->size,
                                       .read = object_read,
                                       .ahead = object_ahead,
                                       .distrust = object_distrust,
                                       .release = object_release,
                                       .context = object};
    options.storage = &storage;
    return bc_file_open("store://bucket/x.arrows", &options, out_cache, error);
}

static inline struct bc_cache *object_cache(struct object *object) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = object_open(object, options, &cache, &error);
    if (code != 0) printf("# %s\n", error.message);
    CHECK(code == 0);
    return cache;
}

static inline void object_close(struct object *object, struct bc_cache *cache) {
    bc_cache_unref(cache);
    CHECK(object->releases == 1);
    object_finish(object);
}

/* Makes a recording of `OBJECT_BATCHES` batches, which are too large to be read whole. */
static inline void object_record(const char *path) {
    struct counting_source source;
    counting_source_init(&source, OBJECT_BATCHES, OBJECT_ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.memory_capacity = 0;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == OBJECT_BATCHES);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* Reads all batches of such a recording from `first` on. */
static inline void object_check_batches(struct bc_reader *reader, int64_t first) {
    struct counting_source source;
    counting_source_init(&source, OBJECT_BATCHES, OBJECT_ROWS);
    atomic_store(&source.arrays_alive, OBJECT_BATCHES - first);
    CHECK(counting_source_drain(&source, reader, first) == OBJECT_BATCHES);
}

#endif
