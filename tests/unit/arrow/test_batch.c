/* Imports of batches: refusals, folded offsets and realigned buffers. Exports, whose
 * children are released in any order. */
#include "arrow/batch.h"
#include "arrow/buffer_ranges.h"
#include "base/slab.h"
#include "counting_source.h"
#include "replay/export.h"

static struct bc_schema *schema_of_source(void) {
    struct ArrowSchema schema;
    struct bc_schema *own;
    CHECK(counting_source_schema(NULL, &schema) == 0);
    CHECK(bc__schema_new(&schema, &own, NULL) == 0);
    schema.release(&schema);
    return own;
}

/* Breaks a valid batch with `spoil`. Checks that the import refuses it and leaves it to
 * the caller. */
static void refuse(void (*spoil)(struct ArrowArray *), const char *words) {
    struct bc_schema *schema = schema_of_source();
    struct counting_source source;
    counting_source_init(&source, 1, 10);
    struct ArrowArray array;
    counting_source_make_batch(&source, 0, &array);
    struct ArrowArray root = array;
    struct ArrowArray children[3] = {*array.children[0], *array.children[1],
                                     *array.children[2]};
    struct ArrowArray *pointers[3] = {&children[0], &children[1], &children[2]};
    root.children = pointers;
    spoil(&root);
    struct bc_batch *batch = NULL;
    struct bc_slab *slab = NULL;
    struct bc_error error = {0};
    CHECK(bc__batch_new(schema, &root, 7, &slab, &batch, &error) == EINVAL);
    if (strstr(error.message, words) == NULL) printf("# %s\n", error.message);
    CHECK(strstr(error.message, words) != NULL &&
          strstr(error.message, "Batch 7") != NULL);
    CHECK(batch == NULL && root.release != NULL);
    array.release(&array);
    CHECK(source.arrays_alive == 0);
    bc__slab_finish(&slab);
    bc__schema_free(schema);
}

static void spoil_length(struct ArrowArray *a) { a->length = -1; }
static void spoil_offset(struct ArrowArray *a) { a->children[0]->offset = -1; }
static void spoil_beyond(struct ArrowArray *a) { a->children[0]->length = 9; }
static void spoil_huge(struct ArrowArray *a) { a->offset = INT64_MAX; }
static void spoil_nulls(struct ArrowArray *a) { a->children[0]->null_count = 11; }
static void spoil_bitmap(struct ArrowArray *a) {
    static const void *buffers[2];
    buffers[1] = a->children[0]->buffers[1];
    a->children[0]->buffers = buffers;
    a->children[0]->null_count = 3;
}
static void spoil_buffers(struct ArrowArray *a) { a->children[1]->n_buffers = 2; }
static void spoil_missing(struct ArrowArray *a) {
    static const void *buffers[2] = {NULL, NULL};
    a->children[0]->buffers = buffers;
}
static void spoil_children(struct ArrowArray *a) { a->n_children = 1; }
static void spoil_child(struct ArrowArray *a) { a->children[1] = NULL; }
static void spoil_no_dictionary(struct ArrowArray *a) {
    a->children[2]->dictionary = NULL;
}
static void spoil_dictionary(struct ArrowArray *a) {
    a->children[0]->dictionary = a->children[1];
}
static void spoil_rows(struct ArrowArray *a) {
    static const uint8_t bitmap[2] = {0xFF, 0x01};
    static const void *buffers[1] = {bitmap};
    a->buffers = buffers;
    a->null_count = -1;
}

static void test_refuses_what_the_schema_does_not_say(void) {
    refuse(spoil_length, "negative");
    refuse(spoil_offset, "negative");
    refuse(spoil_beyond, "shorter than its parent");
    refuse(spoil_huge, "longer than memory");
    refuse(spoil_nulls, "null count");
    refuse(spoil_bitmap, "no validity bitmap");
    refuse(spoil_buffers, "number of buffers");
    refuse(spoil_missing, "buffer is missing");
    refuse(spoil_children, "number of children");
    refuse(spoil_child, "child is missing");
    refuse(spoil_no_dictionary, "its dictionary is missing");
    refuse(spoil_dictionary, "a dictionary that its type has not");
    refuse(spoil_rows, "rows themselves have nulls");
}

static void test_offset_of_the_rows_goes_to_the_columns(void) {
    struct bc_schema *schema = schema_of_source();
    struct counting_source source;
    counting_source_init(&source, 1, 10);
    struct ArrowArray array;
    counting_source_make_batch(&source, 0, &array);
    /* The rows have a validity bitmap, in which the rows before the offset are null. */
    static const uint8_t bitmap[2] = {0xF0, 0x03};
    static const void *root_buffers[1] = {bitmap};
    array.buffers = root_buffers;
    array.null_count = -1;
    array.offset = 4;
    array.length = 3;
    struct bc_batch *batch;
    struct bc_slab *slab = NULL;
    CHECK(bc__batch_new(schema, &array, 0, &slab, &batch, NULL) == 0 &&
          array.release == NULL);
    CHECK(batch->nodes[0].offset == 0 && batch->nodes[0].length == 3);
    CHECK(batch->nodes[0].buffers[0] == NULL && batch->nodes[0].null_count == 0);
    CHECK(batch->nodes[2].offset == 4 && batch->nodes[2].length == 3);
    CHECK(batch->nodes[2].null_count == -1);
    /* Rows 4 to 6: three int64; one null of "row 4", "row 5", so 10 bytes of text; three
     * indices. */
    struct bc_buffer_ranges ranges = {0};
    CHECK(bc__buffer_ranges_of_batch(&ranges, schema, batch, NULL) == 0);
    int64_t bytes = 0;
    for (size_t i = 0; i < ranges.n_ranges; i++) bytes += ranges.ranges[i].bytes;
    CHECK(bytes == 3 * 8 + 1 + 4 * 4 + 10 + 3 * 4);
    bc__buffer_ranges_finish(&ranges);
    bc__batch_unref(batch);
    CHECK(source.arrays_alive == 0);
    bc__slab_finish(&slab);
    bc__schema_free(schema);
}

static void test_folded_text_ends_with_its_array(void) {
    struct bc_schema *schema = schema_of_source();
    struct counting_source source;
    counting_source_init(&source, 1, 10);
    struct ArrowArray array;
    counting_source_make_batch(&source, 0, &array);
    int32_t offsets[11] = {0};
    memcpy(offsets, array.children[1]->buffers[1], sizeof(offsets));
    offsets[5] = 1 << 20;
    array.children[1]->buffers[1] = offsets;
    /* The wrong offset is at the last row, in the middle of the column. */
    array.length = 5;
    struct bc_batch *batch;
    struct bc_slab *slab = NULL;
    struct bc_error error = {0};
    CHECK(bc__batch_new(schema, &array, 3, &slab, &batch, &error) == EINVAL);
    CHECK(strstr(error.message, "Batch 3 ") != NULL);
    CHECK(strstr(error.message, "'s'") != NULL);
    array.release(&array);
    bc__slab_finish(&slab);
    bc__schema_free(schema);
}

static void test_misaligned_buffers_are_copied(void) {
    struct bc_schema *schema = schema_of_source();
    struct counting_source source;
    counting_source_init(&source, 1, 10);
    struct ArrowArray array;
    counting_source_make_batch(&source, 0, &array);
    char *odd = malloc(10 * 8 + 1);
    memcpy(odd + 1, array.children[0]->buffers[1], 80);
    array.children[0]->buffers[1] = odd + 1;
    const void *kept = array.children[1]->buffers[2];
    struct bc_batch *batch;
    struct bc_slab *slab = NULL;
    CHECK(bc__batch_new(schema, &array, 0, &slab, &batch, NULL) == 0);
    const void *copied = batch->nodes[1].buffers[1];
    CHECK((uintptr_t)copied % 8 == 0 && memcmp(copied, odd + 1, 80) == 0);
    CHECK(batch->nodes[2].buffers[2] == kept);
    struct ArrowArray out;
    CHECK(bc__export_batch(schema, NULL, batch, NULL, &out) == 0);
    counting_source_check(&source, &out, 0);
    free(odd);
    bc__slab_finish(&slab);
    bc__schema_free(schema);
}

/* Moves the children out, as a consumer may, and releases them in the order of
 * `order`. */
static void release_in(const int *order) {
    struct bc_schema *schema = schema_of_source();
    struct counting_source source;
    counting_source_init(&source, 1, 10);
    struct ArrowArray array;
    counting_source_make_batch(&source, 0, &array);
    struct bc_batch *batch;
    struct bc_slab *slab = NULL;
    CHECK(bc__batch_new(schema, &array, 0, &slab, &batch, NULL) == 0);
    struct ArrowArray parts[3];
    CHECK(bc__export_batch(schema, NULL, batch, NULL, &parts[0]) == 0);
    for (int c = 0; c < 2; c++) {
        parts[c + 1] = *parts[0].children[c];
        parts[0].children[c]->release = NULL;
    }
    for (int i = 0; i < 3; i++) {
        CHECK(source.arrays_alive == 1);
        struct ArrowArray *part = &parts[order[i]];
        part->release(part);
        CHECK(part->release == NULL);
    }
    CHECK(source.arrays_alive == 0);
    bc__slab_finish(&slab);
    bc__schema_free(schema);
}

static void test_parts_are_released_in_any_order(void) {
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 6; i++) release_in(orders[i]);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_refuses_what_the_schema_does_not_say),
        TAP_CASE(test_offset_of_the_rows_goes_to_the_columns),
        TAP_CASE(test_folded_text_ends_with_its_array),
        TAP_CASE(test_misaligned_buffers_are_copied),
        TAP_CASE(test_parts_are_released_in_any_order)};
    return TAP_RUN(cases);
}
