/* Records an Arrow stream once, replays it twice, and saves it if a file is named.
 *
 *     record [FILE] */
#include <batchcorder/batchcorder.h>
#include <stdio.h>

/* A source: three batches of one column "x" of four int64 values each. */
static int batches_left = 3;
static const int64_t values[4] = {1, 2, 3, 4};
static const void *x_buffers[2] = {NULL, values}, *row_buffers[1] = {NULL};

static void schema_release(struct ArrowSchema *schema) { schema->release = NULL; }
static void array_release(struct ArrowArray *array) { array->release = NULL; }
static void stream_release(struct ArrowArrayStream *stream) { stream->release = NULL; }

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    static struct ArrowSchema x = {.format = "l", .name = "x", .release = schema_release};
    static struct ArrowSchema *columns[1] = {&x};
    (void)stream;
    *out = (struct ArrowSchema){
        .format = "+s", .n_children = 1, .children = columns, .release = schema_release};
    return 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    static struct ArrowArray x;
    static struct ArrowArray *columns[1] = {&x};
    (void)stream;
    *out = (struct ArrowArray){.release = NULL};
    if (batches_left-- <= 0) return 0;
    x = (struct ArrowArray){
        .length = 4, .n_buffers = 2, .buffers = x_buffers, .release = array_release};
    *out = (struct ArrowArray){.length = 4,
                               .n_buffers = 1,
                               .buffers = row_buffers,
                               .n_children = 1,
                               .children = columns,
                               .release = array_release};
    return 0;
}

static int fail(const char *what, const char *why) {
    (void)fprintf(stderr, "%s: %s\n", what, why == NULL ? "no reason given" : why);
    return 1;
}

int main(int argc, char **argv) {
    struct ArrowArrayStream source = {get_schema, get_next, NULL, stream_release, NULL};
    struct bc_cache *cache;
    struct bc_error error;
    if (bc_cache_new(&source, NULL, &cache, &error) != 0) {
        source.release(&source); /* on failure the source stays ours */
        return fail("recording", error.message);
    }
    for (int pass = 0; pass < 2; pass++) {
        struct ArrowArrayStream replay;
        struct ArrowArray batch;
        int64_t rows = 0;
        if (bc_cache_stream(cache, &replay, &error) != 0) {
            return fail("replaying", error.message);
        }
        int code;
        while ((code = replay.get_next(&replay, &batch)) == 0 && batch.release != NULL) {
            rows += batch.length;
            batch.release(&batch);
        }
        if (code != 0) return fail("reading", replay.get_last_error(&replay));
        replay.release(&replay);
        printf("pass %d: %lld rows\n", pass, (long long)rows);
    }
    if (argc > 1 && bc_cache_save(cache, argv[1], NULL, &error) != 0) {
        return fail("saving", error.message);
    }
    bc_cache_unref(cache);
    return 0;
}
