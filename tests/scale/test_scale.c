/* The work of a recording grows with its batches and no faster.
 *
 * Counted are the basic blocks that the core runs through (the compiler calls a function
 * of ours at each) and the bytes that it moves, so that no clock is needed. */
#include "message_builder.h"
#include "record/wait_queue.h"
#include "recording_dir.h"

enum { FEW = 1000, TIMES = 8, BYTES_PER_STEP = 8 };

static uint64_t steps;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) { steps++; }

/* The linker redirects calls of the core to these functions. */
void *__real_memmove(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size) {
    steps += size / BYTES_PER_STEP;
    return __real_memmove(to, from, size);
}

void *__real_memcpy(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size) {
    steps += size / BYTES_PER_STEP;
    return __real_memcpy(to, from, size);
}

/* How a recording is read. */
struct plan {
    struct bc_cache_options options;
    bool ingests; /* ingests before the first read */
    int readers;  /* readers that take turns */
};

/* Returns the steps for `batches` batches of one row. */
static uint64_t count(const struct plan *plan, int64_t batches) {
    struct counting_source source;
    counting_source_init(&source, batches, 1);
    uint64_t before = steps;
    struct bc_cache *cache = counting_source_cache(&source, &plan->options);
    uint64_t ingested = 0;
    if (plan->ingests) CHECK(bc_cache_ingest(cache, &ingested, NULL) == 0);
    struct bc_reader *readers[8];
    for (int i = 0; i < plan->readers; i++) readers[i] = new_reader(cache);
    for (int64_t number = 0; number < batches; number++) {
        for (int i = 0; i < plan->readers; i++) {
            struct ArrowArray array;
            CHECK(bc_reader_next(readers[i], &array, NULL, NULL) == 0);
            counting_source_check(&source, &array, number);
        }
    }
    for (int i = 0; i < plan->readers; i++) bc_reader_unref(readers[i]);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
    return steps - before;
}

static void compare(uint64_t few, uint64_t many) {
    printf("# %.1f steps a batch, then %.1f\n", (double)few / FEW,
           (double)many / FEW / TIMES);
    CHECK(few > (uint64_t)FEW * 100);
    CHECK(many < few * TIMES * 5 / 4);
}

static void check(const struct plan *plan) {
    compare(count(plan, FEW), count(plan, (int64_t)FEW * TIMES));
}

/* On disk, with room for all batches. */
static void check_on_disk(struct plan plan) {
    char *path = new_directory();
    plan.options.disk_path = path;
    plan.options.memory_capacity = 1;
    check(&plan);
    CHECK(rmdir(path) == 0);
    free(path);
}

static const struct plan plain = {BC_CACHE_OPTIONS_INIT, false, 1};

static void test_memory(void) { check(&plain); }

static void test_disk(void) { check_on_disk(plain); }

static void test_all_at_once(void) {
    struct plan plan = plain;
    plan.ingests = true;
    plan.readers = 2;
    check(&plan);
    check_on_disk(plan);
}

static void test_batches_go_as_they_are_passed(void) {
    for (int readers = 1; readers <= 4; readers += 3) {
        struct plan plan = plain;
        plan.options.max_readers = (uint64_t)readers;
        plan.readers = readers;
        check(&plan);
        check_on_disk(plan);
    }
}

static void test_all_at_once_then_passed(void) {
    struct plan plan = plain;
    plan.ingests = true;
    plan.options.max_readers = 1;
    check(&plan);
    check_on_disk(plan);
}

static void test_compression(void) {
    struct plan plan = plain;
    plan.options.compression = BC_COMPRESSION_LZ4;
    plan.options.max_readers = 1;
    check_on_disk(plan);
}

static long memory_pages(void) {
    long pages;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    CHECK(fclose(file) == 0);
    return pages;
}

/* Returns the memory of the process after most of a chunk of slots was passed, and
 * then most of the next chunk. An allocator that fills memory touches a whole chunk
 * at once. */
static void test_memory_of_what_was_passed(void) {
    enum { FEWER = 131000, MORE = 262000, PAGES_MAX = 1000 };
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.max_readers = 1;
    struct counting_source source;
    counting_source_init(&source, MORE, 1);
    struct bc_cache *cache = counting_source_cache(&source, &options);
    struct bc_reader *reader = new_reader(cache);
    long pages = 0;
    for (int64_t number = 0; number < MORE; number++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        array.release(&array);
        if (number == FEWER) pages = memory_pages();
    }
    pages = memory_pages() - pages;
    printf("# %ld pages more\n", pages);
    CHECK(pages < PAGES_MAX);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* ---- files that are made message by message ---- */

enum { CHAINS = 2 };

/* How batches are read whose dictionaries are deltas. */
enum order { IN_ORDER, BACKWARDS, BY_TURNS };

static uint64_t number_of(enum order order, uint64_t i, uint64_t batches) {
    if (order == IN_ORDER) return i;
    if (order == BACKWARDS) return batches - 1 - i;
    return i % CHAINS * (batches / CHAINS) + i / CHAINS;
}

/* Begins a file with the schema, which is freed. */
static FILE *begin_file(const char *path, struct bc_schema *schema) {
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    write_message(file, build_schema_message(schema, NULL), NULL, 0);
    bc__schema_free(schema);
    return file;
}

/* The steps to read and verify every batch of the file, which is closed before. The
 * dictionary of batch `i` has `length_of(i, batches)` values, if that is known. */
static uint64_t count_reads(FILE *file, const char *path, int64_t batches,
                            enum order order,
                            int64_t (*length_of)(int64_t number, int64_t batches)) {
    CHECK(fclose(file) == 0);
    uint64_t before = steps;
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    struct bc_cache *cache;
    CHECK(bc_file_open(path, &options, &cache, NULL) == 0);
    for (uint64_t i = 0; i < (uint64_t)batches; i++) {
        struct ArrowArray array;
        uint64_t number = number_of(order, i, (uint64_t)batches);
        CHECK(bc_cache_batch(cache, number, &array, NULL, NULL) == 0);
        CHECK(array.release != NULL);
        if (length_of != NULL) {
            int64_t length = array.children[0]->dictionary->length;
            CHECK(length == length_of((int64_t)number, batches));
        }
        array.release(&array);
    }
    bc_cache_unref(cache);
    return steps - before;
}

/* Writes `n_nodes` nodes, of which the last one is bytes. */
static void write_part(FILE *file, int64_t id, int64_t length, size_t n_nodes,
                       bool is_delta) {
    const struct bc_wire_node nodes[2] = {{length, 0}, {length, 0}};
    struct bc_wire_buffer buffers[3] = {{0, 0}, {0, 0}, {0, 0}};
    buffers[n_nodes].length = length;
    const struct bc_wire_batch wire = {
        .is_dictionary = id >= 0,
        .is_delta = is_delta,
        .dictionary_id = id,
        .rows = length,
        .body_bytes = (length + 63) / 64 * 64,
        .nodes = nodes,
        .n_nodes = n_nodes,
        .buffers = buffers,
        .n_buffers = n_nodes + 1,
    };
    write_message(file, build_batch_message(&wire), NULL, (size_t)wire.body_bytes);
}

static void write_values(FILE *file, int64_t id, int64_t length, size_t n_nodes) {
    write_part(file, id, length, n_nodes, false);
}

/* A dictionary of structs of a dictionary of bytes. */
static struct bc_schema *nested_schema(void) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    struct ArrowSchema *outer = c_schema.children[0];
    CHECK(ArrowSchemaSetType(outer, NANOARROW_TYPE_INT8) == 0);
    CHECK(ArrowSchemaAllocateDictionary(outer) == 0);
    ArrowSchemaInit(outer->dictionary);
    CHECK(ArrowSchemaSetTypeStruct(outer->dictionary, 1) == 0);
    struct ArrowSchema *inner = outer->dictionary->children[0];
    CHECK(ArrowSchemaSetType(inner, NANOARROW_TYPE_INT8) == 0);
    CHECK(ArrowSchemaAllocateDictionary(inner) == 0);
    ArrowSchemaInit(inner->dictionary);
    CHECK(ArrowSchemaSetType(inner->dictionary, NANOARROW_TYPE_INT8) == 0);
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    return schema;
}

/* The steps to verify batches that each change a dictionary, in as many values as there
 * are batches; these are one dictionary, or deltas. */
static uint64_t count_nested(const char *path, int64_t batches, bool deltas) {
    struct bc_schema *schema = nested_schema();
    const struct bc_field *outer = &schema->fields[1];
    int64_t outer_id = outer->dictionary_id;
    int32_t word = schema->fields[outer->dictionary].first_child;
    int64_t inner_id = schema->fields[word].dictionary_id;
    FILE *file = begin_file(path, schema);
    for (int64_t i = 0; i < batches; i++) {
        write_values(file, inner_id, 1 + i % 2, 1);
        if (deltas) write_part(file, outer_id, 1, 2, i > 0);
        if (!deltas && i == 0) write_values(file, outer_id, batches, 2);
        write_values(file, -1, 1, 1);
    }
    return count_reads(file, path, batches, IN_ORDER, NULL);
}

static void test_dictionaries_in_dictionaries(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int deltas = 0; deltas < 2; deltas++) {
        compare(count_nested(dir.path, FEW, deltas != 0),
                count_nested(dir.path, (int64_t)FEW * TIMES, deltas != 0));
    }
    recording_dir_finish(&dir);
}

/* ---- deltas ---- */

enum { PART = 8 };

static struct bc_schema *dictionary_schema(void) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    struct ArrowSchema *column = c_schema.children[0];
    CHECK(ArrowSchemaSetType(column, NANOARROW_TYPE_INT8) == 0);
    CHECK(ArrowSchemaAllocateDictionary(column) == 0);
    ArrowSchemaInit(column->dictionary);
    CHECK(ArrowSchemaSetType(column->dictionary, NANOARROW_TYPE_INT8) == 0);
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    return schema;
}

static int64_t length_in_chain(int64_t number, int64_t batches) {
    return (number % (batches / CHAINS) + 1) * PART;
}

/* The steps to read batches each of which has a part of one of two chains. */
static uint64_t count_deltas(const char *path, int64_t batches, enum order order) {
    struct bc_schema *schema = dictionary_schema();
    int64_t id = schema->fields[1].dictionary_id;
    FILE *file = begin_file(path, schema);
    for (int64_t i = 0; i < batches; i++) {
        write_part(file, id, PART, 1, i % (batches / CHAINS) != 0);
        write_values(file, -1, 1, 1);
    }
    return count_reads(file, path, batches, order, length_in_chain);
}

static void test_deltas_in_any_order(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (enum order order = IN_ORDER; order <= BY_TURNS; order++) {
        compare(count_deltas(dir.path, FEW, order),
                count_deltas(dir.path, (int64_t)FEW * TIMES, order));
    }
    recording_dir_finish(&dir);
}

/* ---- threads that wait for a batch far on ---- */

enum { WAITING = 100 };

/* Returns the steps of `FEW` searches for threads whose batch is recorded. No thread is
 * found. */
static uint64_t count_looks(int waiting) {
    static struct bc_waiter queued[WAITING];
    struct bc_wait_queue queue = {0};
    for (int i = 0; i < waiting; i++) {
        CHECK(bc__waiter_init(&queued[i], FEW, 1) == 0);
        bc__wait_queue_add(&queue, &queued[i]);
    }
    uint64_t before = steps;
    for (uint64_t published = 1; published <= FEW; published++) {
        CHECK(bc__wait_queue_take(&queue, published) == NULL);
    }
    uint64_t taken = steps - before;
    struct bc_waiter *chain = bc__wait_queue_take(&queue, FEW + 1);
    for (; chain != NULL; waiting--) {
        struct bc_waiter *next = chain->next;
        bc__waiter_finish(chain);
        chain = next;
    }
    CHECK(waiting == 0);
    return taken;
}

static void test_threads_that_wait_for_a_batch_far_on(void) {
    uint64_t one = count_looks(1);
    uint64_t many = count_looks(WAITING);
    printf("# %.1f steps a batch, then %.1f\n", (double)one / FEW, (double)many / FEW);
    CHECK(one > 0 && many <= one * 2);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_memory),
        TAP_CASE(test_disk),
        TAP_CASE(test_all_at_once),
        TAP_CASE(test_batches_go_as_they_are_passed),
        TAP_CASE(test_all_at_once_then_passed),
        TAP_CASE(test_compression),
        TAP_CASE(test_memory_of_what_was_passed),
        TAP_CASE(test_dictionaries_in_dictionaries),
        TAP_CASE(test_deltas_in_any_order),
        TAP_CASE(test_threads_that_wait_for_a_batch_far_on)};
    return TAP_RUN(cases);
}
