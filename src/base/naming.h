/* Names of recordings. A file is created under a hidden name in the directory of its
 * name, and is moved to its name when it is ready.
 *
 *     .NAME.unfinished ── create, lock ─▶ written ── publish ─▶ NAME, still locked
 *
 * A hidden name ends with the first free number, so that a later process finds it. If a
 * process is killed, its hidden file stays, without a lock. The next file that is created
 * for NAME removes it. If a hidden name would be too long, it has the hash of NAME
 * instead of NAME.
 *
 * Publication needs one of these features of the file system, tried in this order:
 *
 *     renameat2(RENAME_NOREPLACE)
 *     a link that leads to the same file and shows its lock
 *     open(O_EXCL) of an empty, locked placeholder, and rename over it
 *
 * All names are relative to an open directory. The working directory may change, and its
 * path may be of any length. */
#ifndef BC_BASE_NAMING_H
#define BC_BASE_NAMING_H

#include <stdbool.h>

struct bc_naming {
    int dir;       /* -1: none */
    bool is_short; /* hidden names have the hash of the name */
    char *name;
    char *hidden; /* the file's hidden name; NULL: none */
};

/* A value without a directory. bc__naming_finish accepts it. */
#define BC_NAMING_NONE ((struct bc_naming){-1, false, NULL, NULL})

/* Opens the directory of `path`.
 * ENOENT: `path` is empty, or the directory does not exist.
 * EISDIR: `path` ends with a slash. */
int bc__naming_init(struct bc_naming *naming, const char *path);
/* Releases the members. Removes the hidden name if it is a name of `file`.
 * `file`: -1 means that no name is removed. */
void bc__naming_finish(struct bc_naming *naming, int file);

/* Creates an empty hidden file with the mode of new files of this process, and locks it.
 * ENOLCK: the system refuses locks, and `needs_lock`.
 * EBUSY: all hidden names are in use. */
int bc__naming_create(struct bc_naming *naming, bool needs_lock, int *out_file);
/* Links an open file to a hidden name. Until the file is published, the caller must hold
 * the shared lock by another open file. `from`: a path that may be a name of the file.
 * ENOTSUP: the link leads to another file. */
int bc__naming_link(struct bc_naming *naming, int file, const char *from);
/* Moves the file from the hidden name to the name.
 * EEXIST: the name exists, and not `replaces`.
 * ENOENT: the hidden name is not a name of `file`.
 * ENOLCK: `needs_lock`, but the lock is not visible through the name. The file then has
 * no name. */
int bc__naming_publish(struct bc_naming *naming, int file, bool replaces,
                       bool needs_lock);
/* Returns true if the name leads to the open file, and other open files see its lock. */
bool bc__naming_shows_lock(const struct bc_naming *naming, int file);
/* Synchronises the directory, so that its entries survive a crash of the system. */
int bc__naming_sync(const struct bc_naming *naming);
/* Removes the name if it is a name of `file`. */
void bc__naming_unlink(const struct bc_naming *naming, int file);
/* Removes the hidden names of `file`, and hidden files that dead processes left. */
void bc__naming_reclaim(struct bc_naming *naming, int file);
/* Removes the name if it is a name of `file`. If another file gets the name meanwhile,
 * that file keeps it. EAGAIN: the name is not, or no longer, a name of `file`. */
int bc__naming_remove(struct bc_naming *naming, int file);

#endif
