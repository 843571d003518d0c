/* The disk tier alone: it stores batches and reads them. */
#include <unistd.h>

#include "base/slab.h"
#include "counting_source.h"
#include "disk/disk.h"
#include "replay/export.h"

enum { BATCHES = 12, ROWS = 3000 };

/* The mapping of a growing file is replaced often. Batches and dictionaries in older
 * mappings stay valid. */
static void test_mappings_are_replaced(void) {
    char *path = new_directory();
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct ArrowSchema c_schema;
    struct bc_schema *schema;
    CHECK(counting_source_schema(NULL, &c_schema) == 0);
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    struct bc_disk disk;
    const struct bc_disk_options options = {
        .path = path, .capacity = BC_BYTES_DEFAULT, .checksums = true};
    CHECK(bc__disk_open(&disk, schema, &options, NULL) == 0);
    const uint64_t columns = UINT64_MAX;
    const struct bc_tier_read whole = {NULL, &columns, 0, 0};
    const struct bc_tier_read verified = {NULL, NULL, 0, 0};
    struct bc_slab *slab = NULL;
    struct bc_buffer_ranges ranges = {0};
    struct bc_tier *tier = &disk.tier;
    struct bc_extent extents[BATCHES];
    struct ArrowArray held[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        struct ArrowArray array;
        struct bc_batch *batch;
        counting_source_make_batch(&source, i, &array);
        CHECK(bc__batch_new(schema, &array, 0, &slab, &batch, NULL) == 0);
        CHECK(bc__buffer_ranges_of_batch(&ranges, schema, batch, NULL) == 0);
        const struct bc_tier_write write = {batch, &ranges, false, NULL};
        CHECK(tier->ops->append(tier, &write, &extents[i], NULL) == 0);
        CHECK(extents[i].offset % 64 == 0 && extents[i].size % 64 == 0);
        tier->ops->release_retired(tier, false);
        bc__batch_unref(batch);
        struct bc_batch *back;
        CHECK(bc__disk_read(tier, extents[i], 0, whole, &back, NULL) == 0);
        CHECK(bc__export_batch(schema, NULL, back, NULL, &held[i]) == 0);
    }
    for (int i = BATCHES - 1; i >= 0; i--) {
        struct bc_batch *back;
        struct ArrowArray array;
        CHECK(bc__disk_read(tier, extents[i], 0, verified, &back, NULL) == 0);
        CHECK(bc__export_batch(schema, NULL, back, NULL, &array) == 0);
        counting_source_check(&source, &array, i);
    }
    tier->ops->release_retired(tier, true);
    CHECK(source.arrays_alive == 0);
    bc__disk_close(&disk);
    for (int i = 0; i < BATCHES; i++) counting_source_check(&source, &held[i], i);
    bc__disk_finish(&disk);
    bc__buffer_ranges_finish(&ranges);
    bc__slab_finish(&slab);
    bc__schema_free(schema);
    CHECK(rmdir(path) == 0);
    free(path);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_mappings_are_replaced)};
    return TAP_RUN(cases);
}
