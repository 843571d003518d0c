/* A batch in a mapped file may change after it was measured. Writing it is then an error,
 * and never a write beyond the body. */
#include "arrow/values.h"
#include "column.h"
#include "ipc/body.h"

enum { VIEWS = 4, TEXT = 200, LENGTH = 20 };

/* Measures the batch, changes the bytes at `to`, and lays out the batch. */
static int lay_out(const struct column *column, void *to, const void *from, size_t size) {
    struct bc_buffer_ranges ranges;
    memset(&ranges, 0, sizeof(ranges));
    struct bc_body body;
    memset(&body, 0, sizeof(body));
    CHECK(bc__buffer_ranges_of_batch(&ranges, column->schema, column->batch, NULL) == 0);
    memcpy(to, from, size);
    CHECK(bc__body_reset(&body) == 0);
    int code = bc__body_lay_out(&body, column->schema, column->batch, &ranges, NULL);
    bc__body_finish(&body);
    bc__buffer_ranges_finish(&ranges);
    return code;
}

static void test_views(void) {
    static uint8_t text[TEXT];
    static const int64_t sizes[] = {TEXT};
    static const struct bc_view wrong[] = {
        {.length = TEXT + 1},
        {.length = INT32_MAX},
        {.length = LENGTH + 1},
        {.length = LENGTH - 1},
        {.length = LENGTH, .buffer = 1},
        {.length = LENGTH, .buffer = -1},
        {.length = LENGTH, .offset = -1},
        {.length = LENGTH, .offset = TEXT - LENGTH + 1}};
    struct ArrowSchema schema = column_type("vz", "x");
    struct column column = column_open(&schema);
    struct bc_view views[VIEWS];
    for (int i = 0; i < VIEWS; i++) {
        views[i] = (struct bc_view){.length = LENGTH, .offset = i};
    }
    column_fill(&column, 1, 0, VIEWS, NULL, views, text);
    column_node(&column, 1)->n_buffers = 4;
    column_node(&column, 1)->buffers[3] = sizes;
    struct bc_view *last = &views[VIEWS - 1];
    const struct bc_view good = *last;
    CHECK(lay_out(&column, last, &good, sizeof(good)) == 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(lay_out(&column, last, &wrong[i], sizeof(good)) == EINVAL);
        *last = good;
    }
    column_close(&column);
}

static void test_unions(void) {
    static const int8_t values[ROWS];
    static const int8_t wrong[] = {-1, INT8_MIN, 1, INT8_MAX};
    struct ArrowSchema children[] = {column_type("c", "a"), column_type("c", "b")};
    struct ArrowSchema *pointers[] = {&children[0], &children[1]};
    struct ArrowSchema schema = column_type("+ud:0,5", "x");
    schema.n_children = 2;
    schema.children = pointers;
    struct column column = column_open(&schema);
    int8_t ids[] = {0, 5, 0, 5};
    /* The offsets do not begin with 0, so they are written again. */
    static const int32_t offsets[] = {1, 1, 2, 2};
    column_fill(&column, 1, 0, 4, ids, offsets, NULL);
    column_fill(&column, 2, 0, ROWS, NULL, values, NULL);
    column_fill(&column, 3, 0, ROWS, NULL, values, NULL);
    CHECK(lay_out(&column, &ids[2], &ids[0], 1) == 0);
    for (size_t i = 0; i < sizeof(wrong); i++) {
        CHECK(lay_out(&column, &ids[2], &wrong[i], 1) == EINVAL);
        ids[2] = 0;
    }
    column_close(&column);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_views),
        TAP_CASE(test_unions),
    };
    return TAP_RUN(cases);
}
