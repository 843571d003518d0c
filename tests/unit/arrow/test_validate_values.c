/* Valid and invalid values in the first, a middle and the last row, with and without an
 * array offset. */
#include "arrow/validate_values.h"
#include "arrow/values.h"
#include "column.h"

/* Offsets 0, 2, 4, ... of either width. */
static void fill_offsets(void *offsets, int32_t bits) {
    for (int64_t i = 0; i <= ALL; i++) bc__integer_set(offsets, bits, i, 2 * i);
}

static void check_offsets(struct column *column, const char *path, bool has_child) {
    int32_t bits = column->schema->fields[1].bits;
    const uint8_t data[2 * ALL] = {0};
    struct bc_node *child = has_child ? column_node(column, 2) : NULL;
    for (int variant = 0; variant < N_VARIANTS; variant++) {
        union {
            int32_t narrow[ALL + 1];
            int64_t wide[ALL + 1];
        } offsets;
        int64_t at = column_position(variant);
        void *exact = malloc((ALL + 1) * (size_t)bits / 8);
        int64_t last = column_offset(variant) + ROWS;
        fill_offsets(&offsets, bits);
        memcpy(exact, &offsets, (ALL + 1) * (size_t)bits / 8);
        column_fill(column, 1, column_offset(variant), ROWS, NULL, exact, data);
        if (has_child) child->length = 2 * last;
        column_accept(column);
        bc__integer_set(exact, bits, at + 1, 2 * at);
        column_accept(column);
        bc__integer_set(exact, bits, at + 1, 2 * at - 1);
        column_refuse(column, path, column_row(variant), "decrease");
        bc__integer_set(exact, bits, at + 1, 2 * at + 2);
        bc__integer_set(exact, bits, column_offset(variant), -1);
        column_refuse(column, path, 0, "negative");
        bc__integer_set(exact, bits, column_offset(variant), 2 * column_offset(variant));
        if (has_child) {
            child->length = 2 * at + 1;
            column_refuse(column, path, column_row(variant), "beyond");
            child->length = 2 * last;
            bc__integer_set(exact, bits, at + 1, INT32_MAX);
            column_refuse(column, path, column_row(variant), "beyond");
        }
        /* The offsets of an array without rows are not read. */
        column_fill(column, 1, 0, 0, NULL, NULL, NULL);
        column_accept(column);
        free(exact);
    }
}

static void test_offsets_of_binary(void) {
    static const char *const formats[] = {"z", "Z", "u", "U"};
    for (size_t f = 0; f < 4; f++) {
        struct ArrowSchema schema = column_type(formats[f], "x");
        struct column column = column_open(&schema);
        check_offsets(&column, "x", false);
        column_close(&column);
    }
}

static void test_offsets_of_lists(void) {
    static const char *const formats[] = {"+l", "+L", "+m"};
    for (size_t f = 0; f < 3; f++) {
        struct ArrowSchema keys = column_type("c", "key");
        struct ArrowSchema values = column_type("c", "value");
        struct ArrowSchema *pair[] = {&keys, &values};
        struct ArrowSchema item = column_type(f < 2 ? "c" : "+s", "item");
        struct ArrowSchema *children[] = {&item};
        struct ArrowSchema schema = column_type(formats[f], "x");
        schema.n_children = 1;
        schema.children = children;
        item.n_children = f < 2 ? 0 : 2;
        item.children = pair;
        struct column column = column_open(&schema);
        for (int32_t i = 3; i < column.schema->n_fields; i++) {
            column_node(&column, i)->length = 2 * ALL;
        }
        check_offsets(&column, "x", true);
        column_close(&column);
    }
}

static const char *const bad_texts[] = {"\xC3(", "\xFF!", "\xC3\xBC\x80", "\xED\xA0\x80",
                                        "\xF4\x90\x80\x80"};
static const char *const good_texts[] = {"\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                         "plain", ""};
enum { N_TEXTS = 5 };

/* ALL texts: `around` everywhere, `text` at one position. */
static void fill_text(struct column *column, int64_t offset, int64_t at, const char *text,
                      const char *around, void *offsets, uint8_t *data) {
    int32_t bits = column->schema->fields[1].bits;
    int64_t used = 0;
    for (int64_t i = 0; i <= ALL; i++) {
        bc__integer_set(offsets, bits, i, used);
        const char *own = i == at ? text : around;
        if (i < ALL) memcpy(data + used, own, strlen(own));
        if (i < ALL) used += (int64_t)strlen(own);
    }
    column_fill(column, 1, offset, ROWS, NULL, offsets, data);
}

static void check_text(struct column *column, bool is_text, int variant) {
    static const char *const arounds[] = {"", "some ASCII", "gr\xC3\xBC\xC3\x9F"};
    int64_t offsets[ALL + 1];
    uint8_t data[32 * ALL];
    int64_t at = column_position(variant);
    for (int i = 0; i < N_TEXTS * 3; i++) {
        struct bc_node *node = column_node(column, 1);
        const char *around = arounds[i / N_TEXTS];
        uint8_t bitmap[2] = {0xFF, 0xFF};
        node->null_count = 0;
        fill_text(column, column_offset(variant), at, good_texts[i % N_TEXTS], around,
                  offsets, data);
        column_accept(column);
        fill_text(column, column_offset(variant), at, bad_texts[i % N_TEXTS], around,
                  offsets, data);
        if (is_text) {
            column_refuse(column, "x", column_row(variant), "UTF-8");
        } else {
            column_accept(column);
        }
        /* The value of a null row may be anything. */
        node->buffers[0] = bitmap;
        clear_bit(bitmap, at);
        node->null_count = 1;
        column_accept(column);
        /* So may values outside of the rows. */
        node->buffers[0] = NULL;
        node->null_count = 0;
        fill_text(column, SHIFT, variant % SHIFT, bad_texts[i % N_TEXTS], around, offsets,
                  data);
        column_accept(column);
    }
}

static void test_text(void) {
    static const char *const formats[] = {"u", "U", "z", "Z"};
    for (size_t f = 0; f < 4; f++) {
        struct ArrowSchema schema = column_type(formats[f], "x");
        struct column column = column_open(&schema);
        for (int variant = 0; variant < N_VARIANTS; variant++)
            check_text(&column, f < 2, variant);
        column_close(&column);
    }
}

/* The text as a whole is valid, and its values are not. */
static void test_characters_cut_by_offsets(void) {
    static const uint8_t data[6] = {0xE2, 0x82, 0xAC, 0xE2, 0x82, 0xAC};
    struct ArrowSchema schema = column_type("u", "x");
    struct column column = column_open(&schema);
    for (int32_t cut = 0; cut <= 6; cut++) {
        const int32_t cuts[][3] = {{0, cut, 6}, {cut, 6, 6}, {0, 0, cut}};
        for (int i = 0; i < 3; i++) {
            column_fill(&column, 1, 0, 2, NULL, cuts[i], data);
            if (cut % 3 == 0) {
                column_accept(&column);
            } else {
                column_refuse(&column, "x", i == 2 ? 1 : 0, "UTF-8");
            }
        }
    }
    column_close(&column);
}

static struct bc_view view_of(const uint8_t *data, int32_t length, int32_t buffer,
                              int32_t offset) {
    struct bc_view view = {.length = length, .buffer = buffer, .offset = offset};
    memcpy(view.prefix, data + offset, sizeof(view.prefix));
    return view;
}

static void set_inline(struct bc_view *view, const char *text) {
    memset(view, 0, sizeof(*view));
    view->length = (int32_t)strlen(text);
    memcpy((uint8_t *)view + 4, text, strlen(text));
}

/* Breaks view `at`, a long view into buffer 1, in each way. */
static void spoil_view(struct column *column, int variant, struct bc_view *views,
                       const int64_t *sizes) {
    const struct bc_view good = views[column_position(variant)];
    struct bc_view *view = &views[column_position(variant)];
    const struct {
        int32_t *variant;
        int32_t value;
        const char *words;
    } wrong[] = {{&view->length, -1, "negative"},
                 {&view->length, INT32_MIN, "negative"},
                 {&view->length, (int32_t)sizes[1] - good.offset + 1, "beyond"},
                 {&view->length, INT32_MAX, "beyond"},
                 {&view->offset, -1, "beyond"},
                 {&view->offset, (int32_t)sizes[1] - good.length + 1, "beyond"},
                 {&view->offset, INT32_MAX, "beyond"},
                 {&view->buffer, -1, "buffer"},
                 {&view->buffer, 3, "buffer"},
                 {&view->buffer, 2, "beyond"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        *wrong[i].variant = wrong[i].value;
        column_refuse(column, "x", column_row(variant), wrong[i].words);
        *view = good;
        column_accept(column);
    }
    for (int i = 0; i < 4; i++) {
        view->prefix[i] ^= 1;
        column_refuse(column, "x", column_row(variant), "prefix");
        *view = good;
    }
}

static void check_views(bool is_text) {
    struct ArrowSchema schema = column_type(is_text ? "vu" : "vz", "x");
    struct column column = column_open(&schema);
    struct bc_node *node = column_node(&column, 1);
    for (int variant = 0; variant < N_VARIANTS; variant++) {
        uint8_t first[13] = "thirteen byte";
        uint8_t second[40] = "forty bytes of text, of which some 30 ar";
        static const int64_t sizes[3] = {13, 40, 0};
        struct bc_view views[ALL];
        uint8_t bitmap[2] = {0xFF, 0xFF};
        int64_t at = column_position(variant);
        for (int64_t i = 0; i < ALL; i++) {
            views[i] = view_of(first, 13, 0, 0);
            if (i % 2 == 0) set_inline(&views[i], "twelve bytes");
        }
        column_fill(&column, 1, column_offset(variant), ROWS, NULL, views, first);
        node->n_buffers = 6;
        node->null_count = 0;
        node->buffers[3] = second;
        node->buffers[4] = NULL;
        node->buffers[5] = sizes;
        views[at] = view_of(second, 30, 1, 7);
        spoil_view(&column, variant, views, sizes);
        views[at] = view_of(second, 33, 1, 7);
        column_accept(&column);
        for (int i = 0; i < N_TEXTS; i++) {
            for (int is_long = 0; is_long < 2; is_long++) {
                if (is_long) {
                    memcpy(second + 20, bad_texts[i], strlen(bad_texts[i]));
                    views[at] = view_of(second, 33, 1, 7);
                } else {
                    set_inline(&views[at], bad_texts[i]);
                }
                if (is_text) {
                    column_refuse(&column, "x", column_row(variant), "UTF-8");
                } else {
                    column_accept(&column);
                }
                memset(second + 20, 'a', 4);
            }
            set_inline(&views[at], good_texts[i]);
            column_accept(&column);
        }
        /* Consumers compare all 16 bytes of a short view. */
        for (size_t i = 4 + strlen("text"); i < sizeof(views[at]); i++) {
            set_inline(&views[at], "text");
            ((uint8_t *)&views[at])[i] = 1;
            column_refuse(&column, "x", column_row(variant), "behind its text");
        }
        /* The value of a null row may be anything. */
        memset(&views[at], 0xFF, sizeof(views[at]));
        column_refuse(&column, "x", column_row(variant), "negative");
        clear_bit(bitmap, at);
        node->buffers[0] = bitmap;
        node->null_count = 1;
        column_accept(&column);
        node->buffers[5] = NULL;
        column_refuse(&column, "x", -1, "sizes");
        node->n_buffers = 2;
        column_refuse(&column, "x", -1, "sizes");
    }
    column_close(&column);
}

/* All views are inline, so there are no variadic buffers and no sizes. */
static void test_views_without_buffers(void) {
    struct ArrowSchema schema = column_type("vu", "x");
    struct column column = column_open(&schema);
    struct bc_view views[ROWS];
    for (int i = 0; i < ROWS; i++) set_inline(&views[i], "twelve bytes");
    column_fill(&column, 1, 0, ROWS, NULL, views, NULL);
    column_accept(&column);
    views[ROWS - 1] = (struct bc_view){.length = BC_VIEW_INLINE_MAX + 1};
    column_refuse(&column, "x", ROWS - 1, "buffer");
    column_close(&column);
}

static void test_views_of_bytes(void) { check_views(false); }
static void test_views_of_text(void) { check_views(true); }

/* Many views of one large text. To check the text once for each view would take
 * minutes. */
enum { OVERLAPPING = 1 << 17, TEXT_BYTES = 1 << 20 };

static void overlap(struct bc_view *views, const uint8_t *data, int32_t offset,
                    int32_t length) {
    for (int64_t i = 0; i < OVERLAPPING; i++) {
        views[i] = view_of(data, length, 0, offset);
    }
}

static void test_views_that_overlap(void) {
    struct ArrowSchema schema = column_type("vu", "x");
    struct column column = column_open(&schema);
    struct bc_view *views = calloc(OVERLAPPING, sizeof(*views));
    uint8_t *data = malloc(TEXT_BYTES);
    static const int64_t sizes[] = {TEXT_BYTES};
    for (int64_t i = 0; i < TEXT_BYTES; i++) data[i] = i % 2 == 0 ? 0xC3 : 0xBC;
    column_fill(&column, 1, 0, OVERLAPPING, NULL, views, data);
    column_node(&column, 1)->n_buffers = 4;
    column_node(&column, 1)->buffers[3] = sizes;
    overlap(views, data, 0, TEXT_BYTES);
    column_accept(&column);
    overlap(views, data, 2, TEXT_BYTES - 4);
    column_accept(&column);
    /* A character cut at its start, or at its end, by the last view, or the second. */
    static const int64_t rows[] = {1, OVERLAPPING - 1};
    for (int i = 0; i < 2; i++) {
        views[rows[i]] = view_of(data, TEXT_BYTES - 3, 0, 1);
        column_refuse(&column, "x", rows[i], "UTF-8");
        views[rows[i]] = view_of(data, TEXT_BYTES - 3, 0, 2);
        column_refuse(&column, "x", rows[i], "UTF-8");
        views[rows[i]] = view_of(data, TEXT_BYTES - 2, 0, 2);
        column_accept(&column);
    }
    /* Bytes that no view refers to may be anything, unless the views overlap too much. */
    data[0] = 0xFF;
    for (int64_t i = 20; i < OVERLAPPING; i++) views[i] = view_of(data, 100, 0, 2);
    column_accept(&column);
    data[TEXT_BYTES / 2] = 'x';
    column_refuse(&column, "x", 0, "UTF-8");
    data[TEXT_BYTES / 2] = 0xC3;
    overlap(views, data, 2, TEXT_BYTES - 4);
    column_refuse(&column, "x", 50, "too many views");
    free(data);
    free(views);
    column_close(&column);
}

static void test_list_views(void) {
    for (int wide = 0; wide < 2; wide++) {
        struct ArrowSchema item = column_type("n", "item");
        struct ArrowSchema *children[] = {&item};
        struct ArrowSchema schema = column_type(wide ? "+vL" : "+vl", "x");
        schema.n_children = 1;
        schema.children = children;
        struct column column = column_open(&schema);
        int32_t bits = wide ? 64 : 32;
        column_node(&column, 2)->length = 5;
        column_node(&column, 2)->null_count = 5;
        const int64_t most = wide ? INT64_MAX : INT32_MAX;
        const struct {
            int64_t offset, size;
            const char *words; /* NULL: valid */
        } table[] = {{0, 5, NULL},        {5, 0, NULL},        {2, 3, NULL},
                     {-1, 1, "negative"}, {1, -1, "negative"}, {-most, most, "negative"},
                     {2, 4, "beyond"},    {6, 0, "beyond"},    {most, most, "beyond"},
                     {0, most, "beyond"}, {most, 0, "beyond"}};
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) * N_VARIANTS; i++) {
            int variant = (int)(i % N_VARIANTS);
            size_t t = i / N_VARIANTS;
            int64_t offsets[ALL] = {0};
            int64_t sizes[ALL] = {0};
            bc__integer_set(offsets, bits, column_position(variant), table[t].offset);
            bc__integer_set(sizes, bits, column_position(variant), table[t].size);
            column_fill(&column, 1, column_offset(variant), ROWS, NULL, offsets, sizes);
            if (table[t].words == NULL) {
                column_accept(&column);
            } else {
                column_refuse(&column, "x", column_row(variant), table[t].words);
            }
        }
        column_close(&column);
    }
}

static void test_indices(void) {
    static const char formats[] = "cCsSiIlL";
    for (size_t f = 0; f < 8; f++) {
        size_t width = (size_t)1 << f / 2;
        char format[] = {formats[f], '\0'};
        struct ArrowSchema values = column_type("n", NULL);
        struct ArrowSchema schema = column_type(format, "x");
        schema.dictionary = &values;
        struct column column = column_open(&schema);
        column_node(&column, 2)->length = 100;
        for (int variant = 0; variant < N_VARIANTS; variant++) {
            static const uint64_t wrong[] = {100, 127, 128, 255, UINT64_MAX};
            uint64_t index = 99;
            uint8_t *indices = calloc(ALL, width);
            uint8_t *own = indices + (size_t)column_position(variant) * width;
            uint8_t bitmap[2] = {0xFF, 0xFF};
            struct bc_node *node = column_node(&column, 1);
            memcpy(own, &index, width);
            column_fill(&column, 1, column_offset(variant), ROWS, NULL, indices, NULL);
            column_accept(&column);
            clear_bit(bitmap, column_position(variant));
            for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                memcpy(own, &wrong[i], width);
                column_refuse(&column, "x", column_row(variant), "dictionary");
                node->buffers[0] = bitmap;
                node->null_count = 1;
                column_accept(&column);
                node->buffers[0] = NULL;
                node->null_count = 0;
            }
            /* The highest bit alone: negative, or too large. */
            memset(own, 0, width);
            own[width - 1] = 0x80;
            column_refuse(&column, "x", column_row(variant), "dictionary");
            free(indices);
        }
        column_node(&column, 2)->length = 0;
        static const uint64_t zeros[ROWS];
        column_fill(&column, 1, 0, ROWS, NULL, zeros, NULL);
        column_refuse(&column, "x", 0, "dictionary");
        column_fill(&column, 1, 0, 0, NULL, NULL, NULL);
        column_accept(&column);
        column_close(&column);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_offsets_of_binary),
        TAP_CASE(test_offsets_of_lists),
        TAP_CASE(test_text),
        TAP_CASE(test_characters_cut_by_offsets),
        TAP_CASE(test_views_without_buffers),
        TAP_CASE(test_views_of_bytes),
        TAP_CASE(test_views_of_text),
        TAP_CASE(test_views_that_overlap),
        TAP_CASE(test_list_views),
        TAP_CASE(test_indices),
    };
    return TAP_RUN(cases);
}
