/* Hostile C streams, recorded in every tier, replayed, saved, opened and verified.
 *
 * The input decides all: the first bytes the tier, then the stream's schema and arrays as
 * they are asked for, and between them what is done with the cache. What holds whatever
 * the stream says: each thing that it gave is released once; an error has words, which
 * are text; what a recording has is valid where it verifies; a reader gets what another
 * got. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consume.h"
#include "producer.h"
#include "save.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 12, KEPT = 4, BATCHES_MAX = 64 };

/* The directories and files of this process, created once. */
static char folder[64];
static char saved[96];

static void make_folder(void) {
    if (folder[0] != '\0') return;
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(folder, sizeof(folder), "%s/fuzz-producer-XXXXXX", parent);
    FUZZ_CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(saved, sizeof(saved), "%s/x.arrows", folder);
}

static void remove_folder(void) {
    if (folder[0] != '\0') (void)rmdir(folder);
}

static void check_error(int code, const struct bc_error *error) {
    if (code == 0) return;
    FUZZ_CHECK(error->code == code && error->message[0] != '\0');
    FUZZ_CHECK(strlen(error->message) < sizeof(error->message));
}

/* Arrays that a consumer keeps, and releases later. */
struct kept {
    struct ArrowArray arrays[KEPT];
    int n;
};

static void keep(struct kept *kept, struct choices *choices, struct ArrowArray *array) {
    if (array->release == NULL) return;
    if (array->n_children > 0 && fuzz_choose(choices) % 2 == 1) {
        /* A moved child outlives its parent. */
        struct ArrowArray *child = array->children[0];
        struct ArrowArray moved = *child;
        child->release = NULL;
        array->release(array);
        *array = moved;
    }
    struct ArrowArray *place = &kept->arrays[kept->n++ % KEPT];
    if (place->release != NULL) place->release(place);
    *place = *array;
}

static void give_back(struct kept *kept) {
    for (int i = 0; i < KEPT; i++) {
        if (kept->arrays[i].release != NULL) kept->arrays[i].release(&kept->arrays[i]);
    }
}

/* Reads some columns from some batch on, not always to the end. */
static void read_some(struct bc_cache *cache, struct choices *choices, int64_t n_columns,
                      struct kept *kept) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    int32_t column = 0;
    if (n_columns > 0 && fuzz_choose(choices) % 2 == 1) {
        column = (int32_t)fuzz_below(choices, n_columns);
        options.columns = &column;
        options.n_columns = fuzz_choose(choices) % 2;
    }
    options.start = (uint64_t)fuzz_below(choices, 3);
    options.step = 1 + (uint64_t)fuzz_below(choices, 2);
    struct bc_reader *reader;
    struct bc_error error = {0};
    int code = bc_cache_reader(cache, &options, &reader, &error);
    check_error(code, &error);
    if (code != 0) return;
    int64_t n = fuzz_below(choices, BATCHES_MAX);
    for (int64_t i = 0; i < n; i++) {
        struct ArrowArray array = {.release = NULL};
        code = bc_reader_next(reader, &array, NULL, &error);
        check_error(code, &error);
        if (code != 0 || array.release == NULL) break;
        keep(kept, choices, &array);
    }
    bc_reader_unref(reader);
}

/* Reads a C stream, and gets its schema several times. */
static void read_stream(struct bc_cache *cache, struct choices *choices,
                        struct kept *kept) {
    struct ArrowArrayStream stream;
    struct bc_error error = {0};
    int code = bc_cache_stream(cache, &stream, &error);
    check_error(code, &error);
    if (code != 0) return;
    for (int i = 0; i < 4; i++) {
        struct ArrowSchema schema = {.release = NULL};
        if (fuzz_choose(choices) % 2 == 1) {
            FUZZ_CHECK(stream.get_schema(&stream, &schema) == 0);
            schema.release(&schema);
        }
        struct ArrowArray array = {.release = NULL};
        code = stream.get_next(&stream, &array);
        FUZZ_CHECK(code == 0 || stream.get_last_error(&stream) != NULL);
        if (code == 0) keep(kept, choices, &array);
    }
    stream.release(&stream);
}

/* Reads a verified file as a consumer that trusts it. */
static void consume_file(void) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_file_open(saved, &options, &cache, &error);
    if (code != 0) (void)fprintf(stderr, "%s\n", error.message);
    FUZZ_CHECK(code == 0);
    struct ArrowSchema schema;
    struct ArrowArrayStream stream;
    FUZZ_CHECK(bc_cache_schema(cache, &schema, NULL) == 0);
    FUZZ_CHECK(bc_cache_stream(cache, &stream, NULL) == 0);
    for (;;) {
        struct ArrowArray array;
        FUZZ_CHECK(stream.get_next(&stream, &array) == 0);
        if (array.release == NULL) break;
        fuzz_consume(&schema, &array);
        array.release(&array);
    }
    stream.release(&stream);
    schema.release(&schema);
    bc_cache_unref(cache);
}

static void save(struct bc_cache *cache) {
    struct bc_error error = {0};
    int code = save_cache(cache, saved, 1, 0, &error);
    check_error(code, &error);
    if (code != 0) return;
    uint64_t batches;
    code = bc_file_verify(saved, NULL, &batches, &error);
    check_error(code, &error);
    /* Values that no offset refers to may be invalid: text, indices, nulls of a map. */
    FUZZ_CHECK(code == 0 || code == EBADMSG);
    if (code == 0) consume_file();
}

static void do_one(struct bc_cache *cache, struct choices *choices, int64_t n_columns,
                   struct kept *kept) {
    struct bc_error error = {0};
    struct ArrowArray array = {.release = NULL};
    uint64_t batches;
    int code = 0;
    switch (fuzz_below(choices, 10)) {
        case 0:
            code = bc_cache_ingest(cache, &batches, &error);
            break;
        case 1:
            code = bc_cache_batch(cache, (uint64_t)fuzz_below(choices, 6), &array, NULL,
                                  &error);
            if (code == 0) keep(kept, choices, &array);
            break;
        case 2:
        case 3:
            read_some(cache, choices, n_columns, kept);
            break;
        case 4:
            read_stream(cache, choices, kept);
            break;
        case 5:
        case 6:
            save(cache);
            break;
        case 7:
            code = bc_cache_publish(cache, &batches, &error);
            fuzz_consume_statistics(cache);
            break;
        case 8:
            give_back(kept);
            break;
        default:
            if (fuzz_choose(choices) % 8 == 7) bc_cache_close(cache);
            break;
    }
    check_error(code, &error);
}

static struct bc_cache_options draw_options(struct choices *choices) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    static const uint64_t budgets[] = {1 << 30, 1 << 30, 4096, 0};
    options.memory_capacity = budgets[fuzz_below(choices, 4)];
    options.checksum = fuzz_choose(choices) % 4 != 3;
    options.compression = (enum bc_compression)fuzz_below(choices, 3);
    switch (fuzz_below(choices, 5)) {
        case 1:
        case 2:
            options.disk_path = folder;
            options.write_policy = (enum bc_write_policy)fuzz_below(choices, 2);
            options.max_readers = fuzz_choose(choices) % 4 == 3 ? 2 : 0;
            break;
        case 3:
            options.record_path = saved;
            options.checksum = 1;
            break;
        default:
            break;
    }
    return options;
}

static void use(struct ArrowArrayStream *stream, struct choices *choices) {
    const struct bc_cache_options options = draw_options(choices);
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_cache_new(stream, &options, &cache, &error);
    check_error(code, &error);
    if (code != 0) {
        FUZZ_CHECK(stream->release != NULL);
        stream->release(stream);
        return;
    }
    struct kept kept = {.n = 0};
    struct ArrowSchema schema;
    FUZZ_CHECK(bc_cache_schema(cache, &schema, NULL) == 0);
    int64_t n_columns = schema.n_children;
    schema.release(&schema);
    for (int i = 0; i < STEPS_MAX; i++) do_one(cache, choices, n_columns, &kept);
    if (fuzz_choose(choices) % 2 == 1) give_back(&kept);
    bc_cache_unref(cache);
    give_back(&kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    make_folder();
    struct choices choices = {data, size};
    struct ArrowArrayStream stream;
    int64_t alive;
    fuzz_producer(&choices, &stream, &alive);
    use(&stream, &choices);
    FUZZ_CHECK(alive == 0);
    (void)unlink(saved);
    return 0;
}

__attribute__((destructor)) static void clean(void) { remove_folder(); }
