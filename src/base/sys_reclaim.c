/* Takes back what processes left behind that died with a cache file. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
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
    /* A pipe of that name must not make this wait. */
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int file = openat(dir, file_name, flags);
    if (file < 0 && !is_old(dir)) return false;
    if (file < 0) {
        bc__fault_point();
        return unlinkat(dir, bc__sys_temporary_name, 0) == 0 || errno == ENOENT;
    }
    bool removed = false;
    if (bc__sys_check_regular(file) == 0 && bc__sys_lock_owned(file) == 0) {
        bc__fault_point();
        removed = unlinkat(dir, file_name, 0) == 0;
    }
    (void)close(file);
    return removed;
}

/* When directories are looked at again, by a hash of which it is and of the process: a
 * fork's child looks for itself. Two with one place only look more often. */
static struct {
    _Atomic uint64_t key;
    _Atomic int64_t next_ms;
} looked_at[64];

/* Its key, never 0. */
static uint64_t key_of(const struct stat *parent) {
    const uint64_t parts[] = {(uint64_t)parent->st_dev, (uint64_t)parent->st_ino,
                              (uint64_t)bc__sys_process()};
    uint64_t mixed = 1;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        mixed = (mixed ^ parts[i]) * 0x9e3779b97f4a7c15;
        mixed ^= mixed >> 29;
    }
    return mixed | 1;
}

static bool is_due(uint64_t key) {
    size_t place = key >> 1 & 63;
    return atomic_load(&looked_at[place].key) != key ||
           atomic_load(&looked_at[place].next_ms) <= bc__sys_now_ms();
}

/* Looking may take a twentieth of the time: a directory with few entries is looked at for
 * every cache, one with thousands every other second. */
static void plan_next(uint64_t key, int64_t entries, int64_t directories) {
    enum { ENTRIES_A_US = 5, DIRECTORY_US = 20, FREE_US = 200, SHARE = 20 };
    int64_t cost_us = entries / ENTRIES_A_US + directories * DIRECTORY_US;
    int64_t pause_ms = cost_us < FREE_US ? 0 : cost_us * SHARE / 1000;
    size_t place = key >> 1 & 63;
    atomic_store(&looked_at[place].next_ms, bc__sys_now_ms() + pause_ms);
    atomic_store(&looked_at[place].key, key);
}

/* Removes the directory, if nobody uses it. What holds anything else than the file stays.
 */
static void reclaim(int parent, const char *name, const char *file_name) {
    int dir = open_private(parent, name);
    if (dir < 0) return;
    if (remove_unlocked(dir, file_name)) {
        bc__fault_point();
        (void)unlinkat(parent, name, AT_REMOVEDIR);
    }
    (void)close(dir);
}

void bc__sys_reclaim(const char *parent_path, const char *prefix, const char *file_name) {
    bc_assert(parent_path != NULL && prefix != NULL && file_name != NULL);
    struct stat status;
    if (stat(parent_path, &status) != 0 || !is_due(key_of(&status))) return;
    DIR *parent = opendir(parent_path);
    if (parent == NULL) return;
    int64_t entries = 0;
    int64_t directories = 0;
    const struct dirent *entry;
    while ((entry = readdir(parent)) != NULL) {
        entries++;
        if (!is_name_of_ours(entry->d_name, prefix)) continue;
        directories++;
        reclaim(dirfd(parent), entry->d_name, file_name);
    }
    (void)closedir(parent);
    plan_next(key_of(&status), entries, directories);
}
