/* Holes of files. A file of many bytes may take few bytes on the disk. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

int bc__sys_punch(int file, int64_t offset, int64_t size) {
    bc_assert(file >= 0 && offset >= 0 && size > 0);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
#ifdef FALLOC_FL_PUNCH_HOLE
    while (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)size) != 0) {
        if (errno != EINTR) return bc__error_of_system(errno);
    }
    return 0;
#else
    return ENOTSUP;
#endif
}

/* Finds the first range of data in [at, end). Returns false if there is none, or if the
 * file system does not report holes. */
static bool find_data(int file, int64_t at, int64_t end, int64_t *out_start,
                      int64_t *out_end) {
    off_t start = lseek(file, (off_t)at, SEEK_DATA);
    if (start < 0 || start >= end) return false;
    off_t stop = lseek(file, start, SEEK_HOLE);
    if (stop < 0) return false;
    *out_start = start;
    *out_end = stop < end ? stop : end;
    return true;
}

/* A descriptor with a position that may move. Other code may use the position of `file`,
 * so a probe opens the file again if it can. */
struct probe {
    int file;
    bool is_own;
    off_t position; /* to restore, if not `is_own` */
};

/* Opens a probe. If the file cannot be opened again, the probe is `file` itself, and
 * close_probe restores its position. */
static struct probe open_probe(int file) {
    int another = bc__sys_open_again(file, NULL);
    if (another >= 0) return (struct probe){.file = another, .is_own = true};
    return (struct probe){.file = file, .position = lseek(file, 0, SEEK_CUR)};
}

static void close_probe(struct probe probe) {
    if (probe.is_own) {
        (void)close(probe.file);
    } else if (probe.position >= 0) {
        (void)lseek(probe.file, probe.position, SEEK_SET);
    }
}

size_t bc__sys_bytes_before_hole(int file, int64_t offset, size_t size) {
    enum { SMALL = 1 << 20, SHARE = 4 };
    if (size < SMALL) return size;
    struct probe probe = open_probe(file);
    int64_t end = offset + (int64_t)size;
    int64_t at = offset;
    int64_t first_hole = -1;
    int64_t wanted = (int64_t)size / SHARE;
    int64_t start;
    int64_t stop;
    while (wanted > 0 && find_data(probe.file, at, end, &start, &stop)) {
        if (start > at && first_hole < 0) first_hole = at;
        wanted -= stop - start;
        at = stop;
    }
    bool can_tell =
        wanted <= 0 || at >= end || lseek(probe.file, (off_t)at, SEEK_DATA) >= 0;
    can_tell = can_tell || errno == ENXIO;
    close_probe(probe);
    if (wanted <= 0 || !can_tell) return size;
    return (size_t)((first_hole < 0 ? at : first_hole) - offset);
}

int bc__sys_read_over_holes(int file, void *zeros, size_t size, int64_t offset,
                            size_t *out_size) {
    if (bc__sys_bytes_before_hole(file, offset, size) == size) {
        return bc__sys_read(file, zeros, size, offset, out_size);
    }
    int64_t end;
    int code = bc__sys_size(file, &end);
    if (code != 0) return code;
    *out_size = 0;
    if (end < offset || (uint64_t)(end - offset) < size) return 0;
    struct probe probe = open_probe(file);
    end = offset + (int64_t)size;
    int64_t at = offset;
    int64_t start;
    int64_t stop;
    while (code == 0 && find_data(probe.file, at, end, &start, &stop)) {
        size_t got;
        size_t wanted = (size_t)(stop - start);
        code = bc__sys_read(file, (char *)zeros + (start - offset), wanted, start, &got);
        if (code == 0 && got != wanted) code = EIO;
        at = stop;
    }
    close_probe(probe);
    if (code == 0) *out_size = size;
    return code;
}
