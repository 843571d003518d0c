/* Paths: creation of directories, private files in them, and removal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

enum { NAME_BYTES = 8, NAME_TRIES = 16 };

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
        /* mkdir may fail on an existing parent that this user cannot write to. */
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

/* Fills `out` with bytes that differ between processes and calls. A name needs no better
 * randomness, since an existing file of that name is never used. */
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

/* Writes `prefix` and random digits to `out`. */
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
    /* The path must stay valid when the working directory changes. */
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
    /* The file is locked under another name, so that no process removes it as a file of a
     * dead process. */
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
