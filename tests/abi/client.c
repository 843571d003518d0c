/* A program built against the first header of an ABI. It runs with every later library of
 * that ABI, and uses that header's initialisers and struct sizes. */
#include <batchcorder/batchcorder.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A stream of two batches with one int32 column, "n". */
static const char format[] = "+s";
static int batches_left;

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++) {
        schema->children[i]->release(schema->children[i]);
    }
    schema->release = NULL;
}

static void release_array(struct ArrowArray *array) {
    for (int64_t i = 0; i < array->n_children; i++) {
        array->children[i]->release(array->children[i]);
    }
    array->release = NULL;
}

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    static struct ArrowSchema column;
    static struct ArrowSchema *children[] = {&column};
    (void)stream;
    column = (struct ArrowSchema){.format = "i", .name = "n", .release = release_schema};
    *out = (struct ArrowSchema){.format = format,
                                .name = "",
                                .n_children = 1,
                                .children = children,
                                .release = release_schema};
    return 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    static const int32_t values[] = {1, 2, 3};
    static const void *buffers[2][2] = {{NULL, values}, {NULL, values}};
    static const void *no_buffers[2][1];
    static struct ArrowArray columns[2];
    static struct ArrowArray *children[2][1] = {{&columns[0]}, {&columns[1]}};
    (void)stream;
    memset(out, 0, sizeof(*out));
    if (batches_left == 0) return 0;
    int i = --batches_left;
    columns[i] = (struct ArrowArray){
        .length = 3, .n_buffers = 2, .buffers = buffers[i], .release = release_array};
    *out = (struct ArrowArray){.length = 3,
                               .n_buffers = 1,
                               .buffers = no_buffers[i],
                               .n_children = 1,
                               .children = children[i],
                               .release = release_array};
    return 0;
}

static const char *get_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return NULL;
}

static void release_stream(struct ArrowArrayStream *stream) { stream->release = NULL; }

static struct ArrowArrayStream make_source(void) {
    batches_left = 2;
    return (struct ArrowArrayStream){get_schema, get_next, get_error, release_stream,
                                     NULL};
}

static int failures;

static void check(int is_right, const char *what, const struct bc_error *error) {
    if (is_right) return;
    failures++;
    printf("%s: %s\n", what, error->message);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct bc_error error = {0};
    struct ArrowArrayStream source = make_source();
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = argv[1];
    struct bc_cache *cache = NULL;
    check(bc_cache_new(&source, &options, &cache, &error) == 0, "new", &error);
    uint64_t batches = 0;
    check(bc_cache_ingest(cache, &batches, &error) == 0 && batches == 2, "ingest",
          &error);
    struct {
        struct bc_stats stats;
        unsigned char behind[64];
    } guarded;
    memset(&guarded, 0xaa, sizeof(guarded));
    guarded.stats.struct_size = sizeof(guarded.stats);
    bc_cache_stats(cache, &guarded.stats);
    int is_whole = guarded.stats.rows == 6 && guarded.stats.state == BC_STATE_EXHAUSTED;
    for (size_t i = 0; i < sizeof(guarded.behind); i++) {
        is_whole = is_whole && guarded.behind[i] == 0xaa;
    }
    check(is_whole, "stats", &error);
    bc_cache_unref(cache);

    struct bc_file_options opening = BC_FILE_OPTIONS_INIT;
    check(bc_file_open(argv[1], &opening, &cache, &error) == 0, "open", &error);
    struct bc_reader_options reading = BC_READER_OPTIONS_INIT;
    reading.start = 1;
    struct bc_reader *reader = NULL;
    check(bc_cache_reader(cache, &reading, &reader, &error) == 0, "reader", &error);
    struct ArrowArray array;
    struct bc_batch_info info;
    check(bc_reader_next(reader, &array, &info, &error) == 0 && array.release != NULL &&
              info.number == 1 && info.rows == 3,
          "next", &error);
    array.release(&array);
    check(bc_reader_next(reader, &array, &info, &error) == 0 && array.release == NULL,
          "end", &error);
    struct bc_save_options saving = BC_SAVE_OPTIONS_INIT;
    check(bc_cache_save(cache, argv[1], &saving, &error) == EEXIST &&
              error.kind == BC_ERROR_EXISTS,
          "save", &error);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    return failures == 0 ? 0 : 1;
}
