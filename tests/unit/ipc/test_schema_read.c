/* Hostile schemas, assembled by hand, are refused at once. Fields that writers may leave
 * out have defaults. */
#include "counting_source.h"
#include "flatbuffer_builder.h"
#include "ipc/metadata.h"

/* Offsets of the fields that the tests set in their tables. */
enum { IN_VERSION = 4, IN_KIND = 6, IN_HEADER = 8, IN_FIELDS = 4, IN_ENDIANNESS = 8 };
enum { IN_TYPE_KIND = 4, IN_TYPE = 8, IN_CHILDREN = 12, IN_PAIRS = 16, IN_ENCODING = 20 };

/* A schema message: its vtables, and offsets of some parts. */
struct parts {
    uint32_t empty, field, encoded, pair;
    uint32_t root, schema;
    uint32_t fields; /* the reference to the fields, set by the caller */
};

static struct parts start_schema(struct flatbuffer_builder *out) {
    static const uint16_t message[] = {IN_VERSION, IN_KIND, IN_HEADER};
    static const uint16_t schema[] = {IN_ENDIANNESS, IN_FIELDS};
    static const uint16_t field[] = {0, 0,           IN_TYPE_KIND, IN_TYPE,
                                     0, IN_CHILDREN, IN_PAIRS};
    static const uint16_t encoded[] = {0,           0,           IN_TYPE_KIND, IN_TYPE,
                                       IN_ENCODING, IN_CHILDREN, IN_PAIRS};
    static const uint16_t pair[] = {4, 8};
    uint32_t message_vtable = builder_vtable(out, 12, 3, message);
    uint32_t schema_vtable = builder_vtable(out, 12, 2, schema);
    struct parts parts = {.empty = builder_vtable(out, 4, 0, NULL),
                          .field = builder_vtable(out, 20, 7, field),
                          .encoded = builder_vtable(out, 24, 7, encoded),
                          .pair = builder_vtable(out, 12, 2, pair)};
    parts.root = builder_table(out, message_vtable);
    builder_refer(out, 0, parts.root);
    out->bytes[parts.root + IN_VERSION] = 4; /* V5 */
    out->bytes[parts.root + IN_KIND] = 1;
    parts.schema = builder_table(out, schema_vtable);
    builder_refer(out, parts.root + IN_HEADER, parts.schema);
    parts.fields = parts.schema + IN_FIELDS;
    return parts;
}

enum { TYPE_STRUCT = 13, TYPE_UNION = 14, TYPE_UNKNOWN = 27 };

/* Writes a field without type parameters, children or pairs. The caller may set those
 * references. */
static uint32_t field_of(struct flatbuffer_builder *out, const struct parts *parts,
                         uint32_t its_vtable, uint8_t kind) {
    uint32_t field = builder_table(out, its_vtable);
    out->bytes[field + IN_TYPE_KIND] = kind;
    uint32_t type = builder_table(out, parts->empty);
    builder_refer(out, field + IN_TYPE, type);
    uint32_t none = builder_vector(out, 0);
    builder_refer(out, field + IN_CHILDREN, none);
    builder_refer(out, field + IN_PAIRS, none);
    return field;
}

/* Reads the assembled schema. `out` stays as it is. */
static int read_assembled(const struct flatbuffer_builder *out,
                          struct bc_schema **out_schema, struct bc_error *error) {
    struct flatbuffer flatbuffer = flatbuffer_copy(out->bytes, out->size);
    struct bc_wire_schema read = {0};
    int code = bc__metadata_read_schema(flatbuffer.bytes, flatbuffer.size, &read, error);
    if (code == 0) *out_schema = read.schema;
    free(flatbuffer.bytes);
    return code;
}

static void refuse(const struct flatbuffer_builder *out, int code, const char *words) {
    struct bc_schema *schema = NULL;
    struct bc_error error = {0};
    CHECK(read_assembled(out, &schema, &error) == code && schema == NULL);
    CHECK(error.code == code && strstr(error.message, words) != NULL);
}

/* ---- small messages of large schemas ---- */

/* A chain of fields. Each is `n_children` times the child of the field before. */
static void check_chain(uint32_t levels, uint32_t n_children, const char *words) {
    struct flatbuffer_builder out = builder_start(256 + levels * (64 + 4 * n_children));
    struct parts parts = start_schema(&out);
    uint32_t reference = parts.fields;
    for (uint32_t level = 0; level < levels; level++) {
        uint32_t fields = builder_vector(&out, n_children);
        builder_refer(&out, reference, fields);
        uint32_t field = field_of(&out, &parts, parts.field, TYPE_STRUCT);
        for (uint32_t i = 0; i < n_children; i++) {
            builder_refer(&out, fields + 4 + 4 * i, field);
        }
        reference = field + IN_CHILDREN;
    }
    if (words != NULL) {
        refuse(&out, EINVAL, words);
    } else {
        struct bc_schema *schema = NULL;
        CHECK(read_assembled(&out, &schema, NULL) == 0);
        CHECK(schema->n_fields == (int32_t)levels + 1);
        bc__schema_free(schema);
    }
    free(out.bytes);
}

static void test_depth(void) {
    check_chain(10, 1, NULL);
    check_chain(BC_DEPTH_MAX, 1, NULL);
    check_chain(BC_DEPTH_MAX + 1, 1, "deep");
    check_chain(100000, 1, "deep");
}

static void test_shared_children(void) {
    check_chain(60, 2, "too often");
    check_chain(100, 1000, "too often");
}

/* All fields are the same one, and all its pairs are the same one. */
static void test_shared_pairs(void) {
    enum { N = 100000, TEXT = 1000 };
    struct flatbuffer_builder out = builder_start(1024 + TEXT + 2 * 4 * N);
    struct parts parts = start_schema(&out);
    uint32_t fields = builder_vector(&out, N);
    builder_refer(&out, parts.fields, fields);
    uint32_t field = field_of(&out, &parts, parts.field, TYPE_STRUCT);
    uint32_t pairs = builder_vector(&out, N);
    builder_refer(&out, field + IN_PAIRS, pairs);
    uint32_t pair = builder_table(&out, parts.pair);
    uint32_t text = builder_reserve(&out, 4 + TEXT + 1, 4);
    builder_put(&out, text, TEXT);
    builder_refer(&out, pair + 4, text);
    builder_refer(&out, pair + 8, text);
    for (uint32_t i = 0; i < N; i++) {
        builder_refer(&out, fields + 4 + 4 * i, field);
        builder_refer(&out, pairs + 4 + 4 * i, pair);
    }
    refuse(&out, EINVAL, "too often");
    free(out.bytes);
}

/* Many fields that share all their parts, as a writer may build them, are read. */
static void test_shared_types(void) {
    enum { N = 1000 };
    struct flatbuffer_builder out = builder_start(256 + N * 48);
    struct parts parts = start_schema(&out);
    uint32_t fields = builder_vector(&out, N);
    builder_refer(&out, parts.fields, fields);
    uint32_t places[N];
    for (uint32_t i = 0; i < N; i++) {
        places[i] = builder_table(&out, parts.field);
        out.bytes[places[i] + IN_TYPE_KIND] = TYPE_STRUCT;
        builder_refer(&out, fields + 4 + 4 * i, places[i]);
    }
    uint32_t type = builder_table(&out, parts.empty);
    uint32_t none = builder_vector(&out, 0);
    for (uint32_t i = 0; i < N; i++) {
        builder_refer(&out, places[i] + IN_TYPE, type);
        builder_refer(&out, places[i] + IN_CHILDREN, none);
        builder_refer(&out, places[i] + IN_PAIRS, none);
    }
    struct bc_schema *schema = NULL;
    CHECK(read_assembled(&out, &schema, NULL) == 0);
    CHECK(schema->n_fields == N + 1);
    bc__schema_free(schema);
    free(out.bytes);
}

/* ---- defaults and unknown values ---- */

/* A column "" of a dictionary, which is a union of two structs. */
static struct flatbuffer_builder defaults(struct parts *out_parts, uint32_t *out_column) {
    struct flatbuffer_builder out = builder_start(1024);
    struct parts parts = start_schema(&out);
    uint32_t fields = builder_vector(&out, 1);
    builder_refer(&out, parts.fields, fields);
    uint32_t column = field_of(&out, &parts, parts.encoded, TYPE_UNION);
    builder_refer(&out, fields + 4, column);
    uint32_t encoding = builder_table(&out, parts.empty);
    builder_refer(&out, column + IN_ENCODING, encoding);
    uint32_t children = builder_vector(&out, 2);
    builder_refer(&out, column + IN_CHILDREN, children);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t child = field_of(&out, &parts, parts.field, TYPE_STRUCT);
        builder_refer(&out, children + 4 + 4 * i, child);
    }
    *out_parts = parts;
    *out_column = column;
    return out;
}

static void test_defaults(void) {
    struct parts parts;
    uint32_t column;
    struct flatbuffer_builder out = defaults(&parts, &column);
    struct bc_schema *schema = NULL;
    CHECK(read_assembled(&out, &schema, NULL) == 0);
    const struct ArrowSchema *read = schema->fields[1].schema;
    CHECK(strcmp(read->format, "i") == 0 && strcmp(read->name, "") == 0);
    CHECK(read->flags == 0 && schema->fields[1].dictionary_id == 0);
    CHECK(strcmp(read->dictionary->format, "+us:0,1") == 0);
    CHECK(read->dictionary->n_children == 2);
    bc__schema_free(schema);
    free(out.bytes);
}

static uint32_t text_of(struct flatbuffer_builder *out, const char *text) {
    uint32_t size = (uint32_t)strlen(text);
    uint32_t at = builder_reserve(out, 4 + size + 1, 4);
    builder_put(out, at, size);
    memcpy(out->bytes + at + 4, text, size);
    return at;
}

static int32_t count_pairs(const char *metadata) {
    struct ArrowMetadataReader reader;
    CHECK(ArrowMetadataReaderInit(&reader, metadata) == 0);
    return reader.remaining_keys;
}

/* Keys of a dictionary's values that no writer of ours makes: most are the field's. */
static void test_keys_of_values(void) {
    static const char *const keys[] = {
        "batchcorder.values:", "batchcorder.values",
        "batchcorder.values++++++++++++++++++++++++++++++",
        "batchcorder.values+:", "batchcorder.values:batchcorder.values:"};
    enum { N = sizeof(keys) / sizeof(keys[0]) };
    struct parts parts;
    uint32_t column;
    struct flatbuffer_builder out = defaults(&parts, &column);
    static const uint16_t only_key[] = {4};
    uint32_t pairs = builder_vector(&out, N + 1);
    builder_refer(&out, column + IN_PAIRS, pairs);
    uint32_t without_value = builder_vtable(&out, 8, 1, only_key);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t pair = builder_table(&out, without_value);
        builder_refer(&out, pairs + 4 + 4 * i, pair);
        builder_refer(&out, pair + 4, text_of(&out, keys[i]));
    }
    builder_refer(&out, pairs + 4 + 4 * N, builder_table(&out, parts.empty));
    struct bc_schema *schema = NULL;
    CHECK(read_assembled(&out, &schema, NULL) == 0);
    const struct ArrowSchema *read = schema->fields[1].schema;
    CHECK(count_pairs(read->metadata) == 4);
    CHECK(count_pairs(read->dictionary->metadata) == 2);
    CHECK(ArrowMetadataHasKey(read->metadata, ArrowCharView(keys[0])));
    CHECK(ArrowMetadataHasKey(read->metadata, ArrowCharView(keys[1])));
    CHECK(ArrowMetadataHasKey(read->metadata, ArrowCharView(keys[2])));
    CHECK(ArrowMetadataHasKey(read->metadata, ArrowCharView("")));
    CHECK(ArrowMetadataHasKey(read->dictionary->metadata, ArrowCharView("")));
    CHECK(ArrowMetadataHasKey(read->dictionary->metadata, ArrowCharView(keys[0])));
    bc__schema_free(schema);
    free(out.bytes);
}

/* All pairs of a dictionary's values are one pair. */
static void test_shared_pairs_of_values(void) {
    enum { N = 100 };
    struct parts parts;
    uint32_t column;
    struct flatbuffer_builder out = defaults(&parts, &column);
    uint32_t pairs = builder_vector(&out, N);
    builder_refer(&out, column + IN_PAIRS, pairs);
    uint32_t pair = builder_table(&out, parts.pair);
    uint32_t text = text_of(&out, "batchcorder.values:key");
    builder_refer(&out, pair + 4, text);
    builder_refer(&out, pair + 8, text);
    for (uint32_t i = 0; i < N; i++) builder_refer(&out, pairs + 4 + 4 * i, pair);
    refuse(&out, EINVAL, "too often");
    free(out.bytes);
}

static void test_unknown(void) {
    struct parts parts;
    uint32_t column;
    struct flatbuffer_builder out = defaults(&parts, &column);
    out.bytes[column + IN_TYPE_KIND] = TYPE_UNKNOWN;
    refuse(&out, ENOTSUP, "Field '' has a type that is not known here, number 27");
    out.bytes[column + IN_TYPE_KIND] = 0;
    refuse(&out, EINVAL, "Field '' has no type");
    out.bytes[column + IN_TYPE_KIND] = TYPE_STRUCT;
    out.bytes[parts.schema + IN_ENDIANNESS] = 1;
    struct bc_schema *turned = NULL;
    CHECK(read_assembled(&out, &turned, NULL) == 0 && turned->is_big_endian);
    bc__schema_free(turned);
    out.bytes[parts.schema + IN_ENDIANNESS] = 2;
    refuse(&out, EINVAL, "byte order");
    out.bytes[parts.schema + IN_ENDIANNESS] = 0;
    for (uint8_t version = 0; version < 7; version++) {
        out.bytes[parts.root + IN_VERSION] = version;
        if (version == 3 || version == 4) {
            struct bc_schema *schema = NULL;
            CHECK(read_assembled(&out, &schema, NULL) == 0);
            bc__schema_free(schema);
        } else {
            refuse(&out, ENOTSUP, "version");
        }
    }
    out.bytes[parts.root + IN_VERSION] = 4;
    out.bytes[parts.root + IN_KIND] = 3; /* a batch */
    refuse(&out, EINVAL, "no message of a schema");
    free(out.bytes);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_depth),
                                            TAP_CASE(test_shared_children),
                                            TAP_CASE(test_shared_pairs),
                                            TAP_CASE(test_shared_types),
                                            TAP_CASE(test_defaults),
                                            TAP_CASE(test_keys_of_values),
                                            TAP_CASE(test_shared_pairs_of_values),
                                            TAP_CASE(test_unknown)};
    return TAP_RUN(cases);
}
