/* Files with names that users gave them: opened, made without a name, locked, named. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/sys.h"

int bc__sys_open(const char *path, bool writes, int *out_file) {
    bc_assert(path != NULL && out_file != NULL);
    int code = bc__fault_call();
    if (code != 0) return code;
    /* A pipe must not make this wait; what it is will be seen. */
    int flags = (writes ? O_RDWR | O_NOFOLLOW : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
    int file;
    do {
        file = open(path, flags);
    } while (file < 0 && errno == EINTR);
    if (file < 0) return errno;
    *out_file = file;
    return 0;
}

int bc__sys_dup(int file, int *out_file) {
    int code = bc__fault_call();
    if (code != 0) return code;
    int copy = fcntl(file, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return errno;
    *out_file = copy;
    return 0;
}

int bc__sys_check_regular(int file) {
    struct stat status;
    int code = bc__fault_call();
    if (code != 0) return code;
    if (fstat(file, &status) != 0) return errno;
    if (S_ISDIR(status.st_mode)) return EISDIR;
    return S_ISREG(status.st_mode) ? 0 : ESPIPE;
}

int bc__sys_read(int file, void *out, size_t size, int64_t offset, size_t *out_size) {
    bc_assert(file >= 0 && offset >= 0);
    size_t done = 0;
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
            return errno == EINVAL ? EIO : errno;
        }
        if (got == 0) break;
        done += (size_t)got;
    }
    *out_size = done;
    return 0;
}

/* The directory of `path`, freed by the caller, and its last part. */
static int split_path(const char *path, char **out_dir, const char **out_name) {
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (name[0] == '\0') return path[0] == '\0' ? ENOENT : EISDIR;
    char *dir = slash == NULL ? bc__strdup(".") : bc__strdup(path);
    if (dir == NULL) return ENOMEM;
    /* "/" stays. */
    if (slash != NULL) dir[slash == path ? 1 : slash - path] = '\0';
    *out_dir = dir;
    *out_name = name;
    return 0;
}

static int lock(int file, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
    return fcntl(file, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

int bc__sys_lock(int file) {
    bc_assert(file >= 0);
    int code = bc__fault_call();
    if (code == 0) code = lock(file, F_WRLCK);
    /* Some file systems have no locks: EINVAL, ENOLCK, ENOTSUP. */
    return code == EACCES || code == EAGAIN ? EAGAIN : code == ENOMEM ? code : 0;
}

void bc__sys_unlock(int file) {
    bc__fault_point();
    (void)lock(file, F_UNLCK);
}

bool bc__sys_is_locked(int file) {
    bc__fault_point();
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_OFD_GETLK, &lock) != 0) return false;
    return lock.l_type != F_UNLCK;
}

struct bc_identity bc__sys_identity(int file) {
    struct stat status;
    if (bc__fault_call() != 0 || fstat(file, &status) != 0) {
        return (struct bc_identity){0, 0};
    }
    return (struct bc_identity){(uint64_t)status.st_dev, (uint64_t)status.st_ino};
}

/* "/proc/self/fd/" and the number. */
static void self_path(char *out, size_t size, int file) {
    (void)snprintf(out, size, "/proc/self/fd/%d", file);
}

int bc__sys_another(int file) {
    char self[40];
    self_path(self, sizeof(self), file);
    return open(self, O_RDONLY | O_CLOEXEC);
}

void bc__sys_reopen(int file) {
    int fresh = bc__sys_another(file);
    if (fresh < 0) return;
    (void)dup3(fresh, file, O_CLOEXEC);
    (void)close(fresh);
}

bool bc__sys_is_name_of(const char *path, int file) {
    struct stat named;
    struct stat held;
    return lstat(path, &named) == 0 && fstat(file, &held) == 0 &&
           named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

/* Removes a hidden file whose maker died: EBUSY, he did not. Only who has the lock may
 * remove it, or give it another name. */
static int remove_left(const char *path) {
    int file;
    int code = bc__sys_open(path, true, &file);
    if (code != 0) return code == ENOENT ? 0 : code;
    code = bc__sys_lock(file);
    if (code == EAGAIN) code = EBUSY;
    if (code == 0 && bc__sys_is_name_of(path, file)) {
        bc__fault_point();
        (void)unlink(path);
    }
    (void)close(file);
    return code;
}

/* Makes a file of that name, and locks it. EAGAIN: somebody took it for one that was
 * left behind, before it was locked. */
static int create_locked(const char *path, int *out_file) {
    int code = bc__fault_call();
    if (code != 0) return code;
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (file < 0) return errno;
    code = bc__sys_lock(file);
    if (code == 0 && !bc__sys_is_name_of(path, file)) code = EAGAIN;
    if (code != 0) {
        if (code != EAGAIN) (void)unlink(path);
        (void)close(file);
        return code;
    }
    *out_file = file;
    return 0;
}

/* The hidden name beside `name`, freed by the caller; NULL without memory. */
static char *hidden_name(const char *dir, const char *name) {
    size_t size = strlen(dir) + strlen(name) + sizeof("/..unfinished");
    char *path = bc__malloc(size);
    if (path != NULL) (void)snprintf(path, size, "%s/.%s.unfinished", dir, name);
    return path;
}

/* Makes a hidden file beside `name`; one that somebody left behind is removed. */
static int create_beside(const char *dir, const char *name, char **out_path,
                         int *out_file) {
    enum { TRIES = 16 };
    char *path = hidden_name(dir, name);
    if (path == NULL) return ENOMEM;
    int code = EAGAIN;
    for (int tries = 0; tries < TRIES && code == EAGAIN; tries++) {
        code = create_locked(path, out_file);
        if (code != EEXIST) continue;
        code = remove_left(path);
        if (code == 0) code = EAGAIN;
    }
    if (code == 0) {
        *out_path = path;
        return 0;
    }
    bc__free(path);
    return code == EAGAIN ? EBUSY : code;
}

/* A file that has no name, locked: EOPNOTSUPP and the like where there is no such thing.
 */
static int create_nameless(const char *dir, int *out_file) {
#ifdef O_TMPFILE
    if (bc__fault_forbids_nameless()) return EOPNOTSUPP;
    int code = bc__fault_call();
    if (code != 0) return code;
    int file = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (file < 0) return errno;
    code = bc__sys_lock(file);
    if (code != 0) {
        (void)close(file);
        return code;
    }
    *out_file = file;
    return 0;
#else
    (void)dir;
    (void)out_file;
    return EOPNOTSUPP;
#endif
}

int bc__sys_create_unnamed(const char *path, char **out_path, int *out_file) {
    bc_assert(path != NULL && out_path != NULL && out_file != NULL);
    char *dir;
    const char *name;
    int code = split_path(path, &dir, &name);
    if (code != 0) return code;
    char *hidden = NULL;
    code = create_nameless(dir, out_file);
    /* EISDIR: a kernel that does not know the flag. */
    if (code == EOPNOTSUPP || code == EISDIR || code == EINVAL) {
        code = create_beside(dir, name, &hidden, out_file);
    }
    bc__free(dir);
    if (code == 0) *out_path = hidden;
    return code;
}

int bc__sys_reclaim_hidden(int file, const char *path) {
    bc_assert(file >= 0 && path != NULL);
    char *dir;
    const char *name;
    int code = split_path(path, &dir, &name);
    if (code != 0) return code;
    char *hidden = hidden_name(dir, name);
    bc__free(dir);
    if (hidden == NULL) return ENOMEM;
    bc__sys_unname(file, hidden);
    bc__free(hidden);
    return 0;
}

void bc__sys_discard(char *hidden) {
    if (hidden == NULL) return;
    bc__fault_point();
    (void)unlink(hidden);
    bc__free(hidden);
}

void bc__sys_unname(int file, const char *path) {
    bc_assert(file >= 0 && path != NULL);
    bc__fault_point();
    if (bc__sys_is_name_of(path, file)) (void)unlink(path);
}

int bc__sys_link(int file, const char *from, const char *path) {
    bc_assert(file >= 0 && path != NULL);
    int code = bc__fault_call();
    if (code != 0) return code;
    if (from != NULL) {
        if (!bc__sys_is_name_of(from, file)) return ESTALE;
        return link(from, path) == 0 ? 0 : errno;
    }
    char self[40];
    self_path(self, sizeof(self), file);
    return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

/* Gives the file the name `path` by way of the name `other`. */
static int replace_by(int file, const char *from, const char *other, const char *path) {
    int code = bc__sys_link(file, from, other);
    if (code == EEXIST) {
        /* A process of this number died between the two steps. */
        (void)unlink(other);
        code = bc__sys_link(file, from, other);
    }
    if (code != 0) return code;
    code = bc__fault_call();
    if (code == 0 && rename(other, path) != 0) code = errno;
    /* It is there yet where the file had the name `path` before. */
    bc__fault_point();
    (void)unlink(other);
    return code;
}

int bc__sys_replace(int file, const char *from, const char *path) {
    bc_assert(file >= 0 && path != NULL);
    char *dir;
    const char *name;
    int code = split_path(path, &dir, &name);
    if (code != 0) return code;
    bc__sys_reclaim_names(dir, name);
    size_t size = strlen(dir) + strlen(name) + 40;
    char *other = bc__malloc(size);
    if (other == NULL) {
        bc__free(dir);
        return ENOMEM;
    }
    (void)snprintf(other, size, "%s/.%s.%lld-%d", dir, name, (long long)bc__sys_process(),
                   file);
    bc__free(dir);
    code = replace_by(file, from, other, path);
    /* Taken away by a process in whose eyes this one does not exist. */
    if (code == ENOENT) code = replace_by(file, from, other, path);
    bc__free(other);
    return code;
}

int bc__sys_sync(int file) {
    bc_assert(file >= 0);
    int code = bc__fault_call();
    if (code != 0) return code;
    while (fdatasync(file) != 0) {
        if (errno != EINTR) return errno;
    }
    bc__fault_synced(file);
    return 0;
}

int bc__sys_sync_dir_of(const char *path) {
    char *dir;
    const char *name;
    int code = split_path(path, &dir, &name);
    if (code != 0) return code;
    int descriptor = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    code = descriptor < 0 ? errno : bc__fault_call();
    bc__free(dir);
    if (descriptor < 0) return code;
    while (code == 0 && fsync(descriptor) != 0) {
        if (errno != EINTR) code = errno;
    }
    (void)close(descriptor);
    /* Some file systems have nothing to do here, and say so. */
    return code == EINVAL ? 0 : code;
}

int bc__sys_publish_mode(int file) {
    /* Only this reads the mask without a moment in which it is another one. */
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
    if (!found) mask = 077;
    int code = bc__fault_call();
    if (code != 0) return code;
    return fchmod(file, 0666 & ~mask) == 0 ? 0 : errno;
}

void bc__sys_sleep_ms(int64_t ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}
