/* Preloaded, it makes the system refuse calls that a file system, a container or an old
 * kernel may not have. `refuse("flock=ENOSYS,proc")` sets the refused calls, and so does
 * the variable REFUSE at the start. `proc`: there is no /proc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char refusals[512];

static const struct {
    const char *name;
    int code;
} codes[] = {{"EINVAL", EINVAL},         {"ENOLCK", ENOLCK}, {"ENOSYS", ENOSYS},
             {"EOPNOTSUPP", EOPNOTSUPP}, {"EPERM", EPERM},   {"EIO", EIO}};

void refuse(const char *which) {
    (void)snprintf(refusals, sizeof(refusals), ",%s,", which);
}

__attribute__((constructor)) static void begin(void) {
    const char *which = getenv("REFUSE");
    if (which != NULL) refuse(which);
}

/* Returns whether `name` is refused, and sets errno. */
static int refused(const char *name) {
    char wanted[40];
    (void)snprintf(wanted, sizeof(wanted), ",%s", name);
    size_t size = strlen(wanted);
    const char *at = strstr(refusals, wanted);
    while (at != NULL && at[size] != ',' && at[size] != '=') at = strstr(at + 1, wanted);
    if (at == NULL) return 0;
    errno = ENOSYS;
    for (size_t i = 0; at[size] == '=' && i < sizeof(codes) / sizeof(codes[0]); i++) {
        size_t n = strlen(codes[i].name);
        if (strncmp(at + size + 1, codes[i].name, n) == 0) errno = codes[i].code;
    }
    return 1;
}

static int is_proc(const char *path) {
    if (path == NULL || strncmp(path, "/proc/", 6) != 0 || !refused("proc")) return 0;
    errno = ENOENT;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENS(name)                                               \
    int name(const char *path, int flags, ...) {                  \
        va_list args;                                             \
        va_start(args, flags);                                    \
        mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0; \
        va_end(args);                                             \
        if (is_proc(path)) return -1;                             \
        return REAL(name)(path, flags, mode);                     \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                            \
    int name(int dir, const char *path, int flags, ...) {         \
        va_list args;                                             \
        va_start(args, flags);                                    \
        mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0; \
        va_end(args);                                             \
        if (is_proc(path)) return -1;                             \
        return REAL(name)(dir, path, flags, mode);                \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

FILE *fopen(const char *path, const char *mode) {
    return is_proc(path) ? NULL : REAL(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    return is_proc(path) ? NULL : REAL(fopen64)(path, mode);
}

#define CONTROLS(name)                                                                   \
    int name(int file, int command, ...) {                                               \
        va_list args;                                                                    \
        va_start(args, command);                                                         \
        void *argument = va_arg(args, void *);                                           \
        va_end(args);                                                                    \
        int is_lock =                                                                    \
            command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK; \
        if (is_lock && refused("ofd")) return -1;                                        \
        return REAL(name)(file, command, argument);                                      \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)

int flock(int file, int operation) {
    return refused("flock") ? -1 : REAL(flock)(file, operation);
}

int link(const char *from, const char *to) {
    return refused("linkat") ? -1 : REAL(link)(from, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    if (refused("linkat") || is_proc(from)) return -1;
    return REAL(linkat)(from_dir, from, to_dir, to, flags);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
              unsigned flags) {
    if (refused("renameat2")) return -1;
    return REAL(renameat2)(from_dir, from, to_dir, to, flags);
}

int fallocate(int file, int mode, off_t offset, off_t size) {
    return refused("fallocate") ? -1 : REAL(fallocate)(file, mode, offset, size);
}

int fallocate64(int file, int mode, off64_t offset, off64_t size) {
    return refused("fallocate") ? -1 : REAL(fallocate64)(file, mode, offset, size);
}

int fchmod(int file, mode_t mode) {
    return refused("fchmod") ? -1 : REAL(fchmod)(file, mode);
}

int fdatasync(int file) { return refused("fdatasync") ? -1 : REAL(fdatasync)(file); }

int fsync(int file) { return refused("fsync") ? -1 : REAL(fsync)(file); }

int madvise(void *at, size_t size, int advice) {
    return refused("madvise") ? -1 : REAL(madvise)(at, size, advice);
}

ssize_t getrandom(void *out, size_t size, unsigned flags) {
    return refused("getrandom") ? -1 : REAL(getrandom)(out, size, flags);
}

/* Calls for which the C library may have no function. */
long syscall(long number, ...) {
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_renameat2 && refused("renameat2")) return -1;
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
