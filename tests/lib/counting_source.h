/* Sources for the tests: streams of small batches that count their live arrays. */
#ifndef BC_TESTS_LIB_COUNTING_SOURCE_H
#define BC_TESTS_LIB_COUNTING_SOURCE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batchcorder/batchcorder.h"
#include "event.h"
#include "nanoarrow/nanoarrow.h"
#include "tap.h"

/* A stream of `n_batches` batches of three columns: x, an int64 that counts the rows of
 * the whole stream; s, a string "row N", null in every third row; and d, row N modulo 3
 * in a dictionary that changes with every second batch, or that grows with every one. */
struct counting_source {
    int64_t n_batches;
    int64_t rows;    /* in each batch */
    bool grows;      /* the dictionary grows */
    int64_t fail_at; /* index of the call of get_next that fails, or -1 */
    int fail_code;
    const char *fail_text;
    /* get_next calls this before it makes batch `n`. */
    void (*before)(void *context, int64_t n);
    void *context;

    int64_t next;
    _Atomic int64_t arrays_alive;
    _Atomic int stream_alive;
    _Atomic int callers; /* threads inside get_next */
};

static inline void counting_source_release_array(struct ArrowArray *array) {
    struct ArrowArray *inner = array->private_data;
    struct counting_source *source = inner->private_data;
    struct ArrowArray *tree = (struct ArrowArray *)inner->children[0];
    tree->release(tree);
    free(tree);
    free(inner->children);
    free(inner);
    atomic_fetch_sub(&source->arrays_alive, 1);
    array->release = NULL;
}

/* Wraps a nanoarrow array so that its release is counted. */
static inline void counting_source_wrap(struct counting_source *source,
                                        struct ArrowArray *tree, struct ArrowArray *out) {
    struct ArrowArray *inner = calloc(1, sizeof(*inner));
    struct ArrowArray *moved = malloc(sizeof(*moved));
    *moved = *tree;
    inner->children = malloc(sizeof(void *));
    inner->children[0] = moved;
    inner->private_data = source;
    *out = *moved;
    out->release = counting_source_release_array;
    out->private_data = inner;
    atomic_fetch_add(&source->arrays_alive, 1);
}

static inline int counting_source_schema(struct ArrowArrayStream *stream,
                                         struct ArrowSchema *out) {
    (void)stream;
    ArrowSchemaInit(out);
    CHECK(ArrowSchemaSetTypeStruct(out, 3) == 0);
    CHECK(ArrowSchemaSetType(out->children[0], NANOARROW_TYPE_INT64) == 0);
    CHECK(ArrowSchemaSetName(out->children[0], "x") == 0);
    CHECK(ArrowSchemaSetType(out->children[1], NANOARROW_TYPE_STRING) == 0);
    CHECK(ArrowSchemaSetName(out->children[1], "s") == 0);
    CHECK(ArrowSchemaSetType(out->children[2], NANOARROW_TYPE_INT32) == 0);
    CHECK(ArrowSchemaSetName(out->children[2], "d") == 0);
    CHECK(ArrowSchemaAllocateDictionary(out->children[2]) == 0);
    ArrowSchemaInit(out->children[2]->dictionary);
    CHECK(ArrowSchemaSetType(out->children[2]->dictionary, NANOARROW_TYPE_STRING) == 0);
    return 0;
}

/* Returns how many values the dictionary of batch `number` has. */
static inline int64_t counting_source_values(const struct counting_source *source,
                                             int64_t number) {
    return source->grows ? 3 + number : 3;
}

static inline int counting_source_value(const struct counting_source *source,
                                        int64_t number, int64_t i, char *out,
                                        size_t size) {
    return snprintf(out, size, "%lld-%lld", (long long)(source->grows ? 0 : number / 2),
                    (long long)i);
}

static inline void counting_source_make_batch(struct counting_source *source,
                                              int64_t number, struct ArrowArray *out) {
    struct ArrowSchema schema;
    struct ArrowArray tree;
    CHECK(counting_source_schema(NULL, &schema) == 0);
    CHECK(ArrowArrayInitFromSchema(&tree, &schema, NULL) == 0);
    schema.release(&schema);
    CHECK(ArrowArrayStartAppending(&tree) == 0);
    for (int64_t i = 0; i < source->rows; i++) {
        int64_t row = number * source->rows + i;
        char text[32];
        (void)snprintf(text, sizeof(text), "row %lld", (long long)row);
        CHECK(ArrowArrayAppendInt(tree.children[0], row) == 0);
        if (row % 3 == 0) {
            CHECK(ArrowArrayAppendNull(tree.children[1], 1) == 0);
        } else {
            CHECK(ArrowArrayAppendString(tree.children[1], ArrowCharView(text)) == 0);
        }
        CHECK(ArrowArrayAppendInt(tree.children[2], row % 3) == 0);
        CHECK(ArrowArrayFinishElement(&tree) == 0);
    }
    for (int64_t i = 0; i < counting_source_values(source, number); i++) {
        char text[48];
        (void)counting_source_value(source, number, i, text, sizeof(text));
        struct ArrowArray *values = tree.children[2]->dictionary;
        CHECK(ArrowArrayAppendString(values, ArrowCharView(text)) == 0);
    }
    CHECK(ArrowArrayFinishBuildingDefault(&tree, NULL) == 0);
    counting_source_wrap(source, &tree, out);
}

static inline int counting_source_next(struct ArrowArrayStream *stream,
                                       struct ArrowArray *out) {
    struct counting_source *source = stream->private_data;
    /* Two threads in get_next would be an error of the core. */
    CHECK(atomic_fetch_add(&source->callers, 1) == 0);
    int code = 0;
    out->release = NULL;
    if (source->before != NULL) source->before(source->context, source->next);
    if (source->next == source->fail_at) {
        code = source->fail_code;
    } else if (source->next < source->n_batches) {
        counting_source_make_batch(source, source->next++, out);
    }
    CHECK(atomic_fetch_sub(&source->callers, 1) == 1);
    return code;
}

static inline const char *counting_source_error(struct ArrowArrayStream *stream) {
    struct counting_source *source = stream->private_data;
    return source->fail_text;
}

static inline void counting_source_release(struct ArrowArrayStream *stream) {
    struct counting_source *source = stream->private_data;
    CHECK(atomic_fetch_sub(&source->stream_alive, 1) == 1);
    event_wake(&source->stream_alive);
    stream->release = NULL;
}

static inline void counting_source_init(struct counting_source *source, int64_t n_batches,
                                        int64_t rows) {
    memset(source, 0, sizeof(*source));
    source->n_batches = n_batches;
    source->rows = rows;
    source->fail_at = -1;
}

static inline struct ArrowArrayStream counting_source_stream(
    struct counting_source *source) {
    atomic_store(&source->stream_alive, 1);
    return (struct ArrowArrayStream){counting_source_schema, counting_source_next,
                                     counting_source_error, counting_source_release,
                                     source};
}

/* Creates a cache of the source. */
static inline struct bc_cache *counting_source_cache(
    struct counting_source *source, const struct bc_cache_options *options) {
    struct ArrowArrayStream stream = counting_source_stream(source);
    struct bc_cache *cache = NULL;
    struct bc_error error = {0};
    int code = bc_cache_new(&stream, options, &cache, &error);
    if (code != 0) printf("# %s\n", error.message);
    CHECK(code == 0 && stream.release == NULL);
    return cache;
}

static inline struct bc_reader *new_reader(struct bc_cache *cache) {
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, NULL, &reader, NULL) == 0);
    return reader;
}

/* Checks that the array is batch `number` of the source, and releases it. */
static inline void counting_source_check(const struct counting_source *source,
                                         struct ArrowArray *array, int64_t number) {
    CHECK(array->release != NULL);
    CHECK(array->length == source->rows && array->offset == 0 && array->n_children == 3);
    const struct ArrowArray *x = array->children[0];
    const struct ArrowArray *s = array->children[1];
    const int64_t *values = x->buffers[1];
    const uint8_t *validity = s->buffers[0];
    const int32_t *offsets = s->buffers[1];
    const char *data = s->buffers[2];
    const struct ArrowArray *d = array->children[2];
    const int32_t *indices = d->buffers[1];
    const int32_t *word_offsets = d->dictionary->buffers[1];
    const char *words = d->dictionary->buffers[2];
    CHECK(d->dictionary->length == counting_source_values(source, number));
    CHECK(d->dictionary->offset == 0);
    for (int64_t i = 0; i < source->rows; i++) {
        int64_t row = number * source->rows + i;
        CHECK(values[x->offset + i] == row);
        CHECK(indices[d->offset + i] == row % 3);
        int64_t at = s->offset + i;
        int is_valid = validity == NULL || (validity[at / 8] >> (at % 8) & 1) != 0;
        CHECK(is_valid == (row % 3 != 0));
        if (!is_valid) continue;
        char text[32];
        int size = snprintf(text, sizeof(text), "row %lld", (long long)row);
        CHECK(offsets[at + 1] - offsets[at] == size);
        CHECK(memcmp(data + offsets[at], text, (size_t)size) == 0);
    }
    for (int64_t i = 0; i < d->dictionary->length; i++) {
        char text[48];
        int size = counting_source_value(source, number, i, text, sizeof(text));
        CHECK(word_offsets[i + 1] - word_offsets[i] == size);
        CHECK(memcmp(words + word_offsets[i], text, (size_t)size) == 0);
    }
    array->release(array);
}

/* Reads from batch `number` to the end of the stream. Returns the number of batches. */
static inline int64_t counting_source_drain(const struct counting_source *source,
                                            struct bc_reader *reader, int64_t number) {
    for (;; number++) {
        struct ArrowArray array;
        struct bc_error error = {0};
        int code = bc_reader_next(reader, &array, NULL, &error);
        if (code != 0) printf("# %d %s\n", code, error.message);
        CHECK(code == 0);
        if (array.release == NULL) return number;
        counting_source_check(source, &array, number);
    }
}

/* Waits until the stream is released, which a prefetching thread may do last. */
static inline void counting_source_wait_released(struct counting_source *source) {
    event_wait_while(&source->stream_alive, 1);
}

/* Checks that the stream and all its arrays are released. */
static inline void counting_source_check_released(struct counting_source *source) {
    CHECK(atomic_load(&source->arrays_alive) == 0);
    CHECK(atomic_load(&source->stream_alive) == 0);
}

/* Hooks that do nothing. */
static inline int idle_enter(void *context, struct bc_hook_state *state) {
    (void)context;
    (void)state;
    return 0;
}

static inline void idle_leave(void *context, struct bc_hook_state *state) {
    (void)context;
    (void)state;
}

/* Creates a directory for a test's files. The caller removes it and frees the path. */
static inline char *new_directory(void) {
    const char *base = getenv("TMPDIR");
    char *path = malloc(4096);
    (void)snprintf(path, 4096, "%s/batchcorder-test-XXXXXX",
                   base == NULL ? "/tmp" : base);
    CHECK(mkdtemp(path) != NULL);
    return path;
}

#endif
