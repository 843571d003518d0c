/* Dictionaries with one id for several columns, as other writers make them. Each is read
 * once for all its columns. */
#include "arrow/schema.h"
#include "message_builder.h"
#include "recording_dir.h"

enum { COLUMNS = 300, PAIRS = 20, ID = 7, LINE = 64 };

/* A column of dictionaries of strings, or of integers. */
static void set_column(struct ArrowSchema *column, enum ArrowType values) {
    CHECK(ArrowSchemaSetType(column, NANOARROW_TYPE_INT8) == 0);
    CHECK(ArrowSchemaAllocateDictionary(column) == 0);
    ArrowSchemaInit(column->dictionary);
    CHECK(ArrowSchemaSetType(column->dictionary, values) == 0);
}

/* Writes a message, and frees its metadata. */
static void put_message(FILE *file, struct flatbuffer metadata, const char *body,
                        int64_t body_bytes) {
    const int32_t prefix[2] = {-1, (int32_t)metadata.size};
    CHECK(fwrite(prefix, 1, sizeof(prefix), file) == sizeof(prefix));
    CHECK(fwrite(metadata.bytes, 1, metadata.size, file) == metadata.size);
    CHECK(fwrite(body, 1, (size_t)body_bytes, file) == (size_t)body_bytes);
    free(metadata.bytes);
}

/* `differs`: the last column's dictionary has another type. */
static void put_schema(FILE *file, bool differs) {
    struct ArrowSchema source;
    ArrowSchemaInit(&source);
    CHECK(ArrowSchemaSetTypeStruct(&source, COLUMNS) == 0);
    for (int i = 0; i < COLUMNS; i++) {
        bool is_other = differs && i == COLUMNS - 1;
        set_column(source.children[i],
                   is_other ? NANOARROW_TYPE_INT64 : NANOARROW_TYPE_STRING);
    }
    struct bc_schema *schema;
    CHECK(bc__schema_new(&source, &schema, NULL) == 0);
    source.release(&source);
    for (int32_t i = 0; i < schema->n_fields; i++) schema->fields[i].dictionary_id = ID;
    put_message(file, build_schema_message(schema, NULL), "", 0);
    bc__schema_free(schema);
}

/* The values are two letters: this one and the next. */
static void put_dictionary(FILE *file, char letter) {
    const int32_t offsets[] = {0, 1, 2};
    char body[2 * LINE] = {0};
    memcpy(body, offsets, sizeof(offsets));
    body[LINE] = letter;
    body[LINE + 1] = (char)(letter + 1);
    struct bc_wire_node node = {2, 0};
    struct bc_wire_buffer buffers[] = {{0, 0}, {0, sizeof(offsets)}, {LINE, 2}};
    const struct bc_wire_batch wire = {.is_dictionary = true,
                                       .dictionary_id = ID,
                                       .rows = 2,
                                       .body_bytes = sizeof(body),
                                       .nodes = &node,
                                       .n_nodes = 1,
                                       .buffers = buffers,
                                       .n_buffers = 3};
    put_message(file, build_batch_message(&wire), body, wire.body_bytes);
}

static void put_indices(FILE *file) {
    static char body[COLUMNS * LINE];
    struct bc_wire_node nodes[COLUMNS];
    struct bc_wire_buffer buffers[2 * COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        nodes[i] = (struct bc_wire_node){2, 0};
        buffers[2 * i] = (struct bc_wire_buffer){0, 0};
        buffers[2 * i + 1] = (struct bc_wire_buffer){(int64_t)i * LINE, 2};
        body[i * LINE + 1] = 1;
    }
    const struct bc_wire_batch wire = {.rows = 2,
                                       .body_bytes = sizeof(body),
                                       .nodes = nodes,
                                       .n_nodes = COLUMNS,
                                       .buffers = buffers,
                                       .n_buffers = (size_t)2 * COLUMNS};
    put_message(file, build_batch_message(&wire), body, wire.body_bytes);
}

static void write_file(const char *path, bool differs) {
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    put_schema(file, differs);
    for (int i = 0; i < PAIRS; i++) {
        put_dictionary(file, (char)('a' + i));
        put_indices(file);
    }
    put_message(file, flatbuffer_copy(NULL, 0), "", 0); /* the end */
    CHECK(fclose(file) == 0);
}

static void check_column(const struct ArrowArray *column, int64_t pair) {
    const char *letters = column->dictionary->buffers[2];
    CHECK(column->dictionary->length == 2);
    CHECK(letters[0] == 'a' + pair && letters[1] == 'b' + pair);
}

/* The file is mapped, then read into memory, where a second read would have another
 * address. */
static void test_each_is_read_once(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    write_file(dir.path, false);
    for (int copies = 0; copies <= 1; copies++) {
        struct bc_file_options options = BC_FILE_OPTIONS_INIT;
        options.verify = 1;
        options.read_into_memory = copies;
        struct bc_cache *cache;
        CHECK(bc_file_open(dir.path, &options, &cache, NULL) == 0);
        for (uint64_t i = 0; i < PAIRS; i++) {
            struct ArrowArray array;
            CHECK(bc_cache_batch(cache, i, &array, NULL, NULL) == 0);
            const void *values = array.children[0]->dictionary->buffers[2];
            for (int64_t c = 0; c < COLUMNS; c++) {
                check_column(array.children[c], (int64_t)i);
                CHECK(array.children[c]->dictionary->buffers[2] == values);
            }
            array.release(&array);
        }
        struct bc_file_info info = {.struct_size = sizeof(info)};
        CHECK(bc_cache_file_info(cache, &info, NULL, NULL) == 0);
        CHECK(info.dictionary_batches == PAIRS);
        bc_cache_unref(cache);
    }
    recording_dir_finish(&dir);
}

/* Reads columns of which the first is left out. */
static void test_some_columns(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    write_file(dir.path, false);
    struct bc_cache *cache;
    CHECK(bc_file_open(dir.path, NULL, &cache, NULL) == 0);
    const int32_t columns[] = {COLUMNS - 1, 2};
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = columns;
    options.n_columns = 2;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
    for (int64_t i = 0; i < PAIRS; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        for (int c = 0; c < 2; c++) check_column(array.children[c], i);
        array.release(&array);
    }
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    recording_dir_finish(&dir);
}

static void test_types_that_differ(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    write_file(dir.path, true);
    struct bc_cache *cache;
    struct bc_error error = {0};
    CHECK(bc_file_open(dir.path, NULL, &cache, &error) == EBADMSG);
    CHECK(strstr(error.message, "same id") != NULL);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_each_is_read_once),
        TAP_CASE(test_some_columns),
        TAP_CASE(test_types_that_differ),
    };
    return TAP_RUN(cases);
}
