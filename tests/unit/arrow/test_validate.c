/* The shape of a decoded batch, valid and invalid: null counts, lengths, type ids and run
 * ends. Some parts are not checked. */
#include "arrow/values.h"
#include "base/slab.h"
#include "column.h"

static void test_null_counts(void) {
    struct ArrowSchema schema = column_type("c", "x");
    struct column column = column_open(&schema);
    for (int variant = 0; variant < N_VARIANTS; variant++) {
        uint8_t bitmap[(ALL + 7) / 8] = {0xFF, 0xFF};
        static const int8_t values[ALL];
        struct bc_node *node = column_node(&column, 1);
        column_fill(&column, 1, column_offset(variant), ROWS, bitmap, values, NULL);
        column_accept(&column);
        clear_bit(bitmap, column_position(variant));
        column_refuse(&column, "x", -1, "null count");
        node->null_count = 1;
        column_accept(&column);
        node->null_count = -1;
        column_accept(&column);
        node->null_count = 2;
        column_refuse(&column, "x", -1, "null count");
        node->buffers[0] = NULL;
        column_refuse(&column, "x", -1, "null count");
        node->null_count = 0;
        column_accept(&column);
    }
    column_close(&column);
}

static void test_null_counts_without_a_bitmap(void) {
    struct ArrowSchema schema = column_type("n", "x");
    struct column column = column_open(&schema);
    column_fill(&column, 1, 0, ROWS, NULL, NULL, NULL);
    column_refuse(&column, "x", -1, "null count");
    column_node(&column, 1)->null_count = ROWS;
    column_accept(&column);
    column_close(&column);
}

static void test_lengths(void) {
    struct ArrowSchema schema = column_type("n", "x");
    struct column column = column_open(&schema);
    struct bc_node *node = column_node(&column, 1);
    column_fill(&column, 1, 0, ROWS, NULL, NULL, NULL);
    node->null_count = ROWS;
    column_node(&column, 0)->length = ROWS - 1;
    column_refuse(&column, "x", -1, "rows");
    column_node(&column, 0)->length = ROWS + 1;
    column_refuse(&column, "x", -1, "rows");
    column_node(&column, 0)->length = -1;
    struct bc_error error = {0};
    CHECK(bc__validate_batch(column.schema, NULL, column.batch, &error) == EINVAL);
    CHECK(strstr(error.message, "negative") != NULL);
    column_fill(&column, 1, -1, ROWS, NULL, NULL, NULL);
    column_refuse(&column, "x", -1, "length");
    column_fill(&column, 1, 0, ROWS, NULL, NULL, NULL);
    node->length = -1;
    column_refuse(&column, "x", -1, "length");
    column_fill(&column, 1, 1, INT64_MAX, NULL, NULL, NULL);
    column_refuse(&column, "x", -1, "length");
    column_close(&column);
}

static void test_nulls_of_maps(void) {
    struct ArrowSchema keys = column_type("c", "key");
    struct ArrowSchema values = column_type("c", "value");
    struct ArrowSchema *pair[] = {&keys, &values};
    struct ArrowSchema entries = column_type("+s", "entries");
    struct ArrowSchema *children[] = {&entries};
    struct ArrowSchema schema = column_type("+m", "x");
    entries.n_children = 2;
    entries.children = pair;
    schema.n_children = 1;
    schema.children = children;
    struct column column = column_open(&schema);
    for (int variant = 0; variant < N_VARIANTS; variant++) {
        static const char *const paths[] = {"x.entries", "x.entries.key"};
        int32_t offsets[ROWS + 1];
        uint8_t bitmap[2] = {0xFF, 0xFF};
        for (int32_t i = 0; i <= ROWS; i++) offsets[i] = i;
        clear_bit(bitmap, column_position(variant));
        column_fill(&column, 1, 0, ROWS, NULL, offsets, NULL);
        column_fill(&column, 2, column_offset(variant), ROWS, NULL, NULL, NULL);
        column_fill(&column, 3, 0, ALL, NULL, NULL, NULL);
        column_fill(&column, 4, 0, ALL, NULL, NULL, NULL);
        column_accept(&column);
        for (int32_t field = 2; field < 5; field++) {
            column_node(&column, field)->buffers[0] = bitmap;
            column_node(&column, field)->null_count = 1;
            if (field < 4) {
                column_refuse(&column, paths[field - 2], -1, "a map's");
            } else {
                column_accept(&column);
            }
            column_node(&column, field)->buffers[0] = NULL;
            column_node(&column, field)->null_count = 0;
        }
    }
    column_close(&column);
}

static void test_lengths_of_children(void) {
    static const struct {
        const char *format;
        int64_t each;
    } table[] = {{"+s", 1}, {"+us:5", 1}, {"+w:4", 4}, {"+w:0", 0}};
    static const int8_t ids[ALL] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
    for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++) {
        struct ArrowSchema item = column_type("c", "a");
        struct ArrowSchema *children[] = {&item};
        struct ArrowSchema schema = column_type(table[t].format, "x");
        schema.n_children = 1;
        schema.children = children;
        struct column column = column_open(&schema);
        for (int64_t offset = 0; offset <= SHIFT; offset += SHIFT) {
            int64_t needed = (offset + ROWS) * table[t].each;
            column_fill(&column, 1, offset, ROWS, t == 1 ? ids : NULL, NULL, NULL);
            column_node(&column, 2)->length = needed;
            column_accept(&column);
            column_node(&column, 2)->length = needed + 1;
            column_accept(&column);
            column_node(&column, 2)->length = needed - 1;
            column_refuse(&column, "x.a", -1, needed == 0 ? "length" : "shorter");
        }
        column_fill(&column, 1, 0, INT64_MAX / 3, NULL, NULL, NULL);
        column_node(&column, 2)->length = 0;
        if (t == 2) column_refuse(&column, "x", -1, "longer than memory");
        column_close(&column);
    }
}

static void test_unions(void) {
    for (int dense = 0; dense < 2; dense++) {
        struct ArrowSchema a = column_type("n", "a");
        struct ArrowSchema b = column_type("n", "b");
        struct ArrowSchema *children[] = {&a, &b};
        struct ArrowSchema schema = column_type(dense ? "+ud:0,127" : "+us:0,127", "x");
        schema.n_children = 2;
        schema.children = children;
        struct column column = column_open(&schema);
        const int64_t lengths[] = {dense ? 2 : ALL, dense ? 1 : ALL};
        for (int32_t c = 0; c < 2; c++) {
            column_node(&column, 2 + c)->length = lengths[c];
            column_node(&column, 2 + c)->null_count = lengths[c];
        }
        for (int variant = 0; variant < N_VARIANTS; variant++) {
            static const int8_t wrong[] = {1, 2, 4, 126, -1, -128};
            int8_t ids[ALL];
            int32_t offsets[ALL] = {0};
            for (int64_t i = 0; i < ALL; i++) ids[i] = i % 2 == 0 ? 0 : 127;
            column_fill(&column, 1, column_offset(variant), ROWS, ids,
                        dense ? offsets : NULL, NULL);
            column_accept(&column);
            int8_t *id = &ids[column_position(variant)];
            int8_t right = *id;
            for (size_t i = 0; i < sizeof(wrong); i++) {
                *id = wrong[i];
                column_refuse(&column, "x", column_row(variant), "type id");
            }
            *id = right;
            if (!dense) continue;
            int32_t *offset = &offsets[column_position(variant)];
            int32_t length = right == 0 ? 2 : 1;
            *offset = length - 1;
            column_accept(&column);
            *offset = length;
            column_refuse(&column, "x", column_row(variant), "beyond");
            *offset = -1;
            column_refuse(&column, "x", column_row(variant), "beyond");
        }
        column_close(&column);
    }
}

static void test_run_ends(void) {
    static const char *const formats[] = {"s", "i", "l"};
    for (size_t f = 0; f < 3; f++) {
        struct ArrowSchema ends = column_type(formats[f], "run_ends");
        struct ArrowSchema values = column_type("n", "values");
        struct ArrowSchema *children[] = {&ends, &values};
        struct ArrowSchema schema = column_type("+r", "x");
        schema.n_children = 2;
        schema.children = children;
        struct column column = column_open(&schema);
        int32_t bits = column.schema->fields[2].bits;
        struct bc_node *node = column_node(&column, 2);
        for (int variant = 0; variant < N_VARIANTS; variant++) {
            int64_t buffer[ALL];
            uint8_t bitmap[2] = {0xFF, 0xFF};
            int64_t at = column_position(variant);
            int64_t before = 10 * column_row(variant);
            for (int64_t i = 0; i < ALL; i++) {
                bc__integer_set(buffer, bits, i, 10 * (i + 1 - column_offset(variant)));
            }
            column_fill(&column, 2, column_offset(variant), ROWS, NULL, buffer, NULL);
            column_fill(&column, 3, 0, ROWS, NULL, NULL, NULL);
            column_node(&column, 3)->null_count = ROWS;
            column_fill(&column, 1, 0, 10 * ROWS, NULL, NULL, NULL);
            column_accept(&column);
            column_fill(&column, 1, 5, 10 * ROWS - 5, NULL, NULL, NULL);
            column_accept(&column);
            column_fill(&column, 1, 5, 10 * ROWS - 4, NULL, NULL, NULL);
            column_refuse(&column, "x", -1, "runs end");
            column_fill(&column, 1, 0, 10 * ROWS + 1, NULL, NULL, NULL);
            column_refuse(&column, "x", -1, "runs end");
            column_fill(&column, 1, 0, 10 * ROWS, NULL, NULL, NULL);
            int64_t right = bc__integer_at(buffer, bits, at);
            bc__integer_set(buffer, bits, at, before);
            column_refuse(&column, "x.run_ends", column_row(variant), "run");
            bc__integer_set(buffer, bits, at, -1);
            column_refuse(&column, "x.run_ends", column_row(variant), "run");
            bc__integer_set(buffer, bits, at, right);
            clear_bit(bitmap, at);
            node->buffers[0] = bitmap;
            node->null_count = 1;
            column_refuse(&column, "x.run_ends", -1, "null");
            node->buffers[0] = NULL;
            node->null_count = 0;
            column_node(&column, 3)->length = column_node(&column, 3)->null_count =
                ROWS - 1;
            column_refuse(&column, "x.values", -1, "shorter");
            /* An array without runs is valid only if it has no rows. */
            column_fill(&column, 2, 0, 0, NULL, NULL, NULL);
            column_refuse(&column, "x", -1, "runs end");
            column_fill(&column, 1, 0, 0, NULL, NULL, NULL);
            column_accept(&column);
        }
        column_close(&column);
    }
}

/* The values of a dictionary are checked on request only, and so are nested
 * dictionaries. */
static void test_dictionaries(void) {
    struct ArrowSchema inner = column_type("u", NULL);
    struct ArrowSchema word = column_type("c", "word");
    struct ArrowSchema *children[] = {&word};
    struct ArrowSchema outer = column_type("+s", NULL);
    struct ArrowSchema schema = column_type("c", "x");
    word.dictionary = &inner;
    outer.n_children = 1;
    outer.children = children;
    schema.dictionary = &outer;
    struct column column = column_open(&schema);
    const struct bc_schema *read = column.schema;
    CHECK(read->fields[1].dictionary == 2 && read->fields[3].dictionary == 4);
    static const int8_t indices[ROWS] = {1, 0, 1, 0, 1, 0, 1, 0, 1};
    static const int8_t words[2] = {0, 3};
    static const int32_t offsets[] = {0, 1, 2, 3};
    static const uint8_t data[] = "ab\xFF";
    column_fill(&column, 1, 0, ROWS, NULL, indices, NULL);
    column_fill(&column, 2, 0, 2, NULL, NULL, NULL);
    column_fill(&column, 3, 0, 2, NULL, words, NULL);
    column_fill(&column, 4, 0, 3, NULL, offsets, data);
    column_accept(&column);
    struct bc_error error = {0};
    CHECK(bc__validate_dictionary(read, 2, column.batch, &error) == EINVAL);
    CHECK(strstr(error.message, "'x.dictionary.word' is broken in row 1:") != NULL);
    column_node(&column, 4)->length = 4;
    CHECK(bc__validate_dictionary(read, 2, column.batch, &error) == 0);
    column_node(&column, 4)->length = 3;
    CHECK(bc__validate_dictionary(read, 4, column.batch, &error) == EINVAL);
    CHECK(strstr(error.message, "'x.dictionary.word.dictionary' is broken in row 2:") !=
          NULL);
    column_node(&column, 4)->length = 2;
    CHECK(bc__validate_dictionary(read, 4, column.batch, &error) == 0);
    column_close(&column);
}

/* Nodes of columns outside the projection are zero. */
static void test_projection(void) {
    struct ArrowSchema a = column_type("u", "a");
    struct ArrowSchema b = column_type("c", "b");
    struct ArrowSchema *columns[] = {&a, &b};
    struct ArrowSchema root = column_type("+s", NULL);
    root.n_children = 2;
    root.children = columns;
    struct bc_schema *schema;
    CHECK(bc__schema_new(&root, &schema, NULL) == 0);
    struct bc_batch *batch = bc__batch_alloc(3, 0);
    struct bc_projection *none;
    struct bc_projection *second;
    const int32_t number = 1;
    CHECK(bc__projection_new(schema, NULL, 0, &none, NULL) == 0);
    CHECK(bc__projection_new(schema, &number, 1, &second, NULL) == 0);
    static const int8_t values[ROWS];
    static const void *buffers[2] = {NULL, values};
    batch->nodes[0].length = ROWS;
    batch->nodes[2] = (struct bc_node){ROWS, 0, 0, 2, buffers};
    CHECK(bc__validate_batch(schema, second, batch, NULL) == 0);
    batch->nodes[2].length = ROWS - 1;
    CHECK(bc__validate_batch(schema, second, batch, NULL) == EINVAL);
    CHECK(bc__validate_batch(schema, none, batch, NULL) == 0);
    batch->nodes[0].length = -1;
    CHECK(bc__validate_batch(schema, none, batch, NULL) == EINVAL);
    bc__projection_free(none);
    bc__projection_free(second);
    bc__batch_unref(batch);
    bc__schema_free(schema);
}

/* A sliced batch of a producer. */
static void test_batch_of_a_producer(void) {
    struct ArrowSchema c_schema;
    struct bc_schema *schema;
    CHECK(counting_source_schema(NULL, &c_schema) == 0);
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    struct counting_source source;
    counting_source_init(&source, 1, 100);
    struct ArrowArray array;
    counting_source_make_batch(&source, 0, &array);
    struct bc_batch *batch;
    struct bc_slab *slab = NULL;
    array.offset = 10;
    array.length = 80;
    CHECK(bc__batch_new(schema, &array, 0, &slab, &batch, NULL) == 0);
    CHECK(bc__validate_batch(schema, NULL, batch, NULL) == 0);
    CHECK(bc__validate_dictionary(schema, schema->fields[3].dictionary, batch, NULL) ==
          0);
    bc__batch_unref(batch);
    bc__slab_finish(&slab);
    bc__schema_free(schema);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_null_counts),
        TAP_CASE(test_null_counts_without_a_bitmap),
        TAP_CASE(test_lengths),
        TAP_CASE(test_nulls_of_maps),
        TAP_CASE(test_lengths_of_children),
        TAP_CASE(test_unions),
        TAP_CASE(test_run_ends),
        TAP_CASE(test_dictionaries),
        TAP_CASE(test_projection),
        TAP_CASE(test_batch_of_a_producer),
    };
    return TAP_RUN(cases);
}
