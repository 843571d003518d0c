/* The cache file: messages are collected in blocks and written, and unused pages are
 * punched. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counting_source.h"
#include "disk/file.h"

enum { MESSAGES = 600 };

static int64_t size_of(int i) { return 64 * (1 + i * 37 % 200); }

static void fill(uint8_t *out, int i) { memset(out, 1 + i % 250, (size_t)size_of(i)); }

static bool is_message(const uint8_t *bytes, int i) {
    for (int64_t b = 0; b < size_of(i); b++) {
        if (bytes[b] != 1 + i % 250) return false;
    }
    return true;
}

static void append(struct bc_file *file, int i, bool more, int64_t *out_offset) {
    static uint8_t bytes[64 * 200];
    fill(bytes, i);
    size_t half = (size_t)size_of(i) / 2;
    const struct bc_iovec iovecs[] = {{bytes, half}, {bytes + half, half}};
    CHECK(bc__file_append(file, iovecs, 2, size_of(i), more, out_offset, NULL) == 0);
}

/* Checks that message `i` is at its offset, in the file or in a held block. */
static void check_message(struct bc_file *file, int i, int64_t offset,
                          struct bc_region **out_block) {
    struct bc_region *block = bc__file_collected(file, offset);
    if (block != NULL) {
        CHECK(is_message(bc__region_at(block, offset), i));
    } else {
        static uint8_t bytes[64 * 200];
        CHECK(pread(file->file, bytes, (size_t)size_of(i), offset) == size_of(i));
        CHECK(is_message(bytes, i));
    }
    if (out_block != NULL) {
        *out_block = block;
    } else {
        bc__region_unref(block);
    }
}

/* Each message can be read at any time: in the file, in a pending block or in a block
 * written since. */
static void test_messages_are_collected(void) {
    char *path = new_directory();
    for (int pattern = 1; pattern < 5; pattern++) {
        struct bc_file file;
        int64_t offsets[MESSAGES];
        struct bc_region *held[MESSAGES];
        int64_t end = 0;
        int waited = 0;
        CHECK(bc__file_create(&file, path, BC_BYTES_DEFAULT, false, NULL) == 0);
        for (int i = 0; i < MESSAGES; i++) {
            append(&file, i, i % pattern != 0, &offsets[i]);
            CHECK(offsets[i] == end);
            end += size_of(i);
            for (int k = i < 9 ? 0 : i - 9; k <= i; k++) {
                check_message(&file, k, offsets[k], k == i ? &held[k] : NULL);
            }
            waited += held[i] != NULL;
            if (i % 97 == 50) CHECK(bc__file_flush(&file, NULL) == 0);
        }
        CHECK((waited > 0) == (pattern > 1));
        CHECK(bc__file_flush(&file, NULL) == 0);
        struct stat status;
        CHECK(fstat(file.file, &status) == 0 && status.st_size == end);
        for (int i = 0; i < MESSAGES; i++) {
            CHECK(bc__file_collected(&file, offsets[i]) == NULL);
            check_message(&file, i, offsets[i], NULL);
            if (held[i] == NULL) continue;
            CHECK(is_message(bc__region_at(held[i], offsets[i]), i));
            bc__region_unref(held[i]);
        }
        bc__file_finish(&file);
    }
    CHECK(rmdir(path) == 0);
    free(path);
}

static int64_t blocks_of(const struct bc_file *file) {
    struct stat status;
    CHECK(fstat(file->file, &status) == 0);
    return (int64_t)status.st_blocks * 512;
}

/* Many messages pass through a file that has room for a few. Pages in use are never
 * punched. */
static void test_room_is_given_back(void) {
    enum { WINDOW = 20, LIMIT = 300 * 1024 };
    char *path = new_directory();
    struct bc_file file;
    int64_t offsets[MESSAGES];
    CHECK(bc__file_create(&file, path, LIMIT, true, NULL) == 0);
    for (int i = 0; i < MESSAGES; i++) {
        append(&file, i, i % 3 != 0, &offsets[i]);
        if (i % 50 == 7)
            CHECK(bc__page_refs_add(file.page_refs, offsets[i], size_of(i)) == 0);
        if (i >= WINDOW)
            bc__file_release(&file, offsets[i - WINDOW], size_of(i - WINDOW));
        for (int k = i < WINDOW ? 0 : i - WINDOW + 1; k <= i; k++) {
            check_message(&file, k, offsets[k], NULL);
        }
        CHECK(bc__file_used(&file) <= LIMIT && blocks_of(&file) <= LIMIT);
    }
    CHECK((uint64_t)atomic_load(&file.size) > 10 * bc__file_used(&file));
    CHECK(bc__file_flush(&file, NULL) == 0);
    for (int i = 7; i < MESSAGES; i += 50) {
        check_message(&file, i, offsets[i], NULL);
        bc__page_refs_remove(file.page_refs, offsets[i], size_of(i));
    }
    for (int i = MESSAGES - WINDOW; i < MESSAGES; i++) {
        bc__file_release(&file, offsets[i], size_of(i));
    }
    bc__page_refs_reclaim(file.page_refs);
    CHECK(bc__file_used(&file) <= 4096 && blocks_of(&file) <= 4096);
    bc__file_finish(&file);
    CHECK(rmdir(path) == 0);
    free(path);
}

/* A batch may outlive the file from which it was read. */
static void test_uses_outlive_the_file(void) {
    char *path = new_directory();
    struct bc_file file;
    int64_t offset;
    CHECK(bc__file_create(&file, path, BC_BYTES_DEFAULT, true, NULL) == 0);
    append(&file, 199, false, &offset);
    struct bc_page_refs *page_refs = bc__page_refs_ref(file.page_refs);
    CHECK(bc__page_refs_add(page_refs, offset, size_of(199)) == 0);
    bc__file_finish(&file);
    bc__page_refs_remove(page_refs, offset, size_of(199));
    bc__page_refs_unref(page_refs);
    CHECK(rmdir(path) == 0);
    free(path);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_messages_are_collected),
                                            TAP_CASE(test_room_is_given_back),
                                            TAP_CASE(test_uses_outlive_the_file)};
    return TAP_RUN(cases);
}
