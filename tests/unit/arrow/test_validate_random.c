/* Batches damaged at random. A batch that passes the validation can be read. */
#include "arrow/buffer_ranges.h"
#include "arrow/values.h"
#include "column.h"

/* A struct of many kinds, whose buffers are damaged at random. */
enum { N_KINDS = 7, RUNS = 3, DAMAGES = 200000 };

struct damaged {
    int32_t offsets[ROWS + 1];
    struct bc_view views[ROWS];
    int32_t list_offsets[ROWS + 1];
    int32_t view_offsets[ROWS];
    int32_t view_sizes[ROWS];
    int8_t ids[ROWS];
    int32_t union_offsets[ROWS];
    int16_t run_ends[RUNS];
    uint8_t indices[ROWS];
    uint8_t validity[2];
    uint8_t text[ROWS * 4];
};

static struct column open_damaged(void) {
    static const char *const formats[N_KINDS] = {"u",       "vu", "+l", "+vl",
                                                 "+ud:1,2", "+r", "C"};
    struct ArrowSchema kinds[N_KINDS];
    struct ArrowSchema *pointers[N_KINDS];
    struct ArrowSchema below = column_type("n", "below");
    struct ArrowSchema ends = column_type("s", "ends");
    struct ArrowSchema *one[] = {&below};
    struct ArrowSchema *two[] = {&below, &below};
    struct ArrowSchema *runs[] = {&ends, &below};
    for (int i = 0; i < N_KINDS; i++) {
        kinds[i] = column_type(formats[i], formats[i]);
        kinds[i].n_children = i < 2 || i == 6 ? 0 : i < 4 ? 1 : 2;
        kinds[i].children = i == 5 ? runs : i == 4 ? two : one;
        pointers[i] = &kinds[i];
    }
    kinds[6].dictionary = &below;
    struct ArrowSchema schema = column_type("+s", "x");
    schema.n_children = N_KINDS;
    schema.children = pointers;
    return column_open(&schema);
}

static void fill_damaged(struct column *column, struct damaged *all) {
    static const int64_t size[1] = {sizeof(all->text)};
    memset(all, 0, sizeof(*all));
    for (int32_t i = 0; i < ROWS; i++) {
        memcpy(all->text + 4 * i, i % 2 == 0 ? "\xC3\xBC\xC3\xBC" : "text", 4);
        all->offsets[i + 1] = 4 * (i + 1);
        all->list_offsets[i + 1] = i;
        all->view_offsets[i] = i;
        all->ids[i] = (int8_t)(1 + i % 2);
        all->union_offsets[i] = i / 2;
        all->indices[i] = (uint8_t)i;
    }
    for (int32_t i = 0; i < RUNS; i++) all->run_ends[i] = (int16_t)(3 * (i + 1));
    for (int32_t i = 0; i < ROWS; i++) {
        all->views[i] = (struct bc_view){.length = 4 * (i + 1)};
        memcpy(all->views[i].prefix, all->text, 4);
        if (i < 3) memcpy((uint8_t *)&all->views[i] + 4, all->text, 4 * (size_t)(i + 1));
    }
    memset(all->validity, 0xFF, sizeof(all->validity));
    clear_bit(all->validity, 4);
    column_fill(column, 1, 0, ROWS, NULL, NULL, NULL);
    column_fill(column, 2, 0, ROWS, all->validity, all->offsets, all->text);
    column_fill(column, 3, 0, ROWS, NULL, all->views, all->text);
    column_node(column, 3)->n_buffers = 4;
    column_node(column, 3)->buffers[3] = size;
    column_fill(column, 4, 0, ROWS, NULL, all->list_offsets, NULL);
    column_fill(column, 5, 0, ROWS, NULL, all->view_offsets, all->view_sizes);
    column_fill(column, 6, 0, ROWS, all->ids, all->union_offsets, NULL);
    column_fill(column, 7, 0, ROWS, NULL, NULL, NULL);
    column_fill(column, 8, 0, ROWS, all->validity, all->indices, NULL);
    column_node(column, 2)->null_count = column_node(column, 8)->null_count = 1;
    for (int32_t i = 9; i < column->schema->n_fields; i++) {
        column_node(column, i)->length = column_node(column, i)->null_count = ROWS;
    }
    int32_t ends = column->schema->fields[7].first_child;
    column_node(column, ends)->null_count = 0;
    column_fill(column, ends, 0, RUNS, NULL, all->run_ends, NULL);
}

/* Reads every value, as a consumer would, so that a sanitizer checks the reads. */
static uint32_t read_text(const struct damaged *all) {
    uint32_t sum = 0;
    for (int64_t i = 0; i < ROWS; i++) {
        const struct bc_view *view = &all->views[i];
        for (int32_t at = all->offsets[i]; at < all->offsets[i + 1]; at++) {
            sum += all->text[at];
        }
        if (view->length <= BC_VIEW_INLINE_MAX) continue;
        for (int32_t at = 0; at < view->length; at++) {
            sum += all->text[view->offset + at];
        }
    }
    return sum;
}

/* Checks a valid batch with the buffer ranges, which are found in another way. */
static void test_random_damage(void) {
    struct column column = open_damaged();
    struct damaged *all = malloc(sizeof(*all));
    struct bc_buffer_ranges ranges = {0};
    uint64_t state = 12345;
    int64_t accepted = 0;
    fill_damaged(&column, all);
    column_accept(&column);
    for (int i = 0; i < DAMAGES; i++) {
        for (int n = 0; n <= i % 3; n++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            size_t at = (size_t)(state >> 40) % sizeof(*all);
            ((uint8_t *)all)[at] =
                (uint8_t)((state >> 33) % 7 == 0 ? state >> 20 : state >> 33 & 7);
        }
        /* Does the decoder's checks before the validation. */
        all->offsets[ROWS] = sizeof(all->text);
        if (bc__validate_batch(column.schema, NULL, column.batch, NULL) == 0) {
            accepted++;
            CHECK(bc__buffer_ranges_of_batch(&ranges, column.schema, column.batch,
                                             NULL) == 0);
            CHECK(read_text(all) < UINT32_MAX);
        }
        fill_damaged(&column, all);
    }
    printf("# %lld of %d were accepted\n", (long long)accepted, DAMAGES);
    CHECK(accepted > DAMAGES / 100 && accepted < DAMAGES / 2);
    bc__buffer_ranges_finish(&ranges);
    free(all);
    column_close(&column);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_random_damage)};
    return TAP_RUN(cases);
}
