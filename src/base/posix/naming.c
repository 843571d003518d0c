#define _GNU_SOURCE
#include "base/naming.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

enum { NAME_BYTES_MAX = 255, SLOTS = 1000, TRIES = 16 };

static const char suffix[] = ".unfinished";

/* Returns the errno with which a test lets the next system call fail, or 0. */
static int fault(void) { return bc__error_of_system(bc__fault_call()); }

/* Returns the errno of the failed system call. */
static int failure(void) { return bc__error_of_system(errno); }

int bc__naming_init(struct bc_naming *naming, const char *path) {
    bc_assert(naming != NULL && path != NULL);
    *naming = BC_NAMING_NONE;
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (name[0] == '\0') return path[0] == '\0' ? ENOENT : EISDIR;
    char *dir = bc__strdup(slash == NULL ? "." : path);
    naming->name = bc__strdup(name);
    int code = dir == NULL || naming->name == NULL ? ENOMEM : fault();
    if (code == 0) {
        /* The directory of "/name" is "/". */
        if (slash != NULL) dir[slash == path ? 1 : slash - path] = '\0';
        naming->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (naming->dir < 0) code = failure();
    }
    bc__free(dir);
    if (code != 0) bc__naming_finish(naming, -1);
    return code;
}

/* Returns true if `name` is a name of the open file. */
static bool has_name(const struct bc_naming *naming, const char *name, int file) {
    struct stat named;
    struct stat held;
    return fstatat(naming->dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstat(file, &held) == 0 && named.st_dev == held.st_dev &&
           named.st_ino == held.st_ino;
}

static void remove_name(const struct bc_naming *naming, const char *name) {
    bc__fault_point();
    (void)unlinkat(naming->dir, name, 0);
}

void bc__naming_finish(struct bc_naming *naming, int file) {
    if (naming->hidden != NULL && file >= 0 && has_name(naming, naming->hidden, file)) {
        remove_name(naming, naming->hidden);
    }
    if (naming->dir >= 0) (void)close(naming->dir);
    bc__free(naming->hidden);
    bc__free(naming->name);
    *naming = BC_NAMING_NONE;
}

/* Returns the FNV-1a hash of `name`. It must be the same in every process. */
static unsigned long long hash(const char *name) {
    uint64_t value = 0xcbf29ce484222325;
    for (; *name != '\0'; name++) {
        value = (value ^ (unsigned char)*name) * 0x100000001b3;
    }
    return value;
}

/* Returns hidden name `slot`, which the caller frees; NULL if there is no memory. */
static char *hidden_name(struct bc_naming *naming, int slot) {
    size_t size = strlen(naming->name) + sizeof(".") + sizeof(suffix) + 3;
    if (size > NAME_BYTES_MAX) naming->is_short = true;
    if (size < 64) size = 64;
    char *out = bc__malloc(size);
    if (out == NULL) return NULL;
    int used = naming->is_short ? snprintf(out, size, ".batchcorder-%016llx%s",
                                           hash(naming->name), suffix)
                                : snprintf(out, size, ".%s%s", naming->name, suffix);
    if (slot > 0) (void)snprintf(out + used, size - (size_t)used, "-%d", slot);
    return out;
}

/* Removes a hidden file that no process has locked. Returns true if the name is free. */
static bool remove_if_dead(const struct bc_naming *naming, const char *hidden) {
    if (bc__fault_call() != 0) return false;
    int file = openat(naming->dir, hidden, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return errno == ENOENT;
    bool free = bc__sys_check_regular(file) == 0 && bc__sys_lock(file) == 0 &&
                has_name(naming, hidden, file);
    if (free) remove_name(naming, hidden);
    (void)close(file);
    return free;
}

/* Acquires a hidden name: calls `acquire` with one name after the other. It returns
 * EEXIST if the name is in use, and EAGAIN if the same name should be tried again. */
static int acquire_hidden_name(struct bc_naming *naming,
                               int (*acquire)(const struct bc_naming *naming,
                                              const char *hidden, void *context),
                               void *context) {
    bc_assert(naming->hidden == NULL);
    int slot = 0;
    for (int tries = 0; slot < SLOTS && tries < SLOTS + TRIES; tries++) {
        char *hidden = hidden_name(naming, slot);
        if (hidden == NULL) return ENOMEM;
        int code = acquire(naming, hidden, context);
        if (code == 0) {
            naming->hidden = hidden;
            /* This slot may have become free late: the next one may have the file of a
             * dead process. */
            hidden = hidden_name(naming, slot + 1);
            if (hidden != NULL && slot + 1 < SLOTS) (void)remove_if_dead(naming, hidden);
            bc__free(hidden);
            return 0;
        }
        if (code == EEXIST && !remove_if_dead(naming, hidden)) slot++;
        bc__free(hidden);
        bool is_too_long = code == ENAMETOOLONG && !naming->is_short;
        if (is_too_long) naming->is_short = true;
        if (code != EEXIST && code != EAGAIN && !is_too_long) return code;
    }
    return EBUSY;
}

struct creation {
    bool needs_lock;
    int file;
};

static int create_hidden(const struct bc_naming *naming, const char *hidden,
                         void *context) {
    struct creation *creation = context;
    int code = fault();
    if (code != 0) return code;
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int file = openat(naming->dir, hidden, flags, 0666);
    if (file < 0) return failure();
    code = bc__sys_lock(file);
    if (code == ENOLCK && !creation->needs_lock) code = 0;
    /* Before this file was locked, another process may have removed it as a file of a
     * dead process. */
    if (code == 0 && !has_name(naming, hidden, file)) code = EAGAIN;
    if (code == 0) {
        creation->file = file;
        return 0;
    }
    if (code != EAGAIN) remove_name(naming, hidden);
    (void)close(file);
    return code;
}

int bc__naming_create(struct bc_naming *naming, bool needs_lock, int *out_file) {
    struct creation creation = {needs_lock, -1};
    int code = acquire_hidden_name(naming, create_hidden, &creation);
    if (code == 0) *out_file = creation.file;
    return code;
}

struct link {
    int file;
    const char *from;
};

static int link_hidden(const struct bc_naming *naming, const char *hidden,
                       void *context) {
    const struct link *link = context;
    int code = fault();
    if (code != 0) return code;
    char self[40];
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", link->file);
    code =
        linkat(AT_FDCWD, self, naming->dir, hidden, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
    /* The system may have no /proc. */
    if (code != 0 && code != EEXIST && bc__sys_is_name_of(link->from, link->file)) {
        code = linkat(AT_FDCWD, link->from, naming->dir, hidden, 0) == 0 ? 0 : errno;
    }
    if (code == 0 && !has_name(naming, hidden, link->file)) {
        remove_name(naming, hidden);
        code = ENOTSUP;
    }
    return bc__error_of_system(code);
}

int bc__naming_link(struct bc_naming *naming, int file, const char *from) {
    struct link link = {file, from};
    return acquire_hidden_name(naming, link_hidden, &link);
}

/* ---- publication ---- */

static int rename_exclusively(const struct bc_naming *naming, const char *from,
                              const char *to) {
    int code = bc__fault_call();
    if (code != 0) return code;
    if (bc__fault_poverty() >= 1) return EINVAL;
#ifdef SYS_renameat2
    /* An old C library does not have the function renameat2. */
    enum { NO_REPLACE = 1 };
    long done = syscall(SYS_renameat2, naming->dir, from, naming->dir, to, NO_REPLACE);
    return done == 0 ? 0 : errno;
#else
    (void)naming;
    (void)from;
    (void)to;
    return ENOSYS;
#endif
}

bool bc__naming_shows_lock(const struct bc_naming *naming, int file) {
    if (bc__fault_call() != 0 || !has_name(naming, naming->name, file)) return false;
    int other =
        openat(naming->dir, naming->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (other < 0) return false;
    bool shown = bc__sys_probe_lock(other) == BC_LOCK_HELD;
    (void)close(other);
    return shown;
}

static int link_exclusively(const struct bc_naming *naming, int file, bool needs_lock) {
    int code = bc__fault_call();
    if (code != 0) return code;
    if (bc__fault_poverty() >= 2) return EPERM;
    if (linkat(naming->dir, naming->hidden, naming->dir, naming->name, 0) != 0) {
        return errno;
    }
    if (needs_lock && !bc__naming_shows_lock(naming, file)) {
        remove_name(naming, naming->name);
        return ENOTSUP;
    }
    remove_name(naming, naming->hidden);
    return 0;
}

/* Creates an empty placeholder under the name, and renames the hidden file over it. The
 * placeholder is locked, so no process takes it for the recording of a dead process. */
static int replace_placeholder(const struct bc_naming *naming, bool needs_lock) {
    int code = fault();
    if (code != 0) return code;
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int placeholder = openat(naming->dir, naming->name, flags, 0600);
    if (placeholder < 0) return failure();
    code = bc__sys_lock(placeholder);
    if (code == ENOLCK && !needs_lock) code = 0;
    bool is_placeholder = has_name(naming, naming->name, placeholder);
    /* Before the placeholder was locked here, another process removed or locked it. */
    if (code == EAGAIN || (code == 0 && !is_placeholder)) code = EEXIST;
    if (code == 0) code = fault();
    if (code == 0 &&
        renameat(naming->dir, naming->hidden, naming->dir, naming->name) != 0) {
        code = failure();
    }
    if (code != 0 && code != EEXIST && is_placeholder) remove_name(naming, naming->name);
    (void)close(placeholder);
    return code;
}

static int publish_new(const struct bc_naming *naming, int file, bool needs_lock) {
    int code = rename_exclusively(naming, naming->hidden, naming->name);
    if (code == 0 || code == EEXIST) return code;
    code = link_exclusively(naming, file, needs_lock);
    if (code == 0 || code == EEXIST) return code;
    return replace_placeholder(naming, needs_lock);
}

static int publish_over(const struct bc_naming *naming, int file) {
    /* If both names belong to one file, rename does nothing. */
    if (has_name(naming, naming->name, file)) {
        remove_name(naming, naming->hidden);
        return 0;
    }
    int code = fault();
    if (code != 0) return code;
    return renameat(naming->dir, naming->hidden, naming->dir, naming->name) == 0
               ? 0
               : failure();
}

int bc__naming_publish(struct bc_naming *naming, int file, bool replaces,
                       bool needs_lock) {
    bc_assert(naming->hidden != NULL && file >= 0);
    if (!has_name(naming, naming->hidden, file)) return ENOENT;
    int code =
        replaces ? publish_over(naming, file) : publish_new(naming, file, needs_lock);
    if (code != 0) return code;
    bc__free(naming->hidden);
    naming->hidden = NULL;
    if (!needs_lock || bc__naming_shows_lock(naming, file)) return 0;
    bc__naming_unlink(naming, file);
    return ENOLCK;
}

int bc__naming_sync(const struct bc_naming *naming) {
    int file = openat(naming->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = file < 0 ? failure() : fault();
    while (code == 0 && fsync(file) != 0) {
        /* Some file systems have nothing to synchronise, and return EINVAL. */
        if (errno == EINVAL) break;
        if (errno != EINTR) code = failure();
    }
    if (file >= 0) (void)close(file);
    return code;
}

/* ---- removal ---- */

void bc__naming_unlink(const struct bc_naming *naming, int file) {
    bc_assert(file >= 0);
    if (has_name(naming, naming->name, file)) remove_name(naming, naming->name);
}

void bc__naming_reclaim(struct bc_naming *naming, int file) {
    for (int slot = 0; slot < SLOTS; slot++) {
        struct stat status;
        char *hidden = hidden_name(naming, slot);
        bool is_there = hidden != NULL &&
                        fstatat(naming->dir, hidden, &status, AT_SYMLINK_NOFOLLOW) == 0;
        if (is_there && has_name(naming, hidden, file)) {
            remove_name(naming, hidden);
        } else if (is_there) {
            (void)remove_if_dead(naming, hidden);
        }
        bc__free(hidden);
        if (!is_there) return;
    }
}

int bc__naming_remove(struct bc_naming *naming, int file) {
    bc_assert(naming->hidden == NULL);
    if (!has_name(naming, naming->name, file)) return EAGAIN;
    int code = EEXIST;
    for (int slot = SLOTS - 1; slot >= 0 && code == EEXIST; slot--) {
        char *hidden = hidden_name(naming, slot);
        if (hidden == NULL) return ENOMEM;
        code = rename_exclusively(naming, naming->name, hidden);
        if (code == 0 && has_name(naming, hidden, file)) {
            remove_name(naming, hidden);
        } else if (code == 0) {
            /* Another file got the name a moment ago: move it back. */
            (void)rename_exclusively(naming, hidden, naming->name);
            code = EAGAIN;
        }
        bc__free(hidden);
    }
    if (code == 0 || code == EAGAIN || code == ENOENT)
        return code == ENOENT ? EAGAIN : code;
    /* The file system has no RENAME_NOREPLACE. */
    code = fault();
    if (code == 0 && !has_name(naming, naming->name, file)) return EAGAIN;
    if (code == 0 && unlinkat(naming->dir, naming->name, 0) != 0) code = failure();
    return code;
}
