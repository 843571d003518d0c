/* Takes back what processes left behind that died with a cache file. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fault.h"
#include "base/sys.h"

/* A directory without a locked file may be one that is being made right now. */
enum { NEW_SECONDS = 60, NAME_DIGITS = 16 };

/* A private directory of ours, not a link and not somebody else's: its descriptor or -1.
 */
static int open_private(int parent, const char *name) {
    int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) return -1;
    struct stat status;
    if (fstat(dir, &status) == 0 && status.st_uid == geteuid() &&
        (status.st_mode & 077) == 0) {
        return dir;
    }
    (void)close(dir);
    return -1;
}

/* True when the directory's time stamp is so old that nobody can be at work in it. */
static bool is_old(int dir) {
    struct stat status;
    return fstat(dir, &status) == 0 && status.st_mtime + NEW_SECONDS < time(NULL);
}

/* The prefix and the digits of a random name, and nothing else. */
static bool is_name_of_ours(const char *name, const char *prefix) {
    size_t size = strlen(prefix);
    return strncmp(name, prefix, size) == 0 && strlen(name) == size + NAME_DIGITS &&
           strspn(name + size, "0123456789abcdef") == NAME_DIGITS;
}

/* Removes the file unless somebody holds its lock: true when there is none any more. */
static bool remove_unlocked(int dir, const char *file_name) {
    int file = openat(dir, file_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0 && !is_old(dir)) return false;
    if (file < 0) {
        bc__fault_point();
        return unlinkat(dir, bc__sys_making, 0) == 0 || errno == ENOENT;
    }
    bool removed = false;
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
        bc__fault_point();
        removed = unlinkat(dir, file_name, 0) == 0;
    }
    (void)close(file);
    return removed;
}

void bc__sys_reclaim(const char *parent_path, const char *prefix, const char *file_name) {
    bc_assert(parent_path != NULL && prefix != NULL && file_name != NULL);
    DIR *parent = opendir(parent_path);
    if (parent == NULL) return;
    const struct dirent *entry;
    while ((entry = readdir(parent)) != NULL) {
        if (!is_name_of_ours(entry->d_name, prefix)) continue;
        int dir = open_private(dirfd(parent), entry->d_name);
        if (dir < 0) continue;
        /* What holds anything else than the file stays. */
        if (remove_unlocked(dir, file_name)) {
            bc__fault_point();
            (void)unlinkat(dirfd(parent), entry->d_name, AT_REMOVEDIR);
        }
        (void)close(dir);
    }
    (void)closedir(parent);
}

/* ".NAME.PROCESS-FILE", and the process does not exist. */
static bool is_name_of_dead(const char *entry, const char *name) {
    size_t size = strlen(name);
    if (entry[0] != '.' || strncmp(entry + 1, name, size) != 0) return false;
    const char *at = entry + 1 + size;
    if (at[0] != '.' || at[1] < '1' || at[1] > '9') return false;
    char *end;
    errno = 0;
    long process = strtol(at + 1, &end, 10);
    if (errno != 0 || process > INT32_MAX || end[0] != '-' || end[1] == '\0' ||
        strspn(end + 1, "0123456789") != strlen(end + 1)) {
        return false;
    }
    return kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

void bc__sys_reclaim_names(const char *dir, const char *name) {
    bc_assert(dir != NULL && name != NULL);
    DIR *parent = opendir(dir);
    if (parent == NULL) return;
    const struct dirent *entry;
    while ((entry = readdir(parent)) != NULL) {
        if (!is_name_of_dead(entry->d_name, name)) continue;
        bc__fault_point();
        (void)unlinkat(dirfd(parent), entry->d_name, 0);
    }
    (void)closedir(parent);
}
