/* Which changes of a dictionary's values count as appended values. */
#include <string.h>

#include "counting_source.h"
#include "ipc/dictionary_change.h"

static const struct bc_field numbers = {
    .kind = BC_LAYOUT_FIXED, .has_validity = true, .n_buffers = 2, .bits = 32};
static const struct bc_field texts = {
    .kind = BC_LAYOUT_BINARY, .has_validity = true, .n_buffers = 3, .bits = 32};

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
    CHECK(bc__dictionary_change_of(&numbers, &old, &new) == BC_CHANGE_APPENDED);
    CHECK(bc__dictionary_change_of(&numbers, &new, &old) == BC_CHANGE_REPLACED);
    new.length = 4;
    CHECK(bc__dictionary_change_of(&numbers, &old, &new) == BC_CHANGE_NONE);
    new.offset = 1;
    CHECK(bc__dictionary_change_of(&numbers, &old, &new) == BC_CHANGE_REPLACED);
    const uint8_t bitmap = 0xff;
    b_buffers[0] = &bitmap;
    new = node_of(b_buffers, 0, 6);
    new.null_count = -1;
    CHECK(bc__dictionary_change_of(&numbers, &old, &new) == BC_CHANGE_REPLACED);
}

/* Values of the null type have no buffers. */
static void test_growth_of_nothing(void) {
    static const struct bc_field nulls = {.kind = BC_LAYOUT_NULL};
    struct bc_node node = {.length = 3, .null_count = 3};
    CHECK(bc__dictionary_change_of(&nulls, &node, &node) == BC_CHANGE_REPLACED);
}

static void test_growth_of_text(void) {
    const int32_t a[] = {0, 1, 3};
    const int32_t b[] = {7, 7, 8, 10, 10, 13};
    const void *a_buffers[] = {NULL, a, "xyz"};
    const void *b_buffers[] = {NULL, b, ".......xyzabc"};
    struct bc_node old = node_of(a_buffers, 0, 2);
    struct bc_node new = node_of(b_buffers, 1, 4);
    CHECK(bc__dictionary_change_of(&texts, &old, &new) == BC_CHANGE_APPENDED);
    b_buffers[2] = ".......xyaabc";
    CHECK(bc__dictionary_change_of(&texts, &old, &new) == BC_CHANGE_REPLACED);
    new.offset = 0;
    CHECK(bc__dictionary_change_of(&texts, &old, &new) == BC_CHANGE_REPLACED);
}

/* Each text has its own allocation, so that AddressSanitizer checks its end. */
static void test_offsets_that_are_wrong(void) {
    static const int32_t negative[] = {-1000, 1};
    static const int32_t decreasing[] = {2, 1};
    const void *buffers[] = {NULL, negative, "xy"};
    struct bc_node old = node_of(buffers, 0, 1);
    CHECK(bc__dictionary_change_of(&texts, &old, &old) == BC_CHANGE_REPLACED);
    buffers[1] = decreasing;
    CHECK(bc__dictionary_change_of(&texts, &old, &old) == BC_CHANGE_REPLACED);
    /* The offsets equal the old ones, and then one falls. */
    enum { LONG = 4096, SHORT = 3 };
    static const int32_t before[] = {0, LONG};
    static const int32_t after[] = {0, LONG, SHORT};
    char *text = calloc(1, LONG);
    char *less = calloc(1, SHORT);
    CHECK(text != NULL && less != NULL);
    const void *old_buffers[] = {NULL, before, text};
    const void *new_buffers[] = {NULL, after, less};
    old = node_of(old_buffers, 0, 1);
    struct bc_node new = node_of(new_buffers, 0, 2);
    CHECK(bc__dictionary_change_of(&texts, &old, &new) == BC_CHANGE_REPLACED);
    CHECK(bc__dictionary_change_of(&texts, &new, &new) == BC_CHANGE_NONE);
    /* The distance of the offsets overflows. */
    static const struct bc_field large = {
        .kind = BC_LAYOUT_BINARY, .has_validity = true, .n_buffers = 3, .bits = 64};
    static const int64_t far[] = {1, INT64_MIN, 2};
    static const int64_t farther[] = {0, INT64_MAX, 1};
    old_buffers[1] = far;
    new_buffers[1] = farther;
    old.length = new.length = 2;
    CHECK(bc__dictionary_change_of(&large, &old, &new) == BC_CHANGE_REPLACED);
    new_buffers[2] = NULL;
    CHECK(bc__dictionary_change_of(&texts, &old, &new) == BC_CHANGE_REPLACED);
    free(text);
    free(less);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_growth), TAP_CASE(test_growth_of_nothing),
        TAP_CASE(test_growth_of_text), TAP_CASE(test_offsets_that_are_wrong)};
    return TAP_RUN(cases);
}
