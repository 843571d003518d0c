/* Regions of a file in memory: mappings, blocks and zeros, and the bytes at an offset. */
#include "disk/region.h"
#include "recording_dir.h"

enum { SIZE = 10000, LARGE = 1 << 20 };

static void test_a_mapping_has_the_bytes_of_the_file(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    char bytes[SIZE];
    for (int i = 0; i < SIZE; i++) bytes[i] = (char)(i % 251);
    file_write(dir.path, bytes, sizeof(bytes));
    int file = open(dir.path, O_RDONLY);
    struct bc_region *region;
    CHECK(bc__region_map(file, dir.path, SIZE, &region) == 0);
    CHECK(close(file) == 0 && region->is_mapping && region->offset == 0);
    CHECK(bc__region_ref(region) == region);
    bc__region_unref(region);
    CHECK(memcmp(bc__region_at(region, 0), bytes, SIZE) == 0);
    CHECK(*bc__region_at(region, 4099) == 4099 % 251);
    CHECK(bc__region_at(region, SIZE - 1) == bc__region_at(region, 0) + SIZE - 1);
    bc__region_unref(region);
    recording_dir_finish(&dir);
}

static void test_no_mapping_of_a_pipe(void) {
    struct bc_region *region = NULL;
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(bc__region_map(ends[0], "none", SIZE, &region) != 0 && region == NULL);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* A block is aligned, and its first byte has an offset of the file. */
static void check_block(struct bc_region *block, size_t size) {
    CHECK(block != NULL && !block->is_mapping && block->size == size);
    uint8_t *bytes = bc__region_bytes(block);
    CHECK((uintptr_t)bytes % 64 == 0 && bytes == block->memory);
    memset(bytes, 0x5a, size);
    block->offset = 5000;
    CHECK(bc__region_at(block, 5000) == bytes);
    CHECK(bc__region_at(block, 5000 + (int64_t)size - 1) == bytes + size - 1);
    bc__region_unref(block);
}

static void test_blocks(void) {
    static const size_t sizes[] = {1, 63, 64, SIZE, LARGE};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        check_block(bc__region_block(sizes[i]), sizes[i]);
        struct bc_region *zeros = bc__region_zeros(sizes[i]);
        CHECK(zeros != NULL);
        for (size_t k = 0; k < sizes[i]; k++) CHECK(zeros->memory[k] == 0);
        check_block(zeros, sizes[i]);
    }
    CHECK(bc__region_zeros(SIZE_MAX) == NULL);
    bc__region_unref(NULL);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_a_mapping_has_the_bytes_of_the_file),
        TAP_CASE(test_no_mapping_of_a_pipe),
        TAP_CASE(test_blocks),
    };
    return TAP_RUN(cases);
}
