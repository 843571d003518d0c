/* How a file gets the name that its user gave it: it is made under a hidden name beside
 * that one, and moved there.
 *
 *     .NAME.unfinished ── create, lock ─▶ written ── publish ─▶ NAME, still locked
 *
 * A hidden name has the first number that is free, so that it can be looked up. A process
 * that is killed leaves its hidden file behind, unlocked; the next file that is made for
 * NAME removes it. A name that is too long with the additions is replaced by its hash.
 *
 * Publication needs one of these of the file system, tried in this order:
 *
 *     renameat2(RENAME_NOREPLACE)
 *     link, where the link leads to the same file and shows its lock
 *     open(O_EXCL) of an empty file, locked, which rename then replaces
 *
 * All is relative to an open directory: neither a change of the working directory nor the
 * length of its path matters. */
#ifndef BC_BASE_NAMING_H
#define BC_BASE_NAMING_H

#include <stdbool.h>

struct bc_naming {
    int dir;       /* -1: none */
    bool is_short; /* hidden names have the name's hash */
    char *name;
    char *hidden; /* that the file has; NULL: none */
};

/* What bc__naming_finish accepts. */
#define BC_NAMING_NONE ((struct bc_naming){-1, false, NULL, NULL})

/* Opens the directory of `path`. ENOENT; EISDIR: `path` ends with a slash. */
int bc__naming_init(struct bc_naming *naming, const char *path);
/* Gives everything back; removes the hidden name, if it is that of `file` (or -1). */
void bc__naming_finish(struct bc_naming *naming, int file);

/* Makes an empty hidden file, with the mode that files of this process have, and locks
 * it. ENOLCK: locks are refused, and it `needs_lock`. EBUSY: all hidden names are taken.
 */
int bc__naming_create(struct bc_naming *naming, bool needs_lock, int *out_file);
/* Gives an open file, one of whose names may be `from`, a hidden name. Until it has its
 * name, an open file of its own must have the shared lock. */
int bc__naming_link(struct bc_naming *naming, int file, const char *from);
/* Moves the hidden name to the name. EEXIST, unless it `replaces`; ENOENT: the hidden
 * name is another file's. ENOLCK: the lock, which it `needs`, is not seen through the
 * name; then it has no name. */
int bc__naming_publish(struct bc_naming *naming, int file, bool replaces,
                       bool needs_lock);
/* The name leads to the open file, and shows its lock to others. */
bool bc__naming_shows_lock(const struct bc_naming *naming, int file);
/* The directory's entries are on the disk. */
int bc__naming_sync(const struct bc_naming *naming);
/* Removes the name, if it is that of `file`. */
void bc__naming_unlink(const struct bc_naming *naming, int file);
/* Removes hidden names that makers left who died: of the open file, and of others. */
void bc__naming_reclaim(struct bc_naming *naming, int file);
/* Removes the name, if it is that of `file`. A file that takes its place meanwhile keeps
 * the name. EAGAIN: it was another file's. */
int bc__naming_remove(struct bc_naming *naming, int file);

#endif
