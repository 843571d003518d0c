/* Files whose parts lie on each other: to read them all takes no longer than their size.
 */
#include "arrow/values.h"
#include "disk/trailer.h"
#include "ipc/decode.h"
#include "ipc/message_size.h"
#include "ipc/verify.h"
#include "message_builder.h"
#include "recording_dir.h"

enum { BATCHES = 6, ROWS = 50 };

/* Makes a recording, whose trailer this is: its open file. */
static int open_recorded(struct recording_dir *dir, struct bc_trailer *out_trailer) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    recording_dir_init(dir);
    recording_write(dir->path, source, BATCHES + 1);
    int file = open(dir->path, O_RDWR);
    bool complete;
    off_t size = lseek(file, 0, SEEK_END);
    CHECK(bc__trailer_read(file, size, out_trailer, &complete) == 0 && complete);
    return file;
}

static struct bc_cache *open_file(const char *path) {
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_file_open(path, NULL, &cache, &error);
    if (code != 0) printf("# %s\n", error.message);
    CHECK(code == 0);
    return cache;
}

static int get(struct bc_cache *cache, uint64_t number) {
    struct ArrowArray array;
    int code = bc_cache_batch(cache, number, &array, NULL, NULL);
    if (code == 0) array.release(&array);
    return code;
}

/* All entries of batches say that they are the first one. */
static void test_batches(void) {
    struct recording_dir dir;
    struct bc_trailer trailer;
    int file = open_recorded(&dir, &trailer);
    uint8_t entry[BC_TRAILER_BATCH];
    struct bc_trailer_batch first;
    CHECK(pread(file, entry, sizeof(entry), bc__trailer_batch_at(&trailer, 0)) > 0);
    CHECK(bc__trailer_get_batch(&trailer, entry, 0, &first));
    for (int i = 0; i < BATCHES; i++) {
        const struct bc_trailer_batch same = {first.offset, first.size,
                                              (int64_t)i * ROWS};
        bc__trailer_put_batch(entry, &same, i);
        CHECK(pwrite(file, entry, sizeof(entry), bc__trailer_batch_at(&trailer, i)) > 0);
    }
    struct bc_cache *cache = open_file(dir.path);
    for (uint64_t i = 0; i + 1 < BATCHES; i++) CHECK(get(cache, i) == EBADMSG);
    /* Nothing is behind the last one. */
    CHECK(get(cache, BATCHES - 1) == 0);
    bc_cache_unref(cache);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

/* A dictionary's message that reaches into the next one of that dictionary. */
static void test_dictionaries(void) {
    struct recording_dir dir;
    struct bc_trailer trailer;
    int file = open_recorded(&dir, &trailer);
    CHECK(trailer.dictionaries > 1);
    uint8_t bytes[BC_TRAILER_DICTIONARY];
    struct bc_trailer_dictionary entry;
    off_t at = bc__trailer_dictionary_at(&trailer, 0);
    CHECK(pread(file, bytes, sizeof(bytes), at) > 0);
    CHECK(bc__trailer_get_dictionary(&trailer, bytes, 0, &entry));
    entry.size = trailer.end - entry.offset;
    bc__trailer_put_dictionary(bytes, &entry, 0);
    CHECK(pwrite(file, bytes, sizeof(bytes), at) > 0);
    struct bc_cache *cache;
    CHECK(bc_file_open(dir.path, NULL, &cache, NULL) == EBADMSG);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

/* The first batch must begin with the first row. */
static void test_first_rows(void) {
    struct recording_dir dir;
    struct bc_trailer trailer;
    int file = open_recorded(&dir, &trailer);
    uint8_t entry[BC_TRAILER_BATCH];
    for (int i = 0; i < BATCHES; i++) {
        struct bc_trailer_batch batch;
        off_t at = bc__trailer_batch_at(&trailer, i);
        CHECK(pread(file, entry, sizeof(entry), at) > 0);
        CHECK(bc__trailer_get_batch(&trailer, entry, i, &batch));
        batch.first_row += 1;
        trailer.rows += i == 0;
        bc__trailer_put_batch(entry, &batch, i);
        CHECK(pwrite(file, entry, sizeof(entry), at) > 0);
    }
    uint8_t footer[BC_TRAILER_FOOTER];
    bc__trailer_put_footer(footer, &trailer);
    off_t end = lseek(file, -BC_TRAILER_FOOTER, SEEK_END);
    CHECK(pwrite(file, footer, sizeof(footer), end) > 0 && close(file) == 0);
    struct bc_cache *cache = open_file(dir.path);
    CHECK(get(cache, 0) == EBADMSG && get(cache, 1) == 0);
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

/* A message of `wire`, with a body of `body_bytes` zeros, freed by the caller. */
static uint8_t *message_of(const struct bc_wire_batch *wire, int64_t *out_size) {
    struct flatbuffer metadata = build_batch_message(wire);
    *out_size = (int64_t)(8 + metadata.size) + wire->body_bytes;
    uint8_t *message = aligned_alloc(64, ((size_t)*out_size + 63) / 64 * 64);
    const int32_t prefix[2] = {-1, (int32_t)metadata.size};
    memcpy(message, prefix, sizeof(prefix));
    memcpy(message + 8, metadata.bytes, metadata.size);
    memset(message + 8 + metadata.size, 0, (size_t)wire->body_bytes);
    free(metadata.bytes);
    return message;
}

static struct bc_schema *schema_of(int n, enum ArrowType type) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, n) == 0);
    for (int i = 0; i < n; i++)
        CHECK(ArrowSchemaSetType(c_schema.children[i], type) == 0);
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    return schema;
}

/* A batch of `n` columns of int64, whose buffers are all the whole body; its message has
 * so many nodes. All columns are read, or the first one. */
static int decode(int n, int n_nodes, bool all) {
    enum { VALUES = 8, BODY = VALUES * 8, COLUMNS_MAX = 8 };
    struct bc_wire_node nodes[COLUMNS_MAX];
    struct bc_wire_buffer buffers[2 * COLUMNS_MAX];
    for (int i = 0; i < n; i++) {
        nodes[i] = (struct bc_wire_node){VALUES, 0};
        buffers[2 * i] = (struct bc_wire_buffer){0, 0};
        buffers[2 * i + 1] = (struct bc_wire_buffer){0, BODY};
    }
    const struct bc_wire_batch wire = {
        .rows = VALUES,
        .body_bytes = BODY,
        .nodes = nodes,
        .n_nodes = (size_t)n_nodes,
        .buffers = buffers,
        .n_buffers = 2 * (size_t)n_nodes,
    };
    int64_t size;
    uint8_t *message = message_of(&wire, &size);
    struct bc_schema *schema = schema_of(n, NANOARROW_TYPE_INT64);
    struct bc_projection *projection = NULL;
    const int32_t first = 0;
    if (!all) CHECK(bc__projection_new(schema, &first, 1, &projection, NULL) == 0);
    struct bc_message parts;
    int code = bc__message_parse(&parts, message, size);
    if (code == 0) {
        struct bc_batch *batch;
        code = bc__decode_batch(schema, projection, &parts, NULL, &batch);
        if (code == 0) bc__batch_unref(batch);
    }
    free(message);
    bc__projection_free(projection);
    bc__schema_free(schema);
    return code;
}

static void test_buffers(void) {
    for (int n = 1; n <= 4; n++) CHECK(decode(n, n, true) == 0);
    CHECK(decode(5, 5, true) == EINVAL);
}

/* Or a batch of few bytes would take as long as the schema is wide. */
static void test_nodes_that_are_missing(void) {
    CHECK(decode(4, 4, false) == 0);
    CHECK(decode(4, 3, false) == EINVAL && decode(4, 1, false) == EINVAL);
}

/* Columns may not have the buffers of those before them. */
static void test_variadic_counts(void) {
    enum { COLUMNS = 4, N_BUFFERS = 40 };
    const int64_t counts[] = {N_BUFFERS - 2, -N_BUFFERS - 2, N_BUFFERS - 2, 0};
    static const struct bc_wire_node nodes[COLUMNS];
    static const struct bc_wire_buffer buffers[N_BUFFERS];
    const struct bc_wire_batch wire = {
        .nodes = nodes,
        .n_nodes = COLUMNS,
        .buffers = buffers,
        .n_buffers = N_BUFFERS,
        .variadic_counts = counts,
        .n_variadic_counts = COLUMNS,
    };
    int64_t size;
    uint8_t *message = message_of(&wire, &size);
    struct bc_schema *schema = schema_of(COLUMNS, NANOARROW_TYPE_STRING_VIEW);
    int64_t columns[COLUMNS] = {0};
    struct bc_message parts;
    CHECK(bc__message_parse(&parts, message, size) == 0);
    CHECK(bc__measure_columns(schema, &parts, columns) == EINVAL);
    free(message);
    bc__schema_free(schema);
}

/* A buffer of a few rows that says that it is very large, in a sparse file. */
static void test_buffers_larger_than_their_rows(void) {
    enum { BODY = 4 << 20 };
    const struct bc_wire_node nodes[] = {{BODY / 8, 0}};
    const struct bc_wire_node few[] = {{1, 0}};
    const struct bc_wire_buffer buffers[] = {{0, 0}, {0, BODY}};
    struct bc_wire_batch wire = {
        .rows = BODY / 8,
        .body_bytes = BODY,
        .nodes = nodes,
        .n_nodes = 1,
        .buffers = buffers,
        .n_buffers = 2,
    };
    struct bc_schema *schema = schema_of(1, NANOARROW_TYPE_INT64);
    for (int i = 0; i < 2; i++) {
        int64_t size;
        uint8_t *message = message_of(&wire, &size);
        struct bc_message parts;
        CHECK(bc__message_parse(&parts, message, size) == 0);
        CHECK(bc__message_fits_batch(schema, &parts) == (i == 0));
        free(message);
        wire.rows = 1;
        wire.nodes = few;
    }
    bc__schema_free(schema);
}

/* A schema of one column, which has the format; its children are int8. */
static struct bc_schema *schema_of_format(const char *format, int64_t n_children) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    struct ArrowSchema *column = c_schema.children[0];
    CHECK(ArrowSchemaSetFormat(column, format) == 0);
    CHECK(ArrowSchemaAllocateChildren(column, n_children) == 0);
    for (int64_t i = 0; i < n_children; i++) {
        ArrowSchemaInit(column->children[i]);
        CHECK(ArrowSchemaSetType(column->children[i], NANOARROW_TYPE_INT8) == 0);
        CHECK(ArrowSchemaSetName(column->children[i], "x") == 0);
    }
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    return schema;
}

/* A column of one row, which reaches so much of what is in front of the hole. */
struct reach {
    const char *format;
    int64_t n_children;
    const void *row; /* 64 bytes of the body: what the buffers below lie on */
    struct bc_wire_buffer buffers[6];
    size_t n_buffers;
    bool is_far;
};

/* Children have as many values as the offsets and sizes reach, variadic buffers as much
 * text as the views do. */
static void test_children_larger_than_their_rows(void) {
    enum { BODY = 4 << 20, REST = BODY - 64, ROW = 64 };
    static const struct bc_view near_view[4] = {{20, "", 0, 0}};
    static const struct bc_view far_view[4] = {{REST, "", 0, 0}};
    static const struct bc_view inlined[4] = {{12, "", 0, 0}};
    static const int32_t near_list[ROW / 4] = {[2] = 30};
    static const int32_t far_list[ROW / 4] = {[2] = REST};
    static const int32_t near_child[ROW / 4] = {[2] = 50};
    static const int32_t far_child[ROW / 4] = {[2] = REST - 1};
    const struct bc_wire_buffer rest = {64, REST};
    const struct reach all[] = {
        {"vz", 0, near_view, {{0, 0}, {0, 16}, rest}, 3, false},
        {"vz", 0, inlined, {{0, 0}, {0, 16}, rest}, 3, false},
        {"vz", 0, far_view, {{0, 0}, {0, 16}, rest}, 3, true},
        {"+vl", 1, near_list, {{0, 0}, {0, 4}, {8, 4}, {0, 0}, rest}, 5, false},
        {"+vl", 1, far_list, {{0, 0}, {0, 4}, {8, 4}, {0, 0}, rest}, 5, true},
        {"+ud:0", 1, near_child, {{0, 1}, {8, 4}, {0, 0}, rest}, 4, false},
        {"+ud:0", 1, far_child, {{0, 1}, {8, 4}, {0, 0}, rest}, 4, true},
    };
    static const struct bc_wire_node nodes[] = {{1, 0}, {REST, 0}};
    static const int64_t variadic = 1;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct reach *reach = &all[i];
        struct bc_wire_batch wire = {
            .rows = 1,
            .body_bytes = BODY,
            .nodes = nodes,
            .n_nodes = 1 + (size_t)reach->n_children,
            .buffers = reach->buffers,
            .n_buffers = reach->n_buffers,
            .variadic_counts = &variadic,
            .n_variadic_counts = reach->format[0] == 'v',
        };
        int64_t size;
        uint8_t *message = message_of(&wire, &size);
        memcpy(message + size - BODY, reach->row, ROW);
        struct bc_schema *schema = schema_of_format(reach->format, reach->n_children);
        struct bc_message parts;
        CHECK(bc__message_parse(&parts, message, size) == 0);
        CHECK(bc__message_fits_batch(schema, &parts) == reach->is_far);
        bc__schema_free(schema);
        free(message);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_batches),
        TAP_CASE(test_dictionaries),
        TAP_CASE(test_first_rows),
        TAP_CASE(test_buffers),
        TAP_CASE(test_nodes_that_are_missing),
        TAP_CASE(test_variadic_counts),
        TAP_CASE(test_buffers_larger_than_their_rows),
        TAP_CASE(test_children_larger_than_their_rows),
    };
    return TAP_RUN(cases);
}
