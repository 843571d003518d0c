/* Removes the private directories and cache files of dead processes. */
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

/* A process may just be creating a directory that has no locked file yet. */
enum { NEW_SECONDS = 60, NAME_DIGITS = 16 };

/* Opens a private directory of this user. Returns its descriptor, or -1 if it is a link
 * or belongs to another user. */
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

/* Returns true if the directory is so old that no process can be creating a file in
 * it. */
static bool is_old(int dir) {
    struct stat status;
    return fstat(dir, &status) == 0 && status.st_mtime + NEW_SECONDS < time(NULL);
}

/* Returns true if `name` is the prefix and the digits of a random name. */
static bool is_private_name(const char *name, const char *prefix) {
    size_t size = strlen(prefix);
    return strncmp(name, prefix, size) == 0 && strlen(name) == size + NAME_DIGITS &&
           strspn(name + size, "0123456789abcdef") == NAME_DIGITS;
}

/* Removes the file unless a process holds its lock. Returns true if the directory has no
 * such file any more. */
static bool remove_unlocked(int dir, const char *file_name) {
    /* O_NONBLOCK: opening a pipe of that name must not wait. */
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

/* The times of the next scans, by a hash of the directory and the process. A fork's child
 * scans for itself. If two keys share an entry, their directories are scanned more
 * often. */
static struct {
    _Atomic uint64_t key;
    _Atomic int64_t next_ms;
} scans[64];

/* Returns the key of a directory, never 0. */
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

/* Returns true if the directory is to be scanned now. */
static bool is_due(uint64_t key) {
    size_t entry = key >> 1 & 63;
    return atomic_load(&scans[entry].key) != key ||
           atomic_load(&scans[entry].next_ms) <= bc__sys_now_ms();
}

/* Sets the time of the next scan, so that scans take at most a twentieth of the time. A
 * directory with few entries is scanned for every cache, one with thousands of entries
 * every other second. */
static void plan_next_scan(uint64_t key, int64_t entries, int64_t directories) {
    enum { ENTRIES_A_US = 5, DIRECTORY_US = 20, FREE_US = 200, SHARE = 20 };
    int64_t cost_us = entries / ENTRIES_A_US + directories * DIRECTORY_US;
    int64_t pause_ms = cost_us < FREE_US ? 0 : cost_us * SHARE / 1000;
    size_t entry = key >> 1 & 63;
    atomic_store(&scans[entry].next_ms, bc__sys_now_ms() + pause_ms);
    atomic_store(&scans[entry].key, key);
}

/* Removes a directory that no process uses. A directory with other files stays. */
static void reclaim_directory(int parent, const char *name, const char *file_name) {
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
        if (!is_private_name(entry->d_name, prefix)) continue;
        directories++;
        reclaim_directory(dirfd(parent), entry->d_name, file_name);
    }
    (void)closedir(parent);
    plan_next_scan(key_of(&status), entries, directories);
}
