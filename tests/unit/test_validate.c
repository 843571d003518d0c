/* What a decoded batch claims of its shape, right and wrong: null counts, lengths, type
 * ids, run ends; and what is not looked at. */
#include "arrow/values.h"
#include "base/slab.h"
#include "bed.h"

static void test_null_counts(void) {
    struct ArrowSchema column = type("c", "x");
    struct bed bed = open_bed(&column);
    for (int place = 0; place < N_PLACES; place++) {
        uint8_t bitmap[(ALL + 7) / 8] = {0xFF, 0xFF};
        static const int8_t values[ALL];
        struct bc_node *node = node_of(&bed, 1);
        fill(&bed, 1, offset_of(place), ROWS, bitmap, values, NULL);
        accept(&bed);
        clear_bit(bitmap, position_of(place));
        refuse(&bed, "x", -1, "null count");
        node->null_count = 1;
        accept(&bed);
        node->null_count = -1;
        accept(&bed);
        node->null_count = 2;
        refuse(&bed, "x", -1, "null count");
        node->buffers[0] = NULL;
        refuse(&bed, "x", -1, "null count");
        node->null_count = 0;
        accept(&bed);
    }
    close_bed(&bed);
}

static void test_null_counts_without_a_bitmap(void) {
    struct ArrowSchema column = type("n", "x");
    struct bed bed = open_bed(&column);
    fill(&bed, 1, 0, ROWS, NULL, NULL, NULL);
    refuse(&bed, "x", -1, "null count");
    node_of(&bed, 1)->null_count = ROWS;
    accept(&bed);
    close_bed(&bed);
}

static void test_lengths(void) {
    struct ArrowSchema column = type("n", "x");
    struct bed bed = open_bed(&column);
    struct bc_node *node = node_of(&bed, 1);
    fill(&bed, 1, 0, ROWS, NULL, NULL, NULL);
    node->null_count = ROWS;
    node_of(&bed, 0)->length = ROWS - 1;
    refuse(&bed, "x", -1, "rows");
    node_of(&bed, 0)->length = ROWS + 1;
    refuse(&bed, "x", -1, "rows");
    node_of(&bed, 0)->length = -1;
    struct bc_error error = {0};
    CHECK(bc__validate_batch(bed.schema, NULL, bed.batch, &error) == EINVAL);
    CHECK(strstr(error.message, "negative") != NULL);
    fill(&bed, 1, -1, ROWS, NULL, NULL, NULL);
    refuse(&bed, "x", -1, "length");
    fill(&bed, 1, 0, ROWS, NULL, NULL, NULL);
    node->length = -1;
    refuse(&bed, "x", -1, "length");
    fill(&bed, 1, 1, INT64_MAX, NULL, NULL, NULL);
    refuse(&bed, "x", -1, "length");
    close_bed(&bed);
}

static void test_nulls_of_maps(void) {
    struct ArrowSchema keys = type("c", "key");
    struct ArrowSchema values = type("c", "value");
    struct ArrowSchema *pair[] = {&keys, &values};
    struct ArrowSchema entries = type("+s", "entries");
    struct ArrowSchema *children[] = {&entries};
    struct ArrowSchema column = type("+m", "x");
    entries.n_children = 2;
    entries.children = pair;
    column.n_children = 1;
    column.children = children;
    struct bed bed = open_bed(&column);
    for (int place = 0; place < N_PLACES; place++) {
        static const char *const paths[] = {"x.entries", "x.entries.key"};
        int32_t offsets[ROWS + 1];
        uint8_t bitmap[2] = {0xFF, 0xFF};
        for (int32_t i = 0; i <= ROWS; i++) offsets[i] = i;
        clear_bit(bitmap, position_of(place));
        fill(&bed, 1, 0, ROWS, NULL, offsets, NULL);
        fill(&bed, 2, offset_of(place), ROWS, NULL, NULL, NULL);
        fill(&bed, 3, 0, ALL, NULL, NULL, NULL);
        fill(&bed, 4, 0, ALL, NULL, NULL, NULL);
        accept(&bed);
        for (int32_t field = 2; field < 5; field++) {
            node_of(&bed, field)->buffers[0] = bitmap;
            node_of(&bed, field)->null_count = 1;
            if (field < 4) {
                refuse(&bed, paths[field - 2], -1, "a map's");
            } else {
                accept(&bed);
            }
            node_of(&bed, field)->buffers[0] = NULL;
            node_of(&bed, field)->null_count = 0;
        }
    }
    close_bed(&bed);
}

static void test_lengths_of_children(void) {
    static const struct {
        const char *format;
        int64_t each;
    } table[] = {{"+s", 1}, {"+us:5", 1}, {"+w:4", 4}, {"+w:0", 0}};
    static const int8_t ids[ALL] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
    for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++) {
        struct ArrowSchema item = type("c", "a");
        struct ArrowSchema *children[] = {&item};
        struct ArrowSchema column = type(table[t].format, "x");
        column.n_children = 1;
        column.children = children;
        struct bed bed = open_bed(&column);
        for (int64_t offset = 0; offset <= SHIFT; offset += SHIFT) {
            int64_t needed = (offset + ROWS) * table[t].each;
            fill(&bed, 1, offset, ROWS, t == 1 ? ids : NULL, NULL, NULL);
            node_of(&bed, 2)->length = needed;
            accept(&bed);
            node_of(&bed, 2)->length = needed + 1;
            accept(&bed);
            node_of(&bed, 2)->length = needed - 1;
            refuse(&bed, "x.a", -1, needed == 0 ? "length" : "shorter");
        }
        fill(&bed, 1, 0, INT64_MAX / 3, NULL, NULL, NULL);
        node_of(&bed, 2)->length = 0;
        if (t == 2) refuse(&bed, "x", -1, "longer than memory");
        close_bed(&bed);
    }
}

static void test_unions(void) {
    for (int dense = 0; dense < 2; dense++) {
        struct ArrowSchema a = type("n", "a");
        struct ArrowSchema b = type("n", "b");
        struct ArrowSchema *children[] = {&a, &b};
        struct ArrowSchema column = type(dense ? "+ud:0,127" : "+us:0,127", "x");
        column.n_children = 2;
        column.children = children;
        struct bed bed = open_bed(&column);
        const int64_t lengths[] = {dense ? 2 : ALL, dense ? 1 : ALL};
        for (int32_t c = 0; c < 2; c++) {
            node_of(&bed, 2 + c)->length = lengths[c];
            node_of(&bed, 2 + c)->null_count = lengths[c];
        }
        for (int place = 0; place < N_PLACES; place++) {
            static const int8_t wrong[] = {1, 2, 4, 126, -1, -128};
            int8_t ids[ALL];
            int32_t offsets[ALL] = {0};
            for (int64_t i = 0; i < ALL; i++) ids[i] = i % 2 == 0 ? 0 : 127;
            fill(&bed, 1, offset_of(place), ROWS, ids, dense ? offsets : NULL, NULL);
            accept(&bed);
            int8_t *id = &ids[position_of(place)];
            int8_t right = *id;
            for (size_t i = 0; i < sizeof(wrong); i++) {
                *id = wrong[i];
                refuse(&bed, "x", row_of(place), "type id");
            }
            *id = right;
            if (!dense) continue;
            int32_t *offset = &offsets[position_of(place)];
            int32_t length = right == 0 ? 2 : 1;
            *offset = length - 1;
            accept(&bed);
            *offset = length;
            refuse(&bed, "x", row_of(place), "beyond");
            *offset = -1;
            refuse(&bed, "x", row_of(place), "beyond");
        }
        close_bed(&bed);
    }
}

static void test_run_ends(void) {
    static const char *const formats[] = {"s", "i", "l"};
    for (size_t f = 0; f < 3; f++) {
        struct ArrowSchema ends = type(formats[f], "run_ends");
        struct ArrowSchema values = type("n", "values");
        struct ArrowSchema *children[] = {&ends, &values};
        struct ArrowSchema column = type("+r", "x");
        column.n_children = 2;
        column.children = children;
        struct bed bed = open_bed(&column);
        int32_t bits = bed.schema->fields[2].bits;
        struct bc_node *node = node_of(&bed, 2);
        for (int place = 0; place < N_PLACES; place++) {
            int64_t buffer[ALL];
            uint8_t bitmap[2] = {0xFF, 0xFF};
            int64_t at = position_of(place);
            int64_t before = 10 * row_of(place);
            for (int64_t i = 0; i < ALL; i++) {
                bc__integer_set(buffer, bits, i, 10 * (i + 1 - offset_of(place)));
            }
            fill(&bed, 2, offset_of(place), ROWS, NULL, buffer, NULL);
            fill(&bed, 3, 0, ROWS, NULL, NULL, NULL);
            node_of(&bed, 3)->null_count = ROWS;
            fill(&bed, 1, 0, 10 * ROWS, NULL, NULL, NULL);
            accept(&bed);
            fill(&bed, 1, 5, 10 * ROWS - 5, NULL, NULL, NULL);
            accept(&bed);
            fill(&bed, 1, 5, 10 * ROWS - 4, NULL, NULL, NULL);
            refuse(&bed, "x", -1, "runs end");
            fill(&bed, 1, 0, 10 * ROWS + 1, NULL, NULL, NULL);
            refuse(&bed, "x", -1, "runs end");
            fill(&bed, 1, 0, 10 * ROWS, NULL, NULL, NULL);
            int64_t right = bc__integer_at(buffer, bits, at);
            bc__integer_set(buffer, bits, at, before);
            refuse(&bed, "x.run_ends", row_of(place), "run");
            bc__integer_set(buffer, bits, at, -1);
            refuse(&bed, "x.run_ends", row_of(place), "run");
            bc__integer_set(buffer, bits, at, right);
            clear_bit(bitmap, at);
            node->buffers[0] = bitmap;
            node->null_count = 1;
            refuse(&bed, "x.run_ends", -1, "null");
            node->buffers[0] = NULL;
            node->null_count = 0;
            node_of(&bed, 3)->length = node_of(&bed, 3)->null_count = ROWS - 1;
            refuse(&bed, "x.values", -1, "shorter");
            /* No runs are enough for no rows, and only for these. */
            fill(&bed, 2, 0, 0, NULL, NULL, NULL);
            refuse(&bed, "x", -1, "runs end");
            fill(&bed, 1, 0, 0, NULL, NULL, NULL);
            accept(&bed);
        }
        close_bed(&bed);
    }
}

/* A dictionary's values are checked when asked for, those further in only then. */
static void test_dictionaries(void) {
    struct ArrowSchema inner = type("u", NULL);
    struct ArrowSchema word = type("c", "word");
    struct ArrowSchema *children[] = {&word};
    struct ArrowSchema outer = type("+s", NULL);
    struct ArrowSchema column = type("c", "x");
    word.dictionary = &inner;
    outer.n_children = 1;
    outer.children = children;
    column.dictionary = &outer;
    struct bed bed = open_bed(&column);
    const struct bc_schema *schema = bed.schema;
    CHECK(schema->fields[1].dictionary == 2 && schema->fields[3].dictionary == 4);
    static const int8_t indices[ROWS] = {1, 0, 1, 0, 1, 0, 1, 0, 1};
    static const int8_t words[2] = {0, 3};
    static const int32_t offsets[] = {0, 1, 2, 3};
    static const uint8_t data[] = "ab\xFF";
    fill(&bed, 1, 0, ROWS, NULL, indices, NULL);
    fill(&bed, 2, 0, 2, NULL, NULL, NULL);
    fill(&bed, 3, 0, 2, NULL, words, NULL);
    fill(&bed, 4, 0, 3, NULL, offsets, data);
    accept(&bed);
    struct bc_error error = {0};
    CHECK(bc__validate_dictionary(schema, 2, bed.batch, &error) == EINVAL);
    CHECK(strstr(error.message, "'x.dictionary.word' is broken in row 1:") != NULL);
    node_of(&bed, 4)->length = 4;
    CHECK(bc__validate_dictionary(schema, 2, bed.batch, &error) == 0);
    node_of(&bed, 4)->length = 3;
    CHECK(bc__validate_dictionary(schema, 4, bed.batch, &error) == EINVAL);
    CHECK(strstr(error.message, "'x.dictionary.word.dictionary' is broken in row 2:") !=
          NULL);
    node_of(&bed, 4)->length = 2;
    CHECK(bc__validate_dictionary(schema, 4, bed.batch, &error) == 0);
    close_bed(&bed);
}

/* Nodes of columns that are not wanted are zeroed. */
static void test_projection(void) {
    struct ArrowSchema a = type("u", "a");
    struct ArrowSchema b = type("c", "b");
    struct ArrowSchema *columns[] = {&a, &b};
    struct ArrowSchema root = type("+s", NULL);
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

/* What a producer gave, sliced. */
static void test_batch_of_a_producer(void) {
    struct ArrowSchema source;
    struct bc_schema *schema;
    CHECK(fixture_schema(NULL, &source) == 0);
    CHECK(bc__schema_new(&source, &schema, NULL) == 0);
    source.release(&source);
    struct fixture fixture;
    fixture_init(&fixture, 1, 100);
    struct ArrowArray array;
    fixture_batch(&fixture, 0, &array);
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
