/* Values that grow, and what counts as growth. */
#include <string.h>

#include "disk/grown.h"
#include "fixture.h"

static const struct bc_field numbers = {
    .kind = BC_KIND_FIXED, .has_validity = true, .n_buffers = 2, .bits = 32};
static const struct bc_field texts = {
    .kind = BC_KIND_BINARY, .has_validity = true, .n_buffers = 3, .bits = 32};

static struct bc_node node_of(const void **buffers, int64_t offset, int64_t length) {
    return (struct bc_node){
        .length = length, .offset = offset, .n_buffers = 2, .buffers = buffers};
}

static void test_growth(void) {
    const int32_t a[] = {9, 1, 2, 3, 4};
    const int32_t b[] = {1, 2, 3, 4, 5, 6};
    const void *a_buffers[] = {NULL, a};
    const void *b_buffers[] = {NULL, b};
    struct bc_node old = node_of(a_buffers, 1, 4);
    struct bc_node new = node_of(b_buffers, 0, 6);
    CHECK(bc__grown_compare(&numbers, &old, &new) == BC_GROWTH_MORE);
    CHECK(bc__grown_compare(&numbers, &new, &old) == BC_GROWTH_NONE);
    new.length = 4;
    CHECK(bc__grown_compare(&numbers, &old, &new) == BC_GROWTH_SAME);
    new.offset = 1;
    CHECK(bc__grown_compare(&numbers, &old, &new) == BC_GROWTH_NONE);
    const uint8_t bitmap = 0xff;
    b_buffers[0] = &bitmap;
    new = node_of(b_buffers, 0, 6);
    new.null_count = -1;
    CHECK(bc__grown_compare(&numbers, &old, &new) == BC_GROWTH_NONE);
}

/* Some have no buffers at all. */
static void test_growth_of_nothing(void) {
    static const struct bc_field nulls = {.kind = BC_KIND_NULL};
    struct bc_node node = {.length = 3, .null_count = 3};
    struct bc_grown *grown = NULL;
    CHECK(bc__grown_compare(&nulls, &node, &node) == BC_GROWTH_NONE);
    CHECK(bc__grown_append(&grown, &nulls, &node) == ENOTSUP && grown == NULL);
}

static void test_growth_of_text(void) {
    const int32_t a[] = {0, 1, 3};
    const int32_t b[] = {7, 7, 8, 10, 10, 13};
    const void *a_buffers[] = {NULL, a, "xyz"};
    const void *b_buffers[] = {NULL, b, ".......xyzabc"};
    struct bc_node old = node_of(a_buffers, 0, 2);
    struct bc_node new = node_of(b_buffers, 1, 4);
    CHECK(bc__grown_compare(&texts, &old, &new) == BC_GROWTH_MORE);
    b_buffers[2] = ".......xyaabc";
    CHECK(bc__grown_compare(&texts, &old, &new) == BC_GROWTH_NONE);
    new.offset = 0;
    CHECK(bc__grown_compare(&texts, &old, &new) == BC_GROWTH_NONE);
}

/* Offsets of a file that nobody looked at. */
static void test_parts_that_are_wrong(void) {
    static const struct bc_field large = {
        .kind = BC_KIND_BINARY, .has_validity = true, .n_buffers = 3, .bits = 64};
    const int32_t negative[] = {-1000, 1};
    const int32_t decreasing[] = {2, 1};
    const int64_t beyond[] = {0, 1, INT64_MAX, 2};
    const void *buffers[] = {NULL, negative, "xy"};
    struct bc_grown *grown = NULL;
    struct bc_node part = node_of(buffers, 0, 1);
    CHECK(bc__grown_append(&grown, &texts, &part) == EINVAL);
    CHECK(bc__grown_compare(&texts, &part, &part) == BC_GROWTH_NONE);
    buffers[1] = decreasing;
    CHECK(bc__grown_append(&grown, &texts, &part) == EINVAL && grown == NULL);
    buffers[1] = beyond;
    part.length = 1;
    CHECK(bc__grown_append(&grown, &large, &part) == 0);
    part.length = 3;
    CHECK(bc__grown_append(&grown, &large, &part) == EINVAL);
    bc__grown_unref(grown);
}

/* Parts behind each other; what earlier versions cover stays as it is. */
static void test_parts(void) {
    struct ArrowSchema source;
    struct bc_schema *schema;
    struct bc_grown *grown = NULL;
    struct bc_batch *versions[40];
    CHECK(fixture_schema(NULL, &source) == 0);
    CHECK(bc__schema_new(&source, &schema, NULL) == 0);
    source.release(&source);
    const int32_t field = 2;
    CHECK(schema->fields[field].kind == BC_KIND_BINARY);
    for (int i = 0; i < 40; i++) {
        const int32_t offsets[] = {3, 4, 6, 6};
        const char text[] = {'-', '-', '-', (char)('a' + i % 26), '1', '2'};
        const void *buffers[] = {NULL, offsets, text};
        struct bc_node part = node_of(buffers, 0, 3);
        CHECK(bc__grown_append(&grown, &schema->fields[field], &part) == 0);
        CHECK(bc__grown_batch(grown, &schema->fields[field], 3 * (i + 1), &versions[i]) ==
              0);
    }
    bc__grown_unref(grown);
    for (int i = 0; i < 40; i++) {
        const struct bc_node *node = &versions[i]->nodes[0];
        const int32_t *offsets = node->buffers[1];
        const char *text = node->buffers[2];
        CHECK(node->length == 3 * (i + 1) && offsets[0] == 0);
        for (int k = 0; k <= i; k++) {
            CHECK(offsets[3 * k + 1] == 3 * k + 1 && offsets[3 * k + 3] == 3 * k + 3);
            CHECK(text[3 * k] == 'a' + k % 26 && text[3 * k + 2] == '2');
        }
        bc__batch_unref(versions[i]);
    }
    bc__schema_free(schema);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_growth),         TAP_CASE(test_growth_of_nothing),
        TAP_CASE(test_growth_of_text), TAP_CASE(test_parts_that_are_wrong),
        TAP_CASE(test_parts),
    };
    return TAP_RUN(cases);
}
