/* Values that are right and wrong: in the first row, one in the middle and the last one,
 * with and without an offset. */
#include "arrow/validate_values.h"
#include "arrow/values.h"
#include "bed.h"

/* Offsets 0, 2, 4, ... of either width. */
static void fill_offsets(void *offsets, int32_t bits) {
    for (int64_t i = 0; i <= ALL; i++) bc__integer_set(offsets, bits, i, 2 * i);
}

static void check_offsets(struct bed *bed, const char *path, bool has_child) {
    int32_t bits = bed->schema->fields[1].bits;
    const uint8_t data[2 * ALL] = {0};
    struct bc_node *child = has_child ? node_of(bed, 2) : NULL;
    for (int place = 0; place < N_PLACES; place++) {
        union {
            int32_t narrow[ALL + 1];
            int64_t wide[ALL + 1];
        } offsets;
        int64_t at = position_of(place);
        void *exact = malloc((ALL + 1) * (size_t)bits / 8);
        int64_t last = offset_of(place) + ROWS;
        fill_offsets(&offsets, bits);
        memcpy(exact, &offsets, (ALL + 1) * (size_t)bits / 8);
        fill(bed, 1, offset_of(place), ROWS, NULL, exact, data);
        if (has_child) child->length = 2 * last;
        accept(bed);
        bc__integer_set(exact, bits, at + 1, 2 * at);
        accept(bed);
        bc__integer_set(exact, bits, at + 1, 2 * at - 1);
        refuse(bed, path, row_of(place), "decrease");
        bc__integer_set(exact, bits, at + 1, 2 * at + 2);
        bc__integer_set(exact, bits, offset_of(place), -1);
        refuse(bed, path, 0, "negative");
        bc__integer_set(exact, bits, offset_of(place), 2 * offset_of(place));
        if (has_child) {
            child->length = 2 * at + 1;
            refuse(bed, path, row_of(place), "beyond");
            child->length = 2 * last;
            bc__integer_set(exact, bits, at + 1, INT32_MAX);
            refuse(bed, path, row_of(place), "beyond");
        }
        /* Without rows nobody looks at offsets. */
        fill(bed, 1, 0, 0, NULL, NULL, NULL);
        accept(bed);
        free(exact);
    }
}

static void test_offsets_of_binary(void) {
    static const char *const formats[] = {"z", "Z", "u", "U"};
    for (size_t f = 0; f < 4; f++) {
        struct ArrowSchema column = type(formats[f], "x");
        struct bed bed = open_bed(&column);
        check_offsets(&bed, "x", false);
        close_bed(&bed);
    }
}

static void test_offsets_of_lists(void) {
    static const char *const formats[] = {"+l", "+L", "+m"};
    for (size_t f = 0; f < 3; f++) {
        struct ArrowSchema keys = type("c", "key");
        struct ArrowSchema values = type("c", "value");
        struct ArrowSchema *pair[] = {&keys, &values};
        struct ArrowSchema item = type(f < 2 ? "c" : "+s", "item");
        struct ArrowSchema *children[] = {&item};
        struct ArrowSchema column = type(formats[f], "x");
        column.n_children = 1;
        column.children = children;
        item.n_children = f < 2 ? 0 : 2;
        item.children = pair;
        struct bed bed = open_bed(&column);
        for (int32_t i = 3; i < bed.schema->n_fields; i++) {
            node_of(&bed, i)->length = 2 * ALL;
        }
        check_offsets(&bed, "x", true);
        close_bed(&bed);
    }
}

static const char *const bad_texts[] = {"\xC3(", "\xFF!", "\xC3\xBC\x80", "\xED\xA0\x80",
                                        "\xF4\x90\x80\x80"};
static const char *const good_texts[] = {"\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                         "plain", ""};
enum { N_TEXTS = 5 };

/* ALL texts: `around` everywhere, `text` at one position. */
static void fill_text(struct bed *bed, int64_t offset, int64_t at, const char *text,
                      const char *around, void *offsets, uint8_t *data) {
    int32_t bits = bed->schema->fields[1].bits;
    int64_t used = 0;
    for (int64_t i = 0; i <= ALL; i++) {
        bc__integer_set(offsets, bits, i, used);
        const char *own = i == at ? text : around;
        if (i < ALL) memcpy(data + used, own, strlen(own));
        if (i < ALL) used += (int64_t)strlen(own);
    }
    fill(bed, 1, offset, ROWS, NULL, offsets, data);
}

static void check_text(struct bed *bed, bool is_text, int place) {
    static const char *const arounds[] = {"", "some ASCII", "gr\xC3\xBC\xC3\x9F"};
    int64_t offsets[ALL + 1];
    uint8_t data[32 * ALL];
    int64_t at = position_of(place);
    for (int i = 0; i < N_TEXTS * 3; i++) {
        struct bc_node *node = node_of(bed, 1);
        const char *around = arounds[i / N_TEXTS];
        uint8_t bitmap[2] = {0xFF, 0xFF};
        node->null_count = 0;
        fill_text(bed, offset_of(place), at, good_texts[i % N_TEXTS], around, offsets,
                  data);
        accept(bed);
        fill_text(bed, offset_of(place), at, bad_texts[i % N_TEXTS], around, offsets,
                  data);
        if (is_text) {
            refuse(bed, "x", row_of(place), "UTF-8");
        } else {
            accept(bed);
        }
        /* Under a null there may be anything. */
        node->buffers[0] = bitmap;
        clear_bit(bitmap, at);
        node->null_count = 1;
        accept(bed);
        /* Outside of the rows too. */
        node->buffers[0] = NULL;
        node->null_count = 0;
        fill_text(bed, SHIFT, place % SHIFT, bad_texts[i % N_TEXTS], around, offsets,
                  data);
        accept(bed);
    }
}

static void test_text(void) {
    static const char *const formats[] = {"u", "U", "z", "Z"};
    for (size_t f = 0; f < 4; f++) {
        struct ArrowSchema column = type(formats[f], "x");
        struct bed bed = open_bed(&column);
        for (int place = 0; place < N_PLACES; place++) check_text(&bed, f < 2, place);
        close_bed(&bed);
    }
}

/* The text as a whole is valid, its values are not. */
static void test_characters_cut_by_offsets(void) {
    static const uint8_t data[6] = {0xE2, 0x82, 0xAC, 0xE2, 0x82, 0xAC};
    struct ArrowSchema column = type("u", "x");
    struct bed bed = open_bed(&column);
    for (int32_t cut = 0; cut <= 6; cut++) {
        const int32_t cuts[][3] = {{0, cut, 6}, {cut, 6, 6}, {0, 0, cut}};
        for (int i = 0; i < 3; i++) {
            fill(&bed, 1, 0, 2, NULL, cuts[i], data);
            if (cut % 3 == 0) {
                accept(&bed);
            } else {
                refuse(&bed, "x", i == 2 ? 1 : 0, "UTF-8");
            }
        }
    }
    close_bed(&bed);
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

/* Spoils view number `at`, which is long and into buffer 1, in all ways. */
static void spoil_view(struct bed *bed, int place, struct bc_view *views,
                       const int64_t *sizes) {
    const struct bc_view good = views[position_of(place)];
    struct bc_view *view = &views[position_of(place)];
    const struct {
        int32_t *place;
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
        *wrong[i].place = wrong[i].value;
        refuse(bed, "x", row_of(place), wrong[i].words);
        *view = good;
        accept(bed);
    }
    for (int i = 0; i < 4; i++) {
        view->prefix[i] ^= 1;
        refuse(bed, "x", row_of(place), "prefix");
        *view = good;
    }
}

static void check_views(bool is_text) {
    struct ArrowSchema column = type(is_text ? "vu" : "vz", "x");
    struct bed bed = open_bed(&column);
    struct bc_node *node = node_of(&bed, 1);
    for (int place = 0; place < N_PLACES; place++) {
        uint8_t first[13] = "thirteen byte";
        uint8_t second[40] = "forty bytes of text, of which some 30 ar";
        static const int64_t sizes[3] = {13, 40, 0};
        struct bc_view views[ALL];
        uint8_t bitmap[2] = {0xFF, 0xFF};
        int64_t at = position_of(place);
        for (int64_t i = 0; i < ALL; i++) {
            views[i] = view_of(first, 13, 0, 0);
            if (i % 2 == 0) set_inline(&views[i], "twelve bytes");
        }
        fill(&bed, 1, offset_of(place), ROWS, NULL, views, first);
        node->n_buffers = 6;
        node->null_count = 0;
        node->buffers[3] = second;
        node->buffers[4] = NULL;
        node->buffers[5] = sizes;
        views[at] = view_of(second, 30, 1, 7);
        spoil_view(&bed, place, views, sizes);
        views[at] = view_of(second, 33, 1, 7);
        accept(&bed);
        for (int i = 0; i < N_TEXTS; i++) {
            for (int is_long = 0; is_long < 2; is_long++) {
                if (is_long) {
                    memcpy(second + 20, bad_texts[i], strlen(bad_texts[i]));
                    views[at] = view_of(second, 33, 1, 7);
                } else {
                    set_inline(&views[at], bad_texts[i]);
                }
                if (is_text) {
                    refuse(&bed, "x", row_of(place), "UTF-8");
                } else {
                    accept(&bed);
                }
                memset(second + 20, 'a', 4);
            }
            set_inline(&views[at], good_texts[i]);
            accept(&bed);
        }
        /* Who compares views of few bytes compares all 16. */
        for (size_t i = 4 + strlen("text"); i < sizeof(views[at]); i++) {
            set_inline(&views[at], "text");
            ((uint8_t *)&views[at])[i] = 1;
            refuse(&bed, "x", row_of(place), "behind its text");
        }
        /* Under a null there may be anything. */
        memset(&views[at], 0xFF, sizeof(views[at]));
        refuse(&bed, "x", row_of(place), "negative");
        clear_bit(bitmap, at);
        node->buffers[0] = bitmap;
        node->null_count = 1;
        accept(&bed);
        node->buffers[5] = NULL;
        refuse(&bed, "x", -1, "sizes");
        node->n_buffers = 2;
        refuse(&bed, "x", -1, "sizes");
    }
    close_bed(&bed);
}

/* All of them inline: there are no variadic buffers, and no sizes of them. */
static void test_views_without_buffers(void) {
    struct ArrowSchema column = type("vu", "x");
    struct bed bed = open_bed(&column);
    struct bc_view views[ROWS];
    for (int i = 0; i < ROWS; i++) set_inline(&views[i], "twelve bytes");
    fill(&bed, 1, 0, ROWS, NULL, views, NULL);
    accept(&bed);
    views[ROWS - 1] = (struct bc_view){.length = BC_VIEW_INLINE_MAX + 1};
    refuse(&bed, "x", ROWS - 1, "buffer");
    close_bed(&bed);
}

static void test_views_of_bytes(void) { check_views(false); }
static void test_views_of_text(void) { check_views(true); }

/* Many views of one large text, which would take minutes if each was looked at. */
enum { OVERLAPPING = 1 << 17, TEXT_BYTES = 1 << 20 };

static void overlap(struct bc_view *views, const uint8_t *data, int32_t offset,
                    int32_t length) {
    for (int64_t i = 0; i < OVERLAPPING; i++) {
        views[i] = view_of(data, length, 0, offset);
    }
}

static void test_views_that_overlap(void) {
    struct ArrowSchema column = type("vu", "x");
    struct bed bed = open_bed(&column);
    struct bc_view *views = calloc(OVERLAPPING, sizeof(*views));
    uint8_t *data = malloc(TEXT_BYTES);
    static const int64_t sizes[] = {TEXT_BYTES};
    for (int64_t i = 0; i < TEXT_BYTES; i++) data[i] = i % 2 == 0 ? 0xC3 : 0xBC;
    fill(&bed, 1, 0, OVERLAPPING, NULL, views, data);
    node_of(&bed, 1)->n_buffers = 4;
    node_of(&bed, 1)->buffers[3] = sizes;
    overlap(views, data, 0, TEXT_BYTES);
    accept(&bed);
    overlap(views, data, 2, TEXT_BYTES - 4);
    accept(&bed);
    /* A character cut at its start, or at its end, by the last view, or the second. */
    static const int64_t rows[] = {1, OVERLAPPING - 1};
    for (int i = 0; i < 2; i++) {
        views[rows[i]] = view_of(data, TEXT_BYTES - 3, 0, 1);
        refuse(&bed, "x", rows[i], "UTF-8");
        views[rows[i]] = view_of(data, TEXT_BYTES - 3, 0, 2);
        refuse(&bed, "x", rows[i], "UTF-8");
        views[rows[i]] = view_of(data, TEXT_BYTES - 2, 0, 2);
        accept(&bed);
    }
    /* What no view shows may be anything, as long as there is not too much overlap. */
    data[0] = 0xFF;
    for (int64_t i = 20; i < OVERLAPPING; i++) views[i] = view_of(data, 100, 0, 2);
    accept(&bed);
    data[TEXT_BYTES / 2] = 'x';
    refuse(&bed, "x", 0, "UTF-8");
    data[TEXT_BYTES / 2] = 0xC3;
    overlap(views, data, 2, TEXT_BYTES - 4);
    refuse(&bed, "x", 50, "too often");
    free(data);
    free(views);
    close_bed(&bed);
}

static void test_list_views(void) {
    for (int wide = 0; wide < 2; wide++) {
        struct ArrowSchema item = type("n", "item");
        struct ArrowSchema *children[] = {&item};
        struct ArrowSchema column = type(wide ? "+vL" : "+vl", "x");
        column.n_children = 1;
        column.children = children;
        struct bed bed = open_bed(&column);
        int32_t bits = wide ? 64 : 32;
        node_of(&bed, 2)->length = 5;
        node_of(&bed, 2)->null_count = 5;
        const int64_t most = wide ? INT64_MAX : INT32_MAX;
        const struct {
            int64_t offset, size;
            const char *words; /* NULL: right */
        } table[] = {{0, 5, NULL},        {5, 0, NULL},        {2, 3, NULL},
                     {-1, 1, "negative"}, {1, -1, "negative"}, {-most, most, "negative"},
                     {2, 4, "beyond"},    {6, 0, "beyond"},    {most, most, "beyond"},
                     {0, most, "beyond"}, {most, 0, "beyond"}};
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) * N_PLACES; i++) {
            int place = (int)(i % N_PLACES);
            size_t t = i / N_PLACES;
            int64_t offsets[ALL] = {0};
            int64_t sizes[ALL] = {0};
            bc__integer_set(offsets, bits, position_of(place), table[t].offset);
            bc__integer_set(sizes, bits, position_of(place), table[t].size);
            fill(&bed, 1, offset_of(place), ROWS, NULL, offsets, sizes);
            if (table[t].words == NULL) {
                accept(&bed);
            } else {
                refuse(&bed, "x", row_of(place), table[t].words);
            }
        }
        close_bed(&bed);
    }
}

static void test_indices(void) {
    static const char formats[] = "cCsSiIlL";
    for (size_t f = 0; f < 8; f++) {
        size_t width = (size_t)1 << f / 2;
        char format[] = {formats[f], '\0'};
        struct ArrowSchema values = type("n", NULL);
        struct ArrowSchema column = type(format, "x");
        column.dictionary = &values;
        struct bed bed = open_bed(&column);
        node_of(&bed, 2)->length = 100;
        for (int place = 0; place < N_PLACES; place++) {
            static const uint64_t wrong[] = {100, 127, 128, 255, UINT64_MAX};
            uint64_t index = 99;
            uint8_t *indices = calloc(ALL, width);
            uint8_t *own = indices + (size_t)position_of(place) * width;
            uint8_t bitmap[2] = {0xFF, 0xFF};
            struct bc_node *node = node_of(&bed, 1);
            memcpy(own, &index, width);
            fill(&bed, 1, offset_of(place), ROWS, NULL, indices, NULL);
            accept(&bed);
            clear_bit(bitmap, position_of(place));
            for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                memcpy(own, &wrong[i], width);
                refuse(&bed, "x", row_of(place), "dictionary");
                node->buffers[0] = bitmap;
                node->null_count = 1;
                accept(&bed);
                node->buffers[0] = NULL;
                node->null_count = 0;
            }
            /* The highest bit alone: negative, or too much. */
            memset(own, 0, width);
            own[width - 1] = 0x80;
            refuse(&bed, "x", row_of(place), "dictionary");
            free(indices);
        }
        node_of(&bed, 2)->length = 0;
        static const uint64_t zeros[ROWS];
        fill(&bed, 1, 0, ROWS, NULL, zeros, NULL);
        refuse(&bed, "x", 0, "dictionary");
        fill(&bed, 1, 0, 0, NULL, NULL, NULL);
        accept(&bed);
        close_bed(&bed);
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
