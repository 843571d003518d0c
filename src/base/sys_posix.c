#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

enum { PIECES_PER_CALL = 256, NAME_BYTES = 8, NAME_TRIES = 16 };

int bc__sys_make_dirs(const char *path) {
    bc_assert(path != NULL);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    if (path[0] == '\0') return ENOENT;
    char *partial = bc__strdup(path);
    if (partial == NULL) return ENOMEM;
    for (char *at = partial + 1; code == 0; at++) {
        if (*at != '/' && *at != '\0') continue;
        char kept = *at;
        *at = '\0';
        struct stat status;
        /* Parents may be readable only by others: ask before making. */
        if (mkdir(partial, 0777) != 0) {
            code = errno;
            if (code == EEXIST || code == EISDIR || code == EROFS || code == EACCES) {
                int reason = code;
                code = 0;
                if (stat(partial, &status) != 0) {
                    code = reason == EEXIST ? errno : reason;
                } else if (!S_ISDIR(status.st_mode)) {
                    code = ENOTDIR;
                }
            }
        }
        *at = kept;
        if (kept == '\0') break;
    }
    bc__free(partial);
    return bc__error_of_system(code);
}

/* Bytes that differ between processes and calls. Names need no more: what has one already
 * is never taken for ours. */
static void make_unique(unsigned char *out, size_t size) {
    if (getrandom(out, size, GRND_NONBLOCK) == (ssize_t)size) return;
    static atomic_ullong calls;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t value = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    value ^= (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)&now;
    value += atomic_fetch_add(&calls, 1) * 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < size; i++) {
        /* splitmix64 */
        uint64_t mixed = value += 0x9e3779b97f4a7c15;
        mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
        out[i] = (unsigned char)(mixed >> 56);
    }
}

static void random_name(char *out, size_t size, const char *prefix) {
    unsigned char bytes[NAME_BYTES];
    make_unique(bytes, sizeof(bytes));
    int used = snprintf(out, size, "%s", prefix);
    bc_assert(used >= 0 && (size_t)used + 2 * sizeof(bytes) < size);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(out + used + 2 * (int)i, 3, "%02x", bytes[i]);
    }
}

int bc__sys_make_private_dir(const char *parent, const char *prefix, char **out_path,
                             int *out_dir) {
    bc_assert(parent != NULL && prefix != NULL && strlen(prefix) < 32);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    /* The path must outlive a change of the working directory. */
    char *absolute = realpath(parent, NULL);
    if (absolute == NULL) return bc__error_of_system(errno);
    char name[64];
    size_t size = strlen(absolute) + 1 + sizeof(name);
    char *path = bc__malloc(size);
    if (path == NULL) {
        free(absolute);
        return ENOMEM;
    }
    for (int tries = 0; tries < NAME_TRIES; tries++) {
        random_name(name, sizeof(name), prefix);
        (void)snprintf(path, size, "%s/%s", absolute, name);
        code = mkdir(path, 0700) == 0 ? 0 : errno;
        if (code != EEXIST) break;
    }
    free(absolute);
    if (code == 0) {
        int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (dir >= 0) {
            *out_path = path;
            *out_dir = dir;
            return 0;
        }
        code = errno;
        (void)rmdir(path);
    }
    bc__free(path);
    return bc__error_of_system(code);
}

const char bc__sys_temporary_name[] = "making";

int bc__sys_create(int dir, const char *name, const char *unlocked, int *out_file,
                   int *out_refused) {
    bc_assert(dir >= 0 && name != NULL && unlocked != NULL);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    /* Locked under another name, so that nobody takes it for one that was left behind. */
    int file = openat(dir, bc__sys_temporary_name,
                      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0) return bc__error_of_system(errno);
    int refused = bc__sys_lock_owned(file);
    if (refused != 0) name = unlocked;
    code = bc__fault_call();
    if (code == 0 && renameat(dir, bc__sys_temporary_name, dir, name) != 0) code = errno;
    if (code != 0) {
        (void)unlinkat(dir, bc__sys_temporary_name, 0);
        (void)close(file);
        return bc__error_of_system(code);
    }
    *out_file = file;
    *out_refused = refused;
    return 0;
}

int bc__sys_remove(int dir, const char *name, int file) {
    bc_assert(dir >= 0 && file >= 0);
    struct stat named;
    struct stat held;
    if (fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    if (fstat(file, &held) != 0) return errno;
    if (named.st_dev != held.st_dev || named.st_ino != held.st_ino) return ESTALE;
    bc__fault_point();
    return unlinkat(dir, name, 0) == 0 ? 0 : errno;
}

int bc__sys_remove_dir(const char *path) {
    bc__fault_point();
    return rmdir(path) == 0 ? 0 : errno;
}

void bc__sys_close(int descriptor) {
    bc_assert(descriptor >= 0);
    (void)close(descriptor);
}

/* Shortens `vectors` to `size` bytes. */
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

/* What an armed fault makes of the call: an errno, or 0 and perhaps fewer bytes. */
static int make_fault(struct iovec *vectors, int *n, bool *out_kills) {
    int code = bc__fault(BC_FAULT_SYS);
    *out_kills = code == BC_FAULT_KILL_HALF;
    if (code >= 0) return code;
    size_t size = 0;
    for (int i = 0; i < *n; i++) size += vectors[i].iov_len;
    if (size > 0) *n = shorten(vectors, *n, *out_kills ? size / 2 : 1);
    return 0;
}

/* One system call for up to PIECES_PER_CALL iovecs from `skip` bytes on. */
static ssize_t write_some(int file, const struct bc_iovec *iovecs, size_t n_iovecs,
                          size_t skip, int64_t offset) {
    struct iovec vectors[PIECES_PER_CALL];
    int n = 0;
    for (size_t i = 0; i < n_iovecs && n < PIECES_PER_CALL; i++) {
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
    int code = make_fault(vectors, &n, &kills);
    if (code != 0) {
        errno = code;
        return -1;
    }
    ssize_t written = pwritev(file, vectors, n, (off_t)offset);
    if (kills) bc__fault_kill();
    return written;
}

/* Leaves out the iovecs that `*skip` bytes cover, and empty ones. */
static void pass_pieces(const struct bc_iovec **iovecs, size_t *n_iovecs, size_t *skip) {
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
    pass_pieces(&iovecs, &n_iovecs, &skip);
    while (n_iovecs > 0) {
        ssize_t written = write_some(file, iovecs, n_iovecs, skip, offset);
        if (written < 0) {
            if (errno == EINTR) continue;
            return bc__error_of_system(errno);
        }
        if (written == 0) return EIO;
        offset += written;
        skip += (size_t)written;
        pass_pieces(&iovecs, &n_iovecs, &skip);
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

int bc__sys_map(int file, const char *path, size_t size, const uint8_t **out_memory) {
    bc_assert(file >= 0 && size > 0);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    int another = bc__sys_open_again(file, path);
    int mapped = another < 0 ? file : another;
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, mapped, 0);
    code = memory == MAP_FAILED ? errno : 0;
    if (another >= 0) (void)close(another);
    /* Under valgrind, EINVAL: its address space is smaller. */
    if (code == EINVAL) code = ENOMEM;
    if (code != 0) return bc__error_of_system(code);
    *out_memory = memory;
    return 0;
}

void bc__sys_unmap(const uint8_t *memory, size_t size) {
    bc_assert(memory != NULL && size > 0);
    (void)munmap((void *)(uintptr_t)memory, size);
}

void bc__sys_discard_pages(void *memory, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)memory + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)memory + size) / page * page;
#ifdef __linux__
    /* Elsewhere the pages may keep what is in them. */
    if (start < end) (void)madvise((void *)start, end - start, MADV_DONTNEED);
#else
    (void)start;
    (void)end;
#endif
}

int64_t bc__sys_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bc__sys_now_ms(void) {
    struct timespec now;
#ifdef CLOCK_MONOTONIC_COARSE
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return bc__fault_time((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

uintptr_t bc__sys_thread(void) {
    static _Thread_local char here;
    return (uintptr_t)&here;
}

/* A number in a control group's file; UINT64_MAX for "max" and for what is not there. */
static uint64_t read_limit(const char *path) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return UINT64_MAX;
    char text[32] = "";
    if (fgets(text, sizeof(text), file) == NULL) text[0] = '\0';
    (void)fclose(file);
    if (text[0] < '0' || text[0] > '9') return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

uint64_t bc__sys_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_size = sysconf(_SC_PAGESIZE);
    uint64_t bytes = UINT64_MAX;
    if (pages > 0 && page_size > 0) bytes = (uint64_t)pages * (uint64_t)page_size;
    uint64_t group = read_limit("/sys/fs/cgroup/memory.max");
    if (group == UINT64_MAX) {
        group = read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    }
    return group < bytes ? group : bytes;
}
