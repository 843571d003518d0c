/* Reads of sparse files if no further descriptor is available: without /proc, or at the
 * limit of the process. */
#include <sys/resource.h>

#include "base/sys.h"
#include "recording_dir.h"

enum { SIZE = 64 << 20, POSITION = 12345 };

/* A file of zeros, with a byte at its start, one in the middle and one at its end. */
static int open_sparse(const struct recording_dir *dir) {
    int file = open(dir->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0);
    CHECK(pwrite(file, "a", 1, 0) == 1 && pwrite(file, "b", 1, SIZE / 2) == 1);
    CHECK(pwrite(file, "c", 1, SIZE - 1) == 1);
    CHECK(lseek(file, POSITION, SEEK_SET) == POSITION);
    return file;
}

/* Returns true if the file system has holes. */
static bool has_holes(int file) {
    struct stat status;
    CHECK(fstat(file, &status) == 0);
    return (int64_t)status.st_blocks * 512 < SIZE / 4;
}

static void check_reads(int file) {
    uint8_t *bytes = calloc(1, SIZE);
    CHECK(bytes != NULL);
    size_t got = 0;
    CHECK(bc__sys_bytes_before_hole(file, 0, SIZE) < SIZE / 4);
    CHECK(bc__sys_read(file, bytes, SIZE, 0, &got) == 0 && got < SIZE / 4);
    CHECK(bc__sys_read_over_holes(file, bytes, SIZE, 0, &got) == 0 && got == SIZE);
    CHECK(bytes[0] == 'a' && bytes[SIZE / 2] == 'b' && bytes[SIZE - 1] == 'c');
    /* The position must stay: the descriptor may be the user's. */
    CHECK(lseek(file, 0, SEEK_CUR) == POSITION);
    free(bytes);
}

static void test_reads_without_another_descriptor(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    int file = open_sparse(&dir);
    if (has_holes(file)) {
        check_reads(file);
        struct rlimit before;
        CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
        struct rlimit none = {0, before.rlim_max};
        CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
        check_reads(file);
        CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    }
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_reads_without_another_descriptor),
    };
    return TAP_RUN(cases);
}
