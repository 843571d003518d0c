/* Takes back what processes left behind that died with a cache file. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
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
    if (file < 0) return is_old(dir);
    bool removed = false;
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
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
            (void)unlinkat(dirfd(parent), entry->d_name, AT_REMOVEDIR);
        }
        (void)close(dir);
    }
    (void)closedir(parent);
}
