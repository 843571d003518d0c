/* Bounds of texts: which text is the least, and how a long one is cut. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/bounds.h"
#include "arrow/values.h"
#include "tap.h"

enum { TEXTS = 8 };

/* Texts of one array of strings or binary. */
struct texts {
    struct ArrowSchema schema;
    struct bc_field field;
    struct bc_node node;
    const void *buffers[3];
    int32_t offsets[TEXTS + 1];
    uint8_t bytes[1024];
    int64_t n;
};

static void texts_init(struct texts *texts, const char *format) {
    memset(texts, 0, sizeof(*texts));
    texts->schema.format = format;
    texts->field.kind = BC_LAYOUT_BINARY;
    texts->field.bits = 32;
    texts->field.schema = &texts->schema;
    texts->buffers[1] = texts->offsets;
    texts->buffers[2] = texts->bytes;
    texts->node.n_buffers = 3;
    texts->node.buffers = texts->buffers;
}

static void texts_add(struct texts *texts, const char *text, size_t size) {
    int32_t at = texts->offsets[texts->n];
    memcpy(texts->bytes + at, text, size);
    texts->offsets[++texts->n] = at + (int32_t)size;
}

static int find(const struct texts *texts, struct bc_bounds *out) {
    const struct bc_values values = {
        .field = &texts->field, .node = &texts->node, .length = texts->n};
    return bc__bounds(&values, bc__order_of(&texts->field), out);
}

static bool is_bound(const struct bc_bound *bound, const char *text, size_t size,
                     bool is_exact) {
    return bound->is_known && bound->is_exact == is_exact && bound->size == size &&
           memcmp(bound->bytes, text, size) == 0;
}

/* Texts in the order of their bytes: the borders of words and of heads, texts with a
 * shorter one as their prefix, zeros, and bytes from 0x80 on. */
static const struct {
    const char *bytes;
    int size;
} sorted[] = {
    {"", 0},
    {"\0", 1},
    {"\0\0", 2},
    {"\0a", 2},
    {"a", 1},
    {"a\0", 2},
    {"abcdefg", 7},
    {"abcdefg\0", 8},
    {"abcdefg\0\0", 9},
    {"abcdefgg", 8},
    {"abcdefgh", 8},
    {"abcdefgh\0", 9},
    {"abcdefgha", 9},
    {"abcdefghijklmn", 14},
    {"abcdefghijklmn\0", 15},
    {"abcdefghijklmn\0\0", 16},
    {"abcdefghijklmno", 15},
    {"abcdefghijklmno\0", 16},
    {"abcdefghijklmno\0\0", 17},
    {"abcdefghijklmnop", 16},
    {"abcdefghijklmnopA", 17},
    {"abcdefghijklmnopB", 17},
    {"abcdefghijklmnopqrstuvw", 23},
    {"abcdefghijklmnopqrstuvw\0", 24},
    {"abcdefghijklmnopqrstuvwx", 24},
    {"abcdefghijklmnopqrstuvwxyzabcdef", 32},
    {"abcdefghijklmnopqrstuvx", 23},
    {"abcdefghijklmnop\x7f", 17},
    {"abcdefghijklmnop\x80", 17},
    {"abcdefgh\x80", 9},
    {"abcdefgh\xff", 9},
    {"abcdefi", 7},
    {"b", 1},
    {"\x7f", 1},
    {"\x80", 1},
    {"\xff", 1},
    {"\xff\xff\xff\xff\xff\xff\xff", 7},
    {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 15},
    {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16},
    {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0", 17},
};
enum { SORTED = sizeof(sorted) / sizeof(sorted[0]) };

static bool is_sorted_bound(const struct bc_bound *bound, int which) {
    return is_bound(bound, sorted[which].bytes, (size_t)sorted[which].size, true);
}

/* Finds the bounds of three sorted texts as binary. */
static void find_offset_texts(const int *which, struct bc_bounds *out) {
    struct texts texts;
    texts_init(&texts, "z");
    for (int i = 0; i < 3; i++) {
        texts_add(&texts, sorted[which[i]].bytes, (size_t)sorted[which[i]].size);
    }
    CHECK(find(&texts, out) == 0);
}

/* The same as views. Bytes are in allocations of their own size, so that a sanitizer
 * finds a read after them. */
static void find_view_texts(const int *which, struct bc_bounds *out) {
    struct bc_view *views = calloc(3, sizeof(*views));
    int64_t sizes[3];
    const void *buffers[6] = {NULL, views, NULL, NULL, NULL, sizes};
    for (int i = 0; i < 3; i++) {
        sizes[i] = sorted[which[i]].size;
        uint8_t *bytes = malloc((size_t)sizes[i] + (sizes[i] == 0));
        CHECK(bytes != NULL && views != NULL);
        memcpy(bytes, sorted[which[i]].bytes, (size_t)sizes[i]);
        views[i].length = (int32_t)sizes[i];
        if (sizes[i] <= BC_VIEW_INLINE_MAX) {
            memcpy((uint8_t *)&views[i] + 4, bytes, (size_t)sizes[i]);
        } else {
            memcpy(views[i].prefix, bytes, sizeof(views[i].prefix));
            views[i].buffer = i;
        }
        buffers[2 + i] = bytes;
    }
    const struct ArrowSchema schema = {.format = "vz"};
    const struct bc_field field = {
        .kind = BC_LAYOUT_VIEW, .bits = 128, .n_buffers = 3, .schema = &schema};
    const struct bc_node node = {.length = 3, .n_buffers = 6, .buffers = buffers};
    const struct bc_values values = {.field = &field, .node = &node, .length = 3};
    CHECK(bc__bounds(&values, BC_ORDER_BYTES, out) == 0);
    for (int i = 1; i <= 4; i++) free((void *)(uintptr_t)buffers[i]);
}

static void check_order(const int *which, int low, int high) {
    struct bc_bounds bounds;
    find_offset_texts(which, &bounds);
    CHECK(is_sorted_bound(&bounds.low, low) && is_sorted_bound(&bounds.high, high));
    memset(&bounds, 0, sizeof(bounds));
    find_view_texts(which, &bounds);
    CHECK(is_sorted_bound(&bounds.low, low) && is_sorted_bound(&bounds.high, high));
}

static void test_order(void) {
    for (int low = 0; low < SORTED; low++) {
        for (int high = low; high < SORTED; high++) {
            int middle = (low + high) / 2;
            const int falling[] = {high, middle, low};
            const int rising[] = {low, middle, high};
            const int mixed[] = {middle, high, low};
            check_order(falling, low, high);
            check_order(rising, low, high);
            check_order(mixed, low, high);
        }
    }
}

/* Fixed-size binary has no zero or byte after its last value. */
static void test_fixed_order(void) {
    for (int size = 1; size <= 24; size++) {
        for (int at = 0; at < size; at++) {
            uint8_t *bytes = malloc(3 * (size_t)size);
            CHECK(bytes != NULL);
            memset(bytes, 'a', 3 * (size_t)size);
            bytes[size + at] = 0x80;
            bytes[2 * size + at] = 0;
            const void *buffers[] = {NULL, bytes};
            const struct ArrowSchema schema = {.format = "w"};
            const struct bc_field field = {.kind = BC_LAYOUT_FIXED,
                                           .bits = 8 * size,
                                           .n_buffers = 2,
                                           .schema = &schema};
            const struct bc_node node = {.length = 3, .n_buffers = 2, .buffers = buffers};
            const struct bc_values values = {.field = &field, .node = &node, .length = 3};
            struct bc_bounds bounds;
            CHECK(bc__bounds(&values, BC_ORDER_BYTES, &bounds) == 0);
            const char *texts = (const char *)bytes;
            CHECK(is_bound(&bounds.low, texts + 2 * size, (size_t)size, true));
            CHECK(is_bound(&bounds.high, texts + size, (size_t)size, true));
            free(bytes);
        }
    }
}

/* Checks the bounds of a text of a repeated unit. */
static void check_cut(const char *format, const char *unit, size_t unit_size, int times,
                      const char *low, const char *high) {
    struct texts texts;
    struct bc_bounds bounds;
    char text[256];
    for (int i = 0; i < times; i++) {
        memcpy(text + (size_t)i * unit_size, unit, unit_size);
    }
    texts_init(&texts, format);
    texts_add(&texts, text, unit_size * (size_t)times);
    CHECK(find(&texts, &bounds) == 0);
    CHECK(low == NULL ? !bounds.low.is_known
                      : is_bound(&bounds.low, low, strlen(low), false));
    CHECK(high == NULL ? !bounds.high.is_known
                       : is_bound(&bounds.high, high, strlen(high), false));
}

#define EIGHT(text) text text text text text text text text

static void test_cut_text(void) {
    check_cut("u", "a", 1, 33, EIGHT("aaaa"), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    /* 33 bytes of three each: ten whole characters fit. */
    check_cut("u", "\xe2\x82\xac", 3, 11,
              "\xe2\x82\xac\xe2\x82\xac" EIGHT("\xe2\x82\xac"),
              "\xe2\x82\xac" EIGHT("\xe2\x82\xac") "\xe2\x82\xad");
    /* The last character of one byte becomes one of two, which does not fit. */
    check_cut("u", "a\x7f", 2, 17, EIGHT("a\x7f") EIGHT("a\x7f"),
              EIGHT("a\x7f") "a\x7f" "a\x7f" "a\x7f" "a\x7f" "a\x7f" "a\x7f" "a\x7f"
              "b");
    /* After U+D7FF come the surrogates, which are no characters. */
    check_cut("u", "\xed\x9f\xbf", 3, 11,
              "\xed\x9f\xbf\xed\x9f\xbf" EIGHT("\xed\x9f\xbf"),
              "\xed\x9f\xbf" EIGHT("\xed\x9f\xbf") "\xee\x80\x80");
    check_cut("u", "\xf4\x8f\xbf\xbf", 4, 9, EIGHT("\xf4\x8f\xbf\xbf"), NULL);
    /* Of invalid text, the empty text is a bound. */
    check_cut("u", "\x80", 1, 40, "", NULL);
    check_cut("u", "\xff", 1, 40, NULL, NULL);
}

static void test_cut_bytes(void) {
    check_cut("z", "a", 1, 33, EIGHT("aaaa"), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    check_cut("z", "a\xff", 2, 17, EIGHT("a\xff") EIGHT("a\xff"),
              EIGHT("a\xff") "a\xff" "a\xff" "a\xff" "a\xff" "a\xff" "a\xff" "a\xff"
              "b");
    check_cut("z", "\xff", 1, 33, EIGHT("\xff\xff\xff\xff"), NULL);
}

static void test_invalid_offsets(void) {
    static const int32_t wrong[][3] = {{0, 9, 4}, {-1, 2, 4}, {3, 2, 4}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct texts texts;
        struct bc_bounds bounds;
        texts_init(&texts, "u");
        texts_add(&texts, "ab", 2);
        texts_add(&texts, "cd", 2);
        memcpy(texts.offsets, wrong[i], sizeof(wrong[i]));
        CHECK(find(&texts, &bounds) == EINVAL);
    }
}

static void test_views(void) {
    static const uint8_t bytes[] = "a text that is not in its view";
    static const int64_t sizes[1] = {sizeof(bytes) - 1};
    struct bc_view views[2] = {{.length = 2, .prefix = "zz"},
                               {.length = sizeof(bytes) - 1, .offset = 0}};
    const void *buffers[] = {NULL, views, bytes, sizes};
    const struct ArrowSchema schema = {.format = "vu"};
    const struct bc_field field = {
        .kind = BC_LAYOUT_VIEW, .bits = 128, .n_buffers = 3, .schema = &schema};
    const struct bc_node node = {.length = 2, .n_buffers = 4, .buffers = buffers};
    const struct bc_values values = {.field = &field, .node = &node, .length = 2};
    struct bc_bounds bounds;
    CHECK(bc__bounds(&values, BC_ORDER_TEXT, &bounds) == 0);
    CHECK(is_bound(&bounds.low, (const char *)bytes, sizeof(bytes) - 1, true));
    CHECK(is_bound(&bounds.high, "zz", 2, true));
    struct bc_view right = views[1];
    for (int i = 0; i < 5; i++) {
        views[1] = right;
        if (i == 0) views[1].buffer = 1;
        if (i == 1) views[1].buffer = -1;
        if (i == 2) views[1].offset = 1;
        if (i == 3) views[1].offset = -1;
        if (i == 4) views[1].length = -1;
        CHECK(bc__bounds(&values, BC_ORDER_TEXT, &bounds) == EINVAL);
    }
}

static void test_no_values(void) {
    struct texts texts;
    struct bc_bounds bounds;
    texts_init(&texts, "u");
    CHECK(find(&texts, &bounds) == 0);
    CHECK(!bounds.low.is_known && !bounds.high.is_known);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_order),     TAP_CASE(test_fixed_order),     TAP_CASE(test_cut_text),
        TAP_CASE(test_cut_bytes), TAP_CASE(test_invalid_offsets), TAP_CASE(test_views),
        TAP_CASE(test_no_values),
    };
    return TAP_RUN(cases);
}
