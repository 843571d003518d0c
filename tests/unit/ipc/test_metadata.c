/* IPC metadata: it is read back as it was built, and damaged metadata is an error. */
#include "counting_source.h"
#include "ipc/metadata.h"
#include "message_builder.h"

/* ---- schemas as text ---- */

struct spec {
    const char *format;
    const char *name;
    int64_t flags;
    int n_children;
    const struct spec *children;
    const struct spec *dictionary;
    const char (*metadata)[2][8]; /* pairs of 7 bytes, zeros included; NULL: none */
    int n_pairs;
};

enum {
    NULLABLE = ARROW_FLAG_NULLABLE,
    ORDERED = ARROW_FLAG_DICTIONARY_ORDERED,
    SORTED = ARROW_FLAG_MAP_KEYS_SORTED
};

#define CHILDREN(...)                                                         \
    .n_children = sizeof((struct spec[]){__VA_ARGS__}) / sizeof(struct spec), \
    .children = (const struct spec[]) {                                       \
        __VA_ARGS__                                                           \
    }
#define VALUES(...)                       \
    .dictionary = (const struct spec[]) { \
        {                                 \
            __VA_ARGS__                   \
        }                                 \
    }
#define FIELD(format_, name_, flags_) .format = format_, .name = name_, .flags = flags_

static const char odd_pairs[][2][8] = {
    {"key", "value"}, {"", ""}, {"\0a\0b", "\xff\xfe\x00\x80"}, {"key", "again"}};

#define COLUMNS(columns)                                                       \
    {FIELD("+s", "", 0), .n_children = sizeof(columns) / sizeof((columns)[0]), \
     .children = columns}

static const char *const plain_formats[] = {"n",
                                            "b",
                                            "c",
                                            "C",
                                            "s",
                                            "S",
                                            "i",
                                            "I",
                                            "l",
                                            "L",
                                            "e",
                                            "f",
                                            "g",
                                            "z",
                                            "Z",
                                            "u",
                                            "U",
                                            "vu",
                                            "vz",
                                            "w:0",
                                            "w:1",
                                            "w:16",
                                            "d:9,2,32",
                                            "d:18,-3,64",
                                            "d:1,0",
                                            "d:38,38",
                                            "d:10,-2147483648",
                                            "d:76,0,256",
                                            "tdD",
                                            "tdm",
                                            "tts",
                                            "ttm",
                                            "ttu",
                                            "ttn",
                                            "tss:",
                                            "tsm:UTC",
                                            "tsu:+05:30",
                                            "tsn:Europe/Berlin",
                                            "tDs",
                                            "tDm",
                                            "tDu",
                                            "tDn",
                                            "tiM",
                                            "tiD",
                                            "tin"};
static struct spec plain_columns[sizeof(plain_formats) / sizeof(plain_formats[0])];

static void fill_plain_columns(void) {
    for (size_t i = 0; i < sizeof(plain_formats) / sizeof(plain_formats[0]); i++) {
        const char *format = plain_formats[i];
        plain_columns[i] = (struct spec){FIELD(format, format, NULLABLE)};
    }
}

static const struct spec nested_columns[] = {
    {FIELD("l", "", 0)},
    {FIELD("u", "not null", 0)},
    {FIELD("+l", "list", NULLABLE), CHILDREN({FIELD("i", "item", 0)})},
    {FIELD("+L", "large", NULLABLE), CHILDREN({FIELD("i", "item", NULLABLE)})},
    {FIELD("+vl", "view", 0), CHILDREN({FIELD("u", "item", NULLABLE)})},
    {FIELD("+vL", "large view", 0), CHILDREN({FIELD("vu", "item", NULLABLE)})},
    {FIELD("+w:0", "none", NULLABLE), CHILDREN({FIELD("l", "item", NULLABLE)})},
    {FIELD("+w:3", "three", NULLABLE), CHILDREN({FIELD("l", "item", NULLABLE)})},
    {FIELD("+s", "empty", NULLABLE)},
    {FIELD("+s", "struct", NULLABLE),
     CHILDREN({FIELD("l", "a", 0)},
              {FIELD("+s", "b", NULLABLE),
               CHILDREN({FIELD("+l", "c", NULLABLE),
                         CHILDREN({FIELD("vz", "d", NULLABLE)})})})},
    {FIELD("+m", "map", NULLABLE),
     CHILDREN({FIELD("+s", "entries", 0),
               CHILDREN({FIELD("u", "k", 0)}, {FIELD("l", "v", NULLABLE)})})},
    {FIELD("+m", "sorted", NULLABLE | SORTED),
     CHILDREN({FIELD("+s", "entries", 0),
               CHILDREN({FIELD("u", "k", 0)}, {FIELD("l", "v", 0)})})},
    {FIELD("+us:0,1", "sparse", 0),
     CHILDREN({FIELD("l", "x", NULLABLE)}, {FIELD("u", "y", NULLABLE)})},
    {FIELD("+ud:127,5,0", "dense", NULLABLE),
     CHILDREN({FIELD("l", "x", NULLABLE)}, {FIELD("u", "y", NULLABLE)},
              {FIELD("n", "z", NULLABLE)})},
    {FIELD("+us:", "no types", NULLABLE)},
    {FIELD("+r", "runs", NULLABLE),
     CHILDREN({FIELD("s", "run_ends", 0)}, {FIELD("u", "values", NULLABLE)})},
    {FIELD("+r", "long runs", 0),
     CHILDREN({FIELD("l", "run_ends", 0)},
              {FIELD("+l", "values", 0), CHILDREN({FIELD("i", "item", NULLABLE)})})}};

static const struct spec dictionary_columns[] = {
    {FIELD("c", "a", NULLABLE), VALUES(FIELD("u", "", NULLABLE))},
    {FIELD("C", "b", 0), VALUES(FIELD("w:0", "", NULLABLE))},
    {FIELD("s", "c", NULLABLE | ORDERED), VALUES(FIELD("tsn:UTC", "", NULLABLE))},
    {FIELD("S", "d", NULLABLE), VALUES(FIELD("d:5,2,256", "", NULLABLE))},
    {FIELD("i", "e", NULLABLE),
     VALUES(FIELD("+s", "", NULLABLE),
            CHILDREN({FIELD("L", "x", NULLABLE), VALUES(FIELD("vu", "", NULLABLE))},
                     {FIELD("u", "y", NULLABLE)}))},
    {FIELD("I", "f", NULLABLE),
     VALUES(FIELD("+m", "", NULLABLE | SORTED),
            CHILDREN({FIELD("+s", "entries", 0),
                      CHILDREN({FIELD("i", "k", 0), VALUES(FIELD("u", "", NULLABLE))},
                               {FIELD("l", "v", NULLABLE)})}))},
    {FIELD("l", "g", NULLABLE),
     VALUES(FIELD("+ud:3,1", "", NULLABLE),
            CHILDREN({FIELD("l", "x", 0)}, {FIELD("u", "y", 0)}))},
    {FIELD("+l", "h", NULLABLE),
     CHILDREN({FIELD("i", "item", NULLABLE), VALUES(FIELD("z", "", NULLABLE))})}};

static const struct spec noted_columns[] = {
    {FIELD("u", "pairs", NULLABLE), .metadata = odd_pairs, .n_pairs = 4},
    {FIELD("u", "no pair", NULLABLE), .metadata = odd_pairs, .n_pairs = 0},
    {FIELD("i", "dictionary", NULLABLE), VALUES(FIELD("u", "", NULLABLE)),
     .metadata = odd_pairs, .n_pairs = 3},
    {FIELD("+s", "struct", NULLABLE),
     CHILDREN({FIELD("u", "below", NULLABLE), .metadata = odd_pairs, .n_pairs = 1}),
     .metadata = odd_pairs, .n_pairs = 2}};

/* Metadata of a dictionary's values: alone, beside the field's own, below other values.
 */
static const struct spec noted_values_columns[] = {
    {FIELD("i", "values", NULLABLE),
     VALUES(FIELD("u", "", NULLABLE), .metadata = odd_pairs, .n_pairs = 4)},
    {FIELD("i", "both", NULLABLE),
     VALUES(FIELD("w:16", "", NULLABLE), .metadata = odd_pairs, .n_pairs = 1),
     .metadata = odd_pairs, .n_pairs = 3},
    {FIELD("c", "nested", NULLABLE),
     VALUES(FIELD("+s", "", NULLABLE), .metadata = odd_pairs, .n_pairs = 2,
            CHILDREN(
                {FIELD("l", "x", NULLABLE), .metadata = odd_pairs, .n_pairs = 4,
                 VALUES(FIELD("vu", "", NULLABLE), .metadata = odd_pairs, .n_pairs = 3)},
                {FIELD("u", "y", NULLABLE), .metadata = odd_pairs, .n_pairs = 1}))},
    {FIELD("+l", "below", NULLABLE),
     CHILDREN({FIELD("i", "item", NULLABLE),
               VALUES(FIELD("z", "", NULLABLE), .metadata = odd_pairs, .n_pairs = 1)})}};

static const struct spec roots[] = {
    COLUMNS(plain_columns),
    COLUMNS(nested_columns),
    COLUMNS(dictionary_columns),
    COLUMNS(noted_columns),
    COLUMNS(noted_values_columns),
    {FIELD("+s", "", 0)},
    {FIELD("+s", "", 0), .metadata = odd_pairs, .n_pairs = 4},
    {FIELD("+s", "", 0), .metadata = odd_pairs, .n_pairs = 0}};
enum { N_ROOTS = sizeof(roots) / sizeof(roots[0]) };

static void set_pairs(const struct spec *spec, struct ArrowSchema *out) {
    char text[4 + 8 * (8 + 16)];
    size_t size = 0;
    int32_t n = spec->n_pairs;
    memcpy(text, &n, 4);
    size += 4;
    for (int i = 0; i < 2 * n; i++) {
        const char *word = spec->metadata[i / 2][i % 2];
        int32_t length = 7;
        while (length > 0 && word[length - 1] == '\0') length--;
        memcpy(text + size, &length, 4);
        memcpy(text + size + 4, word, (size_t)length);
        size += 4 + (size_t)length;
    }
    CHECK(ArrowSchemaSetMetadata(out, text) == 0);
}

static void make(const struct spec *spec, struct ArrowSchema *out) {
    ArrowSchemaInit(out);
    CHECK(ArrowSchemaSetFormat(out, spec->format) == 0);
    CHECK(ArrowSchemaSetName(out, spec->name) == 0);
    out->flags = spec->flags;
    if (spec->metadata != NULL) set_pairs(spec, out);
    CHECK(ArrowSchemaAllocateChildren(out, spec->n_children) == 0);
    for (int i = 0; i < spec->n_children; i++) {
        make(&spec->children[i], out->children[i]);
    }
    if (spec->dictionary == NULL) return;
    CHECK(ArrowSchemaAllocateDictionary(out) == 0);
    make(spec->dictionary, out->dictionary);
}

static struct bc_schema *make_schema(const struct spec *spec) {
    struct ArrowSchema tree;
    struct bc_schema *schema = NULL;
    struct bc_error error = {0};
    make(spec, &tree);
    int code = bc__schema_new(&tree, &schema, &error);
    if (code != 0) printf("# %s\n", error.message);
    CHECK(code == 0);
    tree.release(&tree);
    return schema;
}

static void compare(const struct ArrowSchema *a, const struct ArrowSchema *b) {
    if (strcmp(a->format, b->format) != 0) printf("# %s, %s\n", a->format, b->format);
    CHECK(strcmp(a->format, b->format) == 0);
    CHECK(strcmp(a->name, b->name) == 0);
    CHECK(a->flags == b->flags && a->n_children == b->n_children);
    CHECK((a->metadata == NULL) == (b->metadata == NULL));
    if (a->metadata != NULL) {
        int64_t size = ArrowMetadataSizeOf(a->metadata);
        CHECK(size == ArrowMetadataSizeOf(b->metadata));
        CHECK(memcmp(a->metadata, b->metadata, (size_t)size) == 0);
    }
    CHECK((a->dictionary == NULL) == (b->dictionary == NULL));
    if (a->dictionary != NULL) compare(a->dictionary, b->dictionary);
    for (int64_t i = 0; i < a->n_children; i++) compare(a->children[i], b->children[i]);
}

/* ---- round trips ---- */

static void check_text(struct bc_wire_text text, const char *wanted) {
    CHECK((text.data == NULL) == (wanted == NULL));
    CHECK(text.size == (wanted == NULL ? 0 : strlen(wanted)));
    CHECK(text.size == 0 || memcmp(text.data, wanted, text.size) == 0);
}

static void check_schema(const struct bc_schema *schema, const char *checksums,
                         const char *key) {
    struct flatbuffer flatbuffer = build_keyed_schema(schema, checksums, key);
    struct bc_wire_head head;
    CHECK(bc__metadata_peek(flatbuffer.bytes, flatbuffer.size, &head) == 0);
    CHECK(head.kind == BC_WIRE_SCHEMA && head.version == 4 && head.body_bytes == 0);
    struct bc_wire_batch batch;
    CHECK(bc__metadata_read_batch(flatbuffer.bytes, flatbuffer.size, &batch) == EINVAL);
    struct bc_wire_schema read = {0};
    struct bc_error error = {0};
    int code = bc__metadata_read_schema(flatbuffer.bytes, flatbuffer.size, &read, &error);
    if (code != 0) printf("# %d %s\n", code, error.message);
    struct bc_schema *again = read.schema;
    CHECK(code == 0 && again->n_fields == schema->n_fields);
    compare(&schema->copy, &again->copy);
    for (int32_t i = 0; i < schema->n_fields; i++) {
        CHECK(again->fields[i].dictionary == schema->fields[i].dictionary);
        CHECK(again->fields[i].dictionary_id == schema->fields[i].dictionary_id);
    }
    check_text(read.checksums, checksums);
    check_text(read.key, key);
    bc__schema_free(again);
    free(flatbuffer.bytes);
}

static void test_schemas(void) {
    for (size_t i = 0; i < N_ROOTS; i++) {
        struct bc_schema *schema = make_schema(&roots[i]);
        check_schema(schema, NULL, NULL);
        check_schema(schema, "0123456789abcdef", NULL);
        check_schema(schema, "0123456789abcdef", "{\"a\":1}");
        check_schema(schema, NULL, "");
        bc__schema_free(schema);
    }
}

static const struct spec columns_without_metadata[] = {
    {FIELD("i", "a", NULLABLE), VALUES(FIELD("u", "", NULLABLE))},
    {FIELD("i", "b", NULLABLE), VALUES(FIELD("u", "", NULLABLE))},
    {FIELD("i", "c", NULLABLE), VALUES(FIELD("u", "", NULLABLE))},
    {FIELD("u", "d", NULLABLE)}};
static const struct spec root_without_metadata = COLUMNS(columns_without_metadata);

/* Sets the metadata of a field: each key of the list, with its index as the value. */
static void set_keys(struct ArrowSchema *field, const char *const *keys) {
    struct ArrowBuffer pairs;
    CHECK(ArrowMetadataBuilderInit(&pairs, NULL) == 0);
    for (size_t i = 0; keys[i] != NULL; i++) {
        const char value[] = {(char)('0' + i), '\0'};
        CHECK(ArrowMetadataBuilderAppend(&pairs, ArrowCharView(keys[i]),
                                         ArrowCharView(value)) == 0);
    }
    const char *text = keys[0] == NULL ? "\0\0\0" : (const char *)pairs.data;
    CHECK(ArrowSchemaSetMetadata(field, text) == 0);
    ArrowBufferReset(&pairs);
}

/* Keys of any field may look like those that the file has for a dictionary's values. */
static void test_keys_with_the_prefix(void) {
    static const char *const keys[] = {"batchcorder.values:a",
                                       "batchcorder.values:",
                                       "batchcorder.values+:",
                                       "batchcorder.values++:batchcorder.values:a",
                                       "batchcorder.values+",
                                       "batchcorder.values",
                                       "batchcorder.valuesx:",
                                       "Batchcorder.values:a",
                                       "batchcorder.value",
                                       ":",
                                       "",
                                       "batchcorder.values:a",
                                       NULL};
    struct ArrowSchema tree;
    struct bc_schema *schema = NULL;
    make(&root_without_metadata, &tree);
    set_keys(&tree, keys);
    set_keys(tree.children[0], keys);
    set_keys(tree.children[0]->dictionary, keys);
    set_keys(tree.children[1], keys);
    set_keys(tree.children[2]->dictionary, keys);
    set_keys(tree.children[3], keys);
    CHECK(bc__schema_new(&tree, &schema, NULL) == 0);
    tree.release(&tree);
    check_schema(schema, NULL, NULL);
    check_schema(schema, "0123456789abcdef", NULL);
    bc__schema_free(schema);
}

/* The file does not keep that values have metadata without pairs. A field's own metadata
 * without pairs is kept, unless its values have pairs. */
static void test_metadata_without_pairs(void) {
    static const char *const keys[] = {"key", NULL};
    static const char *const no_keys[] = {NULL};
    struct ArrowSchema tree;
    struct bc_schema *schema = NULL;
    make(&root_without_metadata, &tree);
    set_keys(tree.children[0]->dictionary, no_keys);
    set_keys(tree.children[1], no_keys);
    set_keys(tree.children[2], no_keys);
    set_keys(tree.children[2]->dictionary, keys);
    CHECK(bc__schema_new(&tree, &schema, NULL) == 0);
    tree.release(&tree);
    struct flatbuffer flat = build_schema_message(schema, NULL);
    bc__schema_free(schema);
    struct bc_wire_schema read;
    CHECK(bc__metadata_read_schema(flat.bytes, flat.size, &read, NULL) == 0);
    schema = read.schema;
    free(flat.bytes);
    struct ArrowSchema **fields = schema->copy.children;
    CHECK(fields[0]->metadata == NULL && fields[0]->dictionary->metadata == NULL);
    CHECK(fields[1]->metadata != NULL && fields[1]->dictionary->metadata == NULL);
    CHECK(fields[2]->metadata == NULL && fields[2]->dictionary->metadata != NULL);
    bc__schema_free(schema);
}

/* Dictionary ids, some of which are shared. */
static void test_dictionary_ids(void) {
    static const int64_t ids[] = {7, -1, 7, INT64_MAX, 0, INT64_MIN};
    struct bc_schema *schema = make_schema(&roots[2]);
    size_t n = 0;
    for (int32_t i = 0; i < schema->n_fields; i++) {
        if (schema->fields[i].dictionary < 0) continue;
        schema->fields[i].dictionary_id = ids[n++ % 6];
    }
    CHECK(n == 10);
    check_schema(schema, NULL, NULL);
    bc__schema_free(schema);
}

static struct bc_wire_batch some_batch(void) {
    static const struct bc_wire_node nodes[] = {{3, 1}, {INT64_MAX, 0}, {-1, -1}};
    static const struct bc_wire_buffer buffers[] = {{0, 8}, {64, INT64_MAX}, {-8, 0}};
    static const int64_t counts[] = {2, 0};
    return (struct bc_wire_batch){.rows = 3,
                                  .body_bytes = 128,
                                  .nodes = nodes,
                                  .n_nodes = 3,
                                  .buffers = buffers,
                                  .n_buffers = 3,
                                  .variadic_counts = counts,
                                  .n_variadic_counts = 2,
                                  .checksums = "0123456789abcdef",
                                  .checksums_size = 16};
}

static void check_batch(const struct bc_wire_batch *batch) {
    struct flatbuffer flatbuffer = build_batch_message(batch);
    struct bc_wire_batch again;
    CHECK(bc__metadata_read_batch(flatbuffer.bytes, flatbuffer.size, &again) == 0);
    CHECK(again.version == 4 && again.codec == batch->codec);
    CHECK(again.is_dictionary == batch->is_dictionary);
    CHECK(again.is_delta == batch->is_delta);
    CHECK(again.dictionary_id == batch->dictionary_id);
    CHECK(again.rows == batch->rows && again.body_bytes == batch->body_bytes);
    CHECK(again.n_nodes == batch->n_nodes && again.n_buffers == batch->n_buffers);
    CHECK(again.n_variadic_counts == batch->n_variadic_counts);
    CHECK(again.checksums_size == batch->checksums_size);
    for (size_t i = 0; i < batch->n_nodes; i++) {
        struct bc_wire_node node = bc__wire_node(&again, i);
        struct bc_wire_node wanted = bc__wire_node(batch, i);
        CHECK(memcmp(&node, &wanted, sizeof(node)) == 0);
    }
    for (size_t i = 0; i < batch->n_buffers; i++) {
        struct bc_wire_buffer buffer = bc__wire_buffer(&again, i);
        struct bc_wire_buffer wanted = bc__wire_buffer(batch, i);
        CHECK(memcmp(&buffer, &wanted, sizeof(buffer)) == 0);
    }
    for (size_t i = 0; i < batch->n_variadic_counts; i++) {
        CHECK(bc__wire_variadic_count(&again, i) == bc__wire_variadic_count(batch, i));
    }
    CHECK((again.checksums == NULL) == (batch->checksums == NULL));
    CHECK(batch->checksums == NULL ||
          memcmp(again.checksums, batch->checksums, batch->checksums_size) == 0);
    struct bc_wire_head head;
    CHECK(bc__metadata_peek(flatbuffer.bytes, flatbuffer.size, &head) == 0);
    CHECK(head.kind == (batch->is_dictionary ? BC_WIRE_DICTIONARY : BC_WIRE_BATCH));
    CHECK(head.version == 4 && head.body_bytes == batch->body_bytes);
    CHECK(head.rows == batch->rows && head.dictionary_id == batch->dictionary_id);
    CHECK(head.is_delta == batch->is_delta);
    free(flatbuffer.bytes);
}

static void test_batches(void) {
    struct bc_wire_batch batch = some_batch();
    check_batch(&batch);
    batch.codec = BC_CODEC_LZ4;
    batch.checksums = NULL;
    batch.checksums_size = 0;
    check_batch(&batch);
    batch.codec = BC_CODEC_ZSTD;
    batch.is_dictionary = true;
    batch.dictionary_id = -7;
    check_batch(&batch);
    batch.is_delta = true;
    batch.dictionary_id = 0;
    batch.n_variadic_counts = 0;
    check_batch(&batch);
    struct bc_wire_batch empty = {.rows = 0};
    check_batch(&empty);
}

/* Builds a footer's table before a copy of a schema message, whose schema it uses. */
static struct flatbuffer build_footer(const struct bc_schema *schema) {
    static const uint16_t fields[] = {16, 4, 8, 12};
    struct flatbuffer message = build_schema_message(schema, NULL);
    struct flatbuffer_builder out = builder_start((uint32_t)message.size + 256);
    uint32_t root = builder_table(&out, builder_vtable(&out, 18, 4, fields));
    builder_refer(&out, 0, root);
    out.bytes[root + 16] = 4; /* V5 */
    for (uint32_t which = 0; which < 2; which++) {
        (void)builder_reserve(&out, 4, 8);
        uint32_t blocks = builder_reserve(&out, 4, 4);
        builder_put(&out, blocks, which + 1);
        for (uint32_t i = 0; i <= which; i++) {
            struct bc_wire_block block = {8 + i, 16 + (int32_t)i, 0, 64 + i};
            memcpy(out.bytes + builder_reserve(&out, sizeof(block), 8), &block,
                   sizeof(block));
        }
        builder_refer(&out, root + 8 + which * 4, blocks);
    }
    uint32_t base = builder_reserve(&out, (uint32_t)message.size, 8);
    memcpy(out.bytes + base, message.bytes, message.size);
    uint32_t at;
    int32_t back;
    uint16_t entry;
    uint32_t offset;
    memcpy(&at, message.bytes, sizeof(at));
    memcpy(&back, message.bytes + at, sizeof(back));
    memcpy(&entry, message.bytes + ((int64_t)at - back) + 4 + 2 * 2, sizeof(entry));
    memcpy(&offset, message.bytes + at + entry, sizeof(offset));
    builder_refer(&out, root + 4, base + at + entry + offset);
    struct flatbuffer flatbuffer = flatbuffer_copy(out.bytes, out.size);
    free(out.bytes);
    free(message.bytes);
    return flatbuffer;
}

static void test_footers(void) {
    for (size_t i = 0; i < N_ROOTS; i++) {
        struct bc_schema *schema = make_schema(&roots[i]);
        struct flatbuffer flatbuffer = build_footer(schema);
        struct bc_schema *again = NULL;
        struct bc_wire_blocks dictionaries;
        struct bc_wire_blocks batches;
        CHECK(bc__metadata_read_footer(flatbuffer.bytes, flatbuffer.size, &again,
                                       &dictionaries, &batches, NULL) == 0);
        compare(&schema->copy, &again->copy);
        CHECK(dictionaries.n == 1 && batches.n == 2);
        CHECK(bc__wire_block(&dictionaries, 0).metadata_bytes == 16);
        struct bc_wire_block second = bc__wire_block(&batches, 1);
        CHECK(second.offset == 9 && second.metadata_bytes == 17);
        CHECK(second.body_bytes == 65);
        bc__schema_free(again);
        bc__schema_free(schema);
        free(flatbuffer.bytes);
    }
}

/* ---- damaged metadata ---- */

/* Calls each reading function, and reads all its results. */
static uint64_t read_all(const struct flatbuffer *flatbuffer) {
    uint64_t sum = 0;
    struct bc_wire_head head;
    struct bc_wire_batch batch;
    struct bc_schema *schema = NULL;
    struct bc_wire_blocks blocks[2];
    const char *text = NULL;
    size_t size = 0;
    struct bc_error error = {0};
    int code = bc__metadata_peek(flatbuffer->bytes, flatbuffer->size, &head);
    CHECK(code == EINVAL || (code == 0 && head.body_bytes >= 0 && head.rows >= 0));
    code = bc__metadata_read_batch(flatbuffer->bytes, flatbuffer->size, &batch);
    CHECK(code == 0 || code == EINVAL);
    if (code == 0) {
        for (size_t i = 0; i < batch.n_nodes; i++) {
            struct bc_wire_node node = bc__wire_node(&batch, i);
            sum += (uint64_t)node.length + (uint64_t)node.null_count;
        }
        for (size_t i = 0; i < batch.n_buffers; i++) {
            struct bc_wire_buffer buffer = bc__wire_buffer(&batch, i);
            sum += (uint64_t)buffer.offset + (uint64_t)buffer.length;
        }
        for (size_t i = 0; i < batch.n_variadic_counts; i++) {
            sum += (uint64_t)bc__wire_variadic_count(&batch, i);
        }
        text = batch.checksums;
        size = batch.checksums_size;
        for (size_t i = 0; i < size; i++) sum += (uint64_t)text[i];
    }
    struct bc_wire_schema read;
    code = bc__metadata_read_schema(flatbuffer->bytes, flatbuffer->size, &read, &error);
    CHECK(code == error.code);
    CHECK(code == 0 || ((code == EINVAL || code == ENOTSUP) && error.message[0] != '\0'));
    if (code == 0) {
        const struct bc_wire_text texts[] = {read.checksums, read.key};
        for (size_t t = 0; t < 2; t++) {
            for (size_t i = 0; i < texts[t].size; i++) sum += (uint64_t)texts[t].data[i];
        }
        bc__schema_free(read.schema);
    }
    error.code = 0;
    code = bc__metadata_read_footer(flatbuffer->bytes, flatbuffer->size, &schema,
                                    &blocks[0], &blocks[1], &error);
    CHECK(code == error.code);
    CHECK(code == 0 || ((code == EINVAL || code == ENOTSUP) && error.message[0] != '\0'));
    if (code == 0) {
        for (size_t i = 0; i < blocks[0].n + blocks[1].n; i++) {
            const struct bc_wire_blocks *which = &blocks[i >= blocks[0].n];
            struct bc_wire_block block =
                bc__wire_block(which, i >= blocks[0].n ? i - blocks[0].n : i);
            sum += (uint64_t)block.offset + (uint64_t)block.body_bytes;
        }
        bc__schema_free(schema);
    }
    return sum;
}

/* Metadata is read at any address. */
static void move(const struct flatbuffer *flatbuffer) {
    uint8_t *place = malloc(flatbuffer->size + 8);
    for (size_t shift = 1; shift < 8; shift++) {
        const struct flatbuffer moved = {place + shift, flatbuffer->size};
        memcpy(moved.bytes, flatbuffer->bytes, flatbuffer->size);
        CHECK(read_all(&moved) == read_all(flatbuffer));
    }
    free(place);
}

/* Flips each bit, and cuts at each size. */
static void damage(struct flatbuffer flatbuffer) {
    static volatile uint64_t sum;
    move(&flatbuffer);
    for (size_t size = 0; size <= flatbuffer.size; size++) {
        struct flatbuffer cut = flatbuffer_copy(flatbuffer.bytes, size);
        sum += read_all(&cut);
        free(cut.bytes);
    }
    for (size_t bit = 0; bit < flatbuffer.size * 8; bit++) {
        uint8_t mask = (uint8_t)(1 << (bit % 8));
        flatbuffer.bytes[bit / 8] ^= mask;
        sum += read_all(&flatbuffer);
        flatbuffer.bytes[bit / 8] ^= mask;
    }
    free(flatbuffer.bytes);
}

static void test_damaged_schemas(void) {
    for (size_t i = 0; i < N_ROOTS; i++) {
        struct bc_schema *schema = make_schema(&roots[i]);
        damage(build_schema_message(schema, "0123456789abcdef"));
        bc__schema_free(schema);
    }
}

static void test_damaged_footers(void) {
    struct bc_schema *schema = make_schema(&roots[3]);
    damage(build_footer(schema));
    bc__schema_free(schema);
}

static void test_damaged_batches(void) {
    struct bc_wire_batch batch = some_batch();
    damage(build_batch_message(&batch));
    batch.codec = BC_CODEC_ZSTD;
    batch.is_dictionary = true;
    damage(build_batch_message(&batch));
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_schemas),
                                            TAP_CASE(test_keys_with_the_prefix),
                                            TAP_CASE(test_metadata_without_pairs),
                                            TAP_CASE(test_dictionary_ids),
                                            TAP_CASE(test_batches),
                                            TAP_CASE(test_footers),
                                            TAP_CASE(test_damaged_schemas),
                                            TAP_CASE(test_damaged_footers),
                                            TAP_CASE(test_damaged_batches)};
    fill_plain_columns();
    return TAP_RUN(cases);
}
