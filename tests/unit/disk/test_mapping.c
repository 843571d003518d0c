/* The mapping of a growing file: it covers the growth, and is replaced seldom. */
#include "disk/mapping.h"
#include "recording_dir.h"

enum { STEP = 1 << 16, STEPS = 64 };

static struct bc_region *get(struct bc_mapping *mapping, int64_t end) {
    struct bc_region *region;
    CHECK(bc__mapping_get(mapping, end, &region, NULL) == 0);
    CHECK(region->size >= (size_t)end);
    return region;
}

static void test_growing_file(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    int file = open(dir.path, O_RDWR | O_CREAT, 0600);
    struct bc_mapping mapping;
    CHECK(bc__mapping_init(&mapping, file, dir.path) == 0);
    struct bc_region *first = NULL;
    const struct bc_region *last = NULL;
    int replaced = 0;
    for (int i = 0; i < STEPS; i++) {
        const char letter = (char)('a' + i % 26);
        int64_t end = (int64_t)(i + 1) * STEP;
        CHECK(pwrite(file, &letter, 1, end - 1) == 1);
        struct bc_region *region = get(&mapping, end);
        CHECK(*bc__region_at(region, end - 1) == letter);
        replaced += region != last;
        last = region;
        if (first == NULL) {
            first = region;
        } else {
            bc__region_unref(region);
        }
    }
    /* Each mapping is at least twice as large as the one before. */
    CHECK(replaced > 1 && replaced <= 8);
    /* A smaller end has the same mapping. A mapping that was replaced stays valid. */
    struct bc_region *small = get(&mapping, 1);
    CHECK(small == last && *bc__region_at(first, STEP - 1) == 'a');
    bc__mapping_clear(&mapping);
    CHECK(*bc__region_at(small, STEP - 1) == 'a');
    struct bc_region *again = get(&mapping, STEP);
    CHECK(again->size >= (size_t)STEPS * STEP); /* all of the file */
    bc__region_unref(again);
    bc__region_unref(small);
    bc__region_unref(first);
    bc__mapping_finish(&mapping);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

static void test_an_end_that_cannot_be_mapped(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    int file = open(dir.path, O_RDWR | O_CREAT, 0600);
    struct bc_mapping mapping;
    struct bc_error error = {0};
    struct bc_region *region = NULL;
    CHECK(bc__mapping_init(&mapping, file, dir.path) == 0);
    int code = bc__mapping_get(&mapping, INT64_MAX / 2, &region, &error);
    CHECK(code != 0 && error.code == code && region == NULL);
    CHECK(strstr(error.message, "cannot be mapped") != NULL);
    /* The next call is not affected. */
    CHECK(pwrite(file, "x", 1, 0) == 1);
    region = get(&mapping, 1);
    CHECK(*bc__region_at(region, 0) == 'x');
    bc__region_unref(region);
    bc__mapping_finish(&mapping);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_growing_file),
        TAP_CASE(test_an_end_that_cannot_be_mapped),
    };
    return TAP_RUN(cases);
}
