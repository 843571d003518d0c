/* Open files: opening, identity, reading, writing, size, synchronisation. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

enum { IOVECS_PER_CALL = 256 };

int bc__sys_open(const char *path, bool writes, int *out_file) {
    bc_assert(path != NULL && out_file != NULL);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    /* O_NONBLOCK: opening a pipe must not wait. bc__sys_check_regular rejects it
     * later. */
    int flags = (writes ? O_RDWR | O_NOFOLLOW : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
    int file;
    do {
        file = open(path, flags);
    } while (file < 0 && errno == EINTR);
    if (file < 0) return bc__error_of_system(errno);
    *out_file = file;
    return 0;
}

int bc__sys_dup(int file, int *out_file) {
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    int copy = fcntl(file, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return bc__error_of_system(errno);
    *out_file = copy;
    return 0;
}

void bc__sys_close(int descriptor) {
    bc_assert(descriptor >= 0);
    (void)close(descriptor);
}

int bc__sys_check_regular(int file) {
    struct stat status;
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    if (fstat(file, &status) != 0) return bc__error_of_system(errno);
    if (S_ISDIR(status.st_mode)) return EISDIR;
    return S_ISREG(status.st_mode) ? 0 : ESPIPE;
}

static bool is_same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int bc__sys_identity(int file, struct bc_identity *out) {
    struct stat status;
    int code = bc__fault_call();
    if (code == 0 && fstat(file, &status) != 0) code = errno;
    if (code != 0) return bc__error_of_system(code);
    *out = (struct bc_identity){(uint64_t)status.st_dev, (uint64_t)status.st_ino};
    return 0;
}

bool bc__sys_is_name_of(const char *path, int file) {
    struct stat named;
    struct stat held;
    return lstat(path, &named) == 0 && fstat(file, &held) == 0 && is_same(&named, &held);
}

int bc__sys_open_again(int file, const char *path) {
    char self[40];
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", file);
    int another = open(self, O_RDONLY | O_CLOEXEC);
    if (another >= 0 || path == NULL) return another;
    /* The system may have no /proc. */
    struct stat held;
    struct stat named;
    another = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (another < 0) return -1;
    if (fstat(another, &named) == 0 && fstat(file, &held) == 0 &&
        is_same(&named, &held)) {
        return another;
    }
    (void)close(another);
    return -1;
}

void bc__sys_reopen(int file, const char *path) {
    int fresh = bc__sys_open_again(file, path);
    if (fresh < 0) return;
    (void)dup3(fresh, file, O_CLOEXEC);
    (void)close(fresh);
}

int bc__sys_read(int file, void *out, size_t size, int64_t offset, size_t *out_size) {
    bc_assert(file >= 0 && offset >= 0);
    size_t done = 0;
    size = bc__sys_bytes_before_hole(file, offset, size);
    while (done < size) {
        int code = bc__fault(BC_FAULT_SYS);
        if (code == BC_FAULT_KILL_HALF) bc__fault_kill();
        size_t wanted = code < 0 ? 1 : size - done;
        ssize_t got = -1;
        if (code > 0) {
            errno = code;
        } else {
            got = pread(file, (char *)out + done, wanted, (off_t)offset + (off_t)done);
        }
        if (got < 0) {
            if (errno == EINTR) continue;
            return bc__error_of_system(errno);
        }
        if (got == 0) break;
        done += (size_t)got;
    }
    *out_size = done;
    return 0;
}

/* Shortens `vectors` to `size` bytes. Returns their new count. */
static int shorten(struct iovec *vectors, int n, size_t size) {
    for (int i = 0; i < n; i++) {
        if (vectors[i].iov_len >= size) {
            vectors[i].iov_len = size;
            return i + 1;
        }
        size -= vectors[i].iov_len;
    }
    return n;
}

/* Applies an armed fault to a write. Returns an errno, or 0 and perhaps fewer bytes.
 * `out_kills`: the caller kills the process after the call. */
static int apply_fault(struct iovec *vectors, int *n, bool *out_kills) {
    int code = bc__fault(BC_FAULT_SYS);
    *out_kills = code == BC_FAULT_KILL_HALF;
    if (code >= 0) return code;
    size_t size = 0;
    for (int i = 0; i < *n; i++) size += vectors[i].iov_len;
    if (size > 0) *n = shorten(vectors, *n, *out_kills ? size / 2 : 1);
    return 0;
}

/* Writes up to IOVECS_PER_CALL iovecs by one system call, without the first `skip`
 * bytes. */
static ssize_t write_some(int file, const struct bc_iovec *iovecs, size_t n_iovecs,
                          size_t skip, int64_t offset) {
    struct iovec vectors[IOVECS_PER_CALL];
    int n = 0;
    for (size_t i = 0; i < n_iovecs && n < IOVECS_PER_CALL; i++) {
        if (iovecs[i].size == skip) {
            skip = 0;
            continue;
        }
        vectors[n].iov_base = (char *)(uintptr_t)iovecs[i].data + skip;
        vectors[n].iov_len = iovecs[i].size - skip;
        skip = 0;
        n++;
    }
    bool kills;
    int code = apply_fault(vectors, &n, &kills);
    if (code != 0) {
        errno = code;
        return -1;
    }
    ssize_t written = pwritev(file, vectors, n, (off_t)offset);
    if (kills) bc__fault_kill();
    return written;
}

/* Skips the iovecs that `*skip` bytes cover, and empty ones. */
static void skip_iovecs(const struct bc_iovec **iovecs, size_t *n_iovecs, size_t *skip) {
    while (*n_iovecs > 0 && *skip >= (*iovecs)->size) {
        *skip -= (*iovecs)->size;
        ++*iovecs;
        --*n_iovecs;
    }
}

int bc__sys_write(int file, const struct bc_iovec *iovecs, size_t n_iovecs, size_t skip,
                  int64_t offset) {
    bc_assert(file >= 0 && offset >= 0);
    offset += (int64_t)skip;
    skip_iovecs(&iovecs, &n_iovecs, &skip);
    while (n_iovecs > 0) {
        ssize_t written = write_some(file, iovecs, n_iovecs, skip, offset);
        if (written < 0) {
            if (errno == EINTR) continue;
            return bc__error_of_system(errno);
        }
        if (written == 0) return EIO;
        offset += written;
        skip += (size_t)written;
        skip_iovecs(&iovecs, &n_iovecs, &skip);
    }
    return 0;
}

int bc__sys_truncate(int file, int64_t size) {
    bc_assert(file >= 0 && size >= 0);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    while (ftruncate(file, (off_t)size) != 0) {
        if (errno != EINTR) return bc__error_of_system(errno);
    }
    return 0;
}

int bc__sys_size(int file, int64_t *out_size) {
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    struct stat status;
    if (fstat(file, &status) != 0) return bc__error_of_system(errno);
    *out_size = (int64_t)status.st_size;
    return 0;
}

int bc__sys_end(int file, int64_t *out_size) {
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    off_t end = lseek(file, 0, SEEK_END);
    if (end < 0) return bc__error_of_system(errno);
    *out_size = (int64_t)end;
    return 0;
}

/* Calls fdatasync, or fsync on a file system without it. Returns 0 or an errno. */
static int sync_data(int file) {
    if (fdatasync(file) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) return errno;
    return fsync(file) == 0 ? 0 : errno;
}

int bc__sys_sync(int file) {
    bc_assert(file >= 0);
    int code = bc__fault_call();
    if (code == 0) {
        do {
            code = sync_data(file);
        } while (code == EINTR);
    }
    if (code != 0) return bc__error_of_system(code);
    bc__fault_synced(file);
    return 0;
}

int bc__sys_publish_mode(int file) {
    /* umask() would change the mask for a moment, also for other threads. */
    mode_t mask = 0;
    FILE *status = fopen("/proc/self/status", "re");
    char line[128];
    bool found = false;
    while (status != NULL && !found && fgets(line, sizeof(line), status) != NULL) {
        unsigned value;
        found = sscanf(line, "Umask: %o", &value) == 1;
        if (found) mask = (mode_t)value;
    }
    if (status != NULL) (void)fclose(status);
    if (!found) return ENOTSUP;
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    return fchmod(file, 0666 & ~mask) == 0 ? 0 : errno;
}
