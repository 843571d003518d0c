/* Calls that read a batch only if that is quick: a batch in memory, a small batch, or one
 * whose bytes are already verified. */
#include "cache/cache.h"
#include "delta_stream.h"
#include "ipc/codec.h"
#include "recording_dir.h"
#include "replay/reader.h"
#include "save.h"

enum { BATCHES = 3, FEW = 100, MANY = 100000 };

static void check_quick(struct bc_reader *reader, const struct counting_source *source,
                        int64_t number, bool quick) {
    struct ArrowArray array = {0};
    struct bc_error error;
    memset(&error, 0xaa, sizeof(error));
    int code = bc_reader_next_quick(reader, &array, NULL, &error);
    CHECK(code == (quick ? 0 : EAGAIN));
    if (!quick) {
        CHECK(error.code == EAGAIN && error.kind == BC_ERROR_SYSTEM);
        CHECK(strlen(error.message) < sizeof(error.message));
        CHECK(array.release == NULL && bc_reader_position(reader) == (uint64_t)number);
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    }
    counting_source_check(source, &array, number);
}

static void check_get(struct bc_cache *cache, const struct counting_source *source,
                      bool quick) {
    struct ArrowArray array = {0};
    CHECK(bc_cache_batch_quick(cache, 1, &array, NULL, NULL) == (quick ? 0 : EAGAIN));
    if (!quick) CHECK(bc_cache_batch(cache, 1, &array, NULL, NULL) == 0);
    counting_source_check(source, &array, 1);
}

/* `first`: a first read is quick; `later`: the next ones are. */
static void replay(struct bc_cache *cache, struct counting_source *source, bool first,
                   bool later) {
    for (int pass = 0; pass < 3; pass++) {
        struct bc_reader *reader = new_reader(cache);
        bool quick = pass == 0 ? first : later;
        for (int i = 0; i < BATCHES; i++) check_quick(reader, source, i, quick);
        struct ArrowArray array;
        CHECK(bc_reader_next_quick(reader, &array, NULL, NULL) == 0);
        CHECK(array.release == NULL);
        bc_reader_unref(reader);
    }
    check_get(cache, source, later);
}

static void record(int64_t rows, const struct bc_cache_options *options, bool first,
                   bool later) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, rows);
    struct bc_cache *cache = counting_source_cache(&source, options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    replay(cache, &source, first, later);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static void test_quick_reads(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    record(MANY, &options, true, true);
    options.disk_path = dir.caches;
    record(MANY, &options, true, true);
    options.memory_capacity = 0;
    record(FEW, &options, true, true);
    record(MANY, &options, false, true);
    options.checksum = 0;
    record(MANY, &options, true, true);
    options.compression = BC_COMPRESSION_LZ4;
    record(FEW, &options, true, true);
    /* The decompressed batch is kept. */
    record(MANY, &options, false, true);
    recording_dir_finish(&dir);
}

static void test_quick_reads_of_files(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int copies = 0; copies < 2; copies++) {
        struct counting_source source;
        counting_source_init(&source, BATCHES, MANY);
        struct bc_cache *cache = counting_source_cache(&source, NULL);
        CHECK(save_cache(cache, dir.path, 1, 0, NULL) == 0);
        bc_cache_unref(cache);
        struct bc_file_options options = BC_FILE_OPTIONS_INIT;
        options.read_into_memory = copies;
        CHECK(bc_file_open(dir.path, &options, &cache, NULL) == 0);
        atomic_store(&source.arrays_alive, BATCHES);
        replay(cache, &source, false, true);
        bc_cache_unref(cache);
    }
    recording_dir_finish(&dir);
}

static void test_a_quick_call_asks_the_source(void) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, FEW);
    struct bc_cache *cache = counting_source_cache(&source, NULL);
    struct bc_reader *reader = new_reader(cache);
    for (int i = 0; i < BATCHES; i++) check_quick(reader, &source, i, true);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* ---- small files that take much work ---- */

static void check_one(struct bc_cache *cache, uint64_t number, int expected) {
    struct ArrowArray array = {0};
    CHECK(bc_cache_batch_quick(cache, number, &array, NULL, NULL) == expected);
    if (expected == 0) array.release(&array);
}

static void read_one(struct bc_cache *cache, uint64_t number) {
    struct ArrowArray array;
    CHECK(bc_cache_batch(cache, number, &array, NULL, NULL) == 0);
    array.release(&array);
}

static struct bc_cache *open_file(const char *path) {
    struct bc_cache *cache;
    CHECK(bc_file_open(path, NULL, &cache, NULL) == 0);
    return cache;
}

enum { TEXT_ROWS = 1000, TEXT_EACH = 50000 };

/* Writes a batch of a few rows of text, 50 MB that zstd compresses to a few KB. */
static void write_text(const char *path) {
    static int32_t offsets[TEXT_ROWS + 1];
    for (int i = 0; i <= TEXT_ROWS; i++) offsets[i] = i * TEXT_EACH;
    size_t sizes[] = {sizeof(offsets), (size_t)TEXT_ROWS * TEXT_EACH};
    void *texts = calloc(1, sizes[1]);
    const void *raw[] = {offsets, texts};
    uint8_t *body = calloc(1, 1 << 20);
    struct bc_wire_buffer buffers[3] = {{0, 0}};
    int64_t end = 0;
    struct bc_compressor compressor = {0};
    for (int i = 0; i < 2; i++) {
        size_t capacity = bc__compress_bound(BC_CODEC_ZSTD, sizes[i]);
        uint8_t *out = malloc(capacity);
        size_t size;
        CHECK(bc__compress(&compressor, BC_CODEC_ZSTD, raw[i], sizes[i], out, capacity,
                           &size) == 0);
        memcpy(body + end, out, size);
        buffers[i + 1] = (struct bc_wire_buffer){end, (int64_t)size};
        end += ((int64_t)size + 63) / 64 * 64;
        free(out);
    }
    bc__compressor_finish(&compressor);
    const struct bc_wire_node node = {TEXT_ROWS, 0};
    const struct bc_wire_batch wire = {.rows = TEXT_ROWS,
                                       .codec = BC_CODEC_ZSTD,
                                       .body_bytes = end,
                                       .nodes = &node,
                                       .n_nodes = 1,
                                       .buffers = buffers,
                                       .n_buffers = 3};
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    CHECK(ArrowSchemaSetType(c_schema.children[0], NANOARROW_TYPE_STRING) == 0);
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    FILE *file = fopen(path, "wb");
    write_message(file, build_schema_message(schema, NULL), NULL, 0);
    write_message(file, build_batch_message(&wire), body, (size_t)end);
    CHECK(fclose(file) == 0);
    bc__schema_free(schema);
    free(body);
    free(texts);
}

static void test_much_compressed_text_is_not_quick(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    write_text(dir.path);
    struct bc_cache *cache = open_file(dir.path);
    for (int i = 0; i < 2; i++) {
        check_one(cache, 0, EAGAIN);
        read_one(cache, 0);
    }
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

/* Writes batches, each with a dictionary of 40 MB of its own. */
static void write_dictionaries(const char *path, int n) {
    enum { VALUES = 5 << 20 };
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    CHECK(ArrowSchemaSetType(c_schema.children[0], NANOARROW_TYPE_INT32) == 0);
    CHECK(ArrowSchemaAllocateDictionary(c_schema.children[0]) == 0);
    ArrowSchemaInit(c_schema.children[0]->dictionary);
    CHECK(ArrowSchemaSetType(c_schema.children[0]->dictionary, NANOARROW_TYPE_INT64) ==
          0);
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    size_t raw = (size_t)VALUES * 8;
    void *zeros = calloc(1, raw);
    size_t capacity = bc__compress_bound(BC_CODEC_ZSTD, raw);
    uint8_t *body = calloc(1, capacity + 64);
    size_t size;
    struct bc_compressor compressor = {0};
    CHECK(bc__compress(&compressor, BC_CODEC_ZSTD, zeros, raw, body, capacity, &size) ==
          0);
    bc__compressor_finish(&compressor);
    FILE *file = fopen(path, "wb");
    write_message(file, build_schema_message(schema, NULL), NULL, 0);
    for (int i = 0; i < n; i++) {
        const struct bc_wire_node values = {VALUES, 0};
        const struct bc_wire_buffer buffers[] = {{0, 0}, {0, (int64_t)size}};
        const struct bc_wire_batch dictionary = {
            .is_dictionary = true,
            .codec = BC_CODEC_ZSTD,
            .dictionary_id = schema->fields[1].dictionary_id,
            .rows = VALUES,
            .body_bytes = ((int64_t)size + 63) / 64 * 64,
            .nodes = &values,
            .n_nodes = 1,
            .buffers = buffers,
            .n_buffers = 2};
        write_message(file, build_batch_message(&dictionary), body,
                      (size_t)dictionary.body_bytes);
        static const uint8_t index[64];
        const struct bc_wire_node node = {1, 0};
        const struct bc_wire_buffer indices[] = {{0, 0}, {0, 4}};
        const struct bc_wire_batch batch = {.rows = 1,
                                            .body_bytes = 64,
                                            .nodes = &node,
                                            .n_nodes = 1,
                                            .buffers = indices,
                                            .n_buffers = 2};
        write_message(file, build_batch_message(&batch), index, sizeof(index));
    }
    CHECK(fclose(file) == 0);
    bc__schema_free(schema);
    free(body);
    free(zeros);
}

/* The second version replaces the first one. */
static void test_dictionaries_that_were_given_up_are_not_quick(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    write_dictionaries(dir.path, 2);
    struct bc_cache *cache = open_file(dir.path);
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = 0; i < 2; i++) {
            check_one(cache, i, EAGAIN);
            read_one(cache, i);
            check_one(cache, i, 0);
        }
    }
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

/* A delta is read with the values before it. */
static void test_long_chains_are_not_quick(void) {
    enum { PARTS = 3000 };
    struct recording_dir dir;
    recording_dir_init(&dir);
    delta_write(dir.path, PARTS, PARTS, false);
    struct bc_cache *cache = open_file(dir.path);
    check_one(cache, 10, 0);
    check_one(cache, PARTS - 1, EAGAIN);
    read_one(cache, PARTS - 1);
    check_one(cache, PARTS - 1, 0);
    check_one(cache, PARTS - 2, 0);
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

/* ---- locks held by another thread ---- */

struct call {
    struct bc_cache *cache;
    struct bc_reader *reader;
    int code;
};

static void *get_quick(void *context) {
    struct call *call = context;
    struct ArrowArray array;
    call->code = bc_cache_batch_quick(call->cache, 1, &array, NULL, NULL);
    return NULL;
}

static void *skip(void *context) {
    struct call *call = context;
    call->code = bc_reader_skip(call->reader, 0);
    return NULL;
}

/* Makes a call in another thread while this thread has the lock. The call must not wait
 * for the lock, or the alarm ends the test. */
static void check_locked(struct bc_mutex *lock, void *(*run)(void *), struct call *call) {
    pthread_t thread;
    (void)alarm(600);
    bc__mutex_lock(lock);
    CHECK(pthread_create(&thread, NULL, run, call) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    bc__mutex_unlock(lock);
    (void)alarm(0);
    CHECK(call->code == EAGAIN);
}

static void test_quick_calls_wait_for_no_thread(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    delta_write(dir.path, 4, 4, false);
    struct call call = {.cache = open_file(dir.path)};
    check_locked(&call.cache->disk.dictionaries.chain_lock, get_quick, &call);
    read_one(call.cache, 0);
    call.reader = new_reader(call.cache);
    check_locked(&call.reader->borrow_list->lock, skip, &call);
    bc_reader_unref(call.reader);
    bc_cache_unref(call.cache);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_quick_reads),
        TAP_CASE(test_quick_reads_of_files),
        TAP_CASE(test_a_quick_call_asks_the_source),
        TAP_CASE(test_much_compressed_text_is_not_quick),
        TAP_CASE(test_dictionaries_that_were_given_up_are_not_quick),
        TAP_CASE(test_long_chains_are_not_quick),
        TAP_CASE(test_quick_calls_wait_for_no_thread),
    };
    return TAP_RUN(cases);
}
