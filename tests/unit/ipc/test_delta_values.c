/* The values of a dictionary and its deltas, appended to each other. */
#include <string.h>

#include "arrow/values.h"
#include "counting_source.h"
#include "ipc/delta_values.h"
#include "schema_builder.h"

/* A part: a node and up to two children, all without nulls. */
struct part {
    struct bc_batch *batch;
    const void *buffers[3][4];
};

static void open_part(struct part *part, const struct bc_schema *schema, int64_t length) {
    memset(part, 0, sizeof(*part));
    part->batch = bc__batch_alloc(schema->n_fields - 1, 0);
    CHECK(part->batch != NULL);
    for (int32_t i = 0; i + 1 < schema->n_fields; i++) {
        part->batch->nodes[i] =
            (struct bc_node){.length = length,
                             .n_buffers = schema->fields[i + 1].n_buffers,
                             .buffers = part->buffers[i]};
    }
}

static int append(struct bc_delta_values *grown, struct part *part) {
    int code = bc__delta_values_append(grown, part->batch);
    bc__batch_unref(part->batch);
    return code;
}

/* The values of earlier versions stay valid when the memory moves. */
static void test_parts(void) {
    enum { PARTS = 40 };
    struct bc_schema *schema = schema_of_format("u", 0, NANOARROW_TYPE_INT32);
    struct bc_delta_values *grown = bc__delta_values_new(schema, 1);
    struct bc_batch *versions[PARTS];
    CHECK(grown != NULL);
    for (int i = 0; i < PARTS; i++) {
        const int32_t offsets[] = {3, 4, 6, 6};
        const char text[] = {'-', '-', '-', (char)('a' + i % 26), '1', '2'};
        struct part part;
        open_part(&part, schema, 3);
        part.buffers[0][1] = offsets;
        part.buffers[0][2] = text;
        CHECK(append(grown, &part) == 0);
        CHECK(bc__delta_values_parts(grown) == (uint64_t)i + 1);
        CHECK(bc__delta_values_batch(grown, (uint64_t)i, &versions[i]) == 0);
    }
    bc__schema_free(schema);
    bc__delta_values_unref(grown);
    for (int i = 0; i < PARTS; i++) {
        const struct bc_node *node = &versions[i]->nodes[0];
        const int32_t *offsets = node->buffers[1];
        const char *text = node->buffers[2];
        CHECK(node->length == 3 * (i + 1) && offsets[0] == 0 && node->null_count == 0);
        for (int k = 0; k <= i; k++) {
            CHECK(offsets[3 * k + 1] == 3 * k + 1 && offsets[3 * k + 3] == 3 * k + 3);
            CHECK(text[3 * k] == 'a' + k % 26 && text[3 * k + 2] == '2');
        }
        bc__batch_unref(versions[i]);
    }
}

/* Parts of three bits each, of which every second one has nulls. */
static void test_bits(void) {
    enum { PARTS = 30 };
    struct bc_schema *schema = schema_of_format("b", 0, NANOARROW_TYPE_INT32);
    struct bc_delta_values *grown = bc__delta_values_new(schema, 1);
    struct bc_batch *versions[PARTS];
    for (int i = 0; i < PARTS; i++) {
        const uint8_t values = (uint8_t)(0xf8 | (i & 7));
        const uint8_t validity = 0xfd;
        struct part part;
        open_part(&part, schema, 3);
        part.batch->nodes[0].null_count = i % 2;
        part.buffers[0][0] = &validity;
        part.buffers[0][1] = &values;
        CHECK(append(grown, &part) == 0);
        CHECK(bc__delta_values_batch(grown, (uint64_t)i, &versions[i]) == 0);
    }
    for (int i = 0; i < PARTS; i++) {
        const struct bc_node *node = &versions[i]->nodes[0];
        const uint8_t *validity = node->buffers[0];
        const uint8_t *values = node->buffers[1];
        CHECK(node->null_count == (i + 1) / 2 && (validity != NULL) == (i > 0));
        for (int k = 0; k < 3 * (i + 1); k++) {
            bool is_null = k / 3 % 2 == 1 && k % 3 == 1;
            CHECK((values[k / 8] >> (k % 8) & 1) == (k / 3 >> (k % 3) & 1));
            CHECK(validity == NULL || (validity[k / 8] >> (k % 8) & 1) == !is_null);
        }
        bc__batch_unref(versions[i]);
    }
    bc__delta_values_unref(grown);
    bc__schema_free(schema);
}

/* A valid part, an invalid part, and the valid part again. */
struct attack {
    const char *format;
    int64_t n_children;
    int64_t length; /* of the node, and of its children */
    const void *right[3];
    const void *wrong[3];
};

static void check_attack(const struct attack *attack) {
    struct bc_schema *schema =
        schema_of_format(attack->format, attack->n_children, NANOARROW_TYPE_INT32);
    struct bc_delta_values *grown = bc__delta_values_new(schema, 1);
    static const int32_t numbers[] = {1, 2, 3, 4};
    for (int turn = 0; turn < 3; turn++) {
        struct part part;
        open_part(&part, schema, attack->length);
        const void *const *buffers = turn == 1 ? attack->wrong : attack->right;
        memcpy(part.buffers[0], buffers, sizeof(attack->wrong));
        for (int i = 1; i < 3; i++) part.buffers[i][1] = numbers;
        CHECK(append(grown, &part) == (turn == 1 ? EINVAL : 0));
    }
    struct bc_batch *version;
    CHECK(bc__delta_values_parts(grown) == 2 &&
          bc__delta_values_batch(grown, 1, &version) == 0);
    CHECK(version->nodes[0].length == 2 * attack->length);
    if (attack->n_children > 0) {
        const int32_t *values = version->nodes[1].buffers[1];
        CHECK(values[0] == 1 && values[version->nodes[1].length - 1] <= 4);
    }
    bc__batch_unref(version);
    bc__delta_values_unref(grown);
    bc__schema_free(schema);
}

/* Parts of a file that was not verified. */
static void test_parts_that_are_wrong(void) {
    static const int32_t rising[] = {0, 1, 2};
    static const int32_t negative[] = {-1, 1, 2};
    static const int32_t beyond[] = {0, 3, 2};
    static const int32_t far[] = {0, 1, 5};
    static const int64_t large[] = {0, 1, 2};
    static const int64_t huge[] = {0, INT64_MAX, 2};
    static const int32_t zeros[] = {0, 0};
    static const int32_t minus[] = {0, -1};
    static const int32_t two[] = {1, 2};
    static const int8_t ids[] = {0, 1};
    static const int8_t unknown[] = {0, 7};
    static const int8_t below[] = {0, -1};
    static const struct bc_view inlined[] = {{1, "a", 0, 0}, {0, "", 0, 0}};
    static const struct bc_view no_buffer[] = {{1, "a", 0, 0}, {13, "a", 0, 0}};
    static const struct bc_view no_length[] = {{1, "a", 0, 0}, {-1, "a", 0, 0}};
    const struct attack attacks[] = {
        {"u", 0, 2, {NULL, rising, "xy"}, {NULL, negative, "xy"}},
        {"u", 0, 2, {NULL, rising, "xy"}, {NULL, beyond, "xy"}},
        {"U", 0, 2, {NULL, large, "xy"}, {NULL, huge, "xy"}},
        {"+l", 1, 2, {NULL, rising}, {NULL, far}},
        {"+l", 1, 2, {NULL, rising}, {NULL, beyond}},
        {"+vl", 1, 2, {NULL, zeros, two}, {NULL, zeros, far + 1}},
        {"+vl", 1, 2, {NULL, zeros, two}, {NULL, minus, two}},
        {"+vl", 1, 2, {NULL, zeros, two}, {NULL, two, two}},
        {"+us:0,1", 2, 2, {ids}, {unknown}},
        {"+us:0,1", 2, 2, {ids}, {below}},
        {"+ud:0,1", 2, 2, {ids, zeros}, {unknown, zeros}},
        {"+ud:0,1", 2, 2, {ids, zeros}, {ids, two}},
        {"+ud:0,1", 2, 2, {ids, zeros}, {ids, minus}},
        {"vu", 0, 2, {NULL, inlined}, {NULL, no_buffer}},
        {"vu", 0, 2, {NULL, inlined}, {NULL, no_length}},
    };
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        check_attack(&attacks[i]);
    }
}

/* Run ends of a later part continue those before it; run ends of 16 bits overflow. */
static void test_runs(void) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    CHECK(ArrowSchemaSetFormat(c_schema.children[0], "+r") == 0);
    CHECK(ArrowSchemaAllocateChildren(c_schema.children[0], 2) == 0);
    for (int i = 0; i < 2; i++) {
        struct ArrowSchema *child = c_schema.children[0]->children[i];
        ArrowSchemaInit(child);
        enum ArrowType type = i == 0 ? NANOARROW_TYPE_INT16 : NANOARROW_TYPE_INT32;
        CHECK(ArrowSchemaSetType(child, type) == 0);
        CHECK(ArrowSchemaSetName(child, i == 0 ? "run_ends" : "values") == 0);
    }
    c_schema.children[0]->children[0]->flags = 0;
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    struct bc_delta_values *grown = bc__delta_values_new(schema, 1);
    static const int16_t ends[] = {10000, 15000};
    static const int16_t backwards[] = {10000, 9999};
    static const int32_t values[] = {1, 2};
    for (int turn = 0; turn < 5; turn++) {
        struct part part;
        open_part(&part, schema, 2);
        part.batch->nodes[0].length = turn == 1 ? 15001 : 12000;
        part.buffers[1][1] = turn == 2 ? backwards : ends;
        part.buffers[2][1] = values;
        CHECK(append(grown, &part) == (turn == 0 || turn == 3 ? 0 : EINVAL));
    }
    struct bc_batch *version;
    CHECK(bc__delta_values_batch(grown, 1, &version) == 0);
    static const int16_t wanted[] = {10000, 12000, 22000, 24000};
    CHECK(version->nodes[0].length == 24000 && version->nodes[1].length == 4);
    CHECK(memcmp(version->nodes[1].buffers[1], wanted, sizeof(wanted)) == 0);
    CHECK(version->nodes[2].length == 4);
    bc__batch_unref(version);
    bc__delta_values_unref(grown);
    bc__schema_free(schema);
}

/* No bitmap is allocated for more values than fit in memory. */
static void test_values_without_bytes(void) {
    struct bc_schema *schema = schema_of_format("w:0", 0, NANOARROW_TYPE_INT32);
    struct bc_delta_values *grown = bc__delta_values_new(schema, 1);
    static const uint8_t validity = 0;
    for (int turn = 0; turn < 3; turn++) {
        struct part part;
        open_part(&part, schema, turn == 0 ? (int64_t)1 << 50 : 1);
        part.batch->nodes[0].null_count = turn == 1;
        part.buffers[0][0] = &validity;
        CHECK(append(grown, &part) == (turn == 1 ? EINVAL : 0));
    }
    bc__delta_values_unref(grown);
    bc__schema_free(schema);
}

/* Values without bytes in a part count like those before it. */
static void test_parts_without_bytes(void) {
    static const int64_t lengths[] = {1, (int64_t)1 << 31, (int64_t)1 << 26,
                                      (int64_t)1 << 26, (int64_t)1 << 26};
    struct bc_schema *schema = schema_of_format("w:0", 0, NANOARROW_TYPE_INT32);
    struct bc_delta_values *grown = bc__delta_values_new(schema, 1);
    static const uint8_t validity = 0;
    for (int turn = 0; turn < 5; turn++) {
        struct part part;
        open_part(&part, schema, lengths[turn]);
        part.batch->nodes[0].null_count = turn == 0;
        part.buffers[0][0] = turn == 0 ? &validity : NULL;
        CHECK(append(grown, &part) == (turn == 1 || turn == 4 ? EINVAL : 0));
    }
    CHECK(bc__delta_values_parts(grown) == 3);
    bc__delta_values_unref(grown);
    bc__schema_free(schema);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_parts),
        TAP_CASE(test_bits),
        TAP_CASE(test_parts_that_are_wrong),
        TAP_CASE(test_runs),
        TAP_CASE(test_values_without_bytes),
        TAP_CASE(test_parts_without_bytes),
    };
    return TAP_RUN(cases);
}
