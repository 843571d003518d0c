/* The only door to the operating system: files, mappings, time, process.
 *
 * Functions return 0 or an errno, which bc__error_of_system has marked where above it
 * would mean something else. EINTR and short transfers are handled here and never seen
 * above. */
#ifndef BC_BASE_SYS_H
#define BC_BASE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/iovec.h"

/* Makes `path` (and its parents) as directories where they are missing. */
int bc__sys_make_dirs(const char *path);
/* Makes a fresh 0700 directory of a random name below `parent`: its path, freed by the
 * caller, and an open descriptor of it. */
int bc__sys_make_private_dir(const char *parent, const char *prefix, char **out_path,
                             int *out_dir);
/* Creates `name` in the directory, 0600, never through a link, never an existing one, and
 * holds the owner's lock on it while it is open: it has no name before it is locked.
 * Where the system refuses the lock, the errno is `*out_refused`, and the file's name
 * `unlocked`: bc__sys_reclaim leaves it alone. */
int bc__sys_create(int dir, const char *name, const char *unlocked, int *out_file,
                   int *out_refused);
/* The name that it has before. */
extern const char bc__sys_temporary_name[];
/* Removes `name` if it is still the very file that `file` is. */
int bc__sys_remove(int dir, const char *name, int file);
int bc__sys_remove_dir(const char *path);
/* Removes from `parent` the private directories of `prefix` whose file `file_name` nobody
 * holds the lock of: their processes are dead. What it cannot remove it leaves. A large
 * directory is not looked at each time. */
void bc__sys_reclaim(const char *parent, const char *prefix, const char *file_name);
void bc__sys_close(int descriptor);

/* Writes all iovecs but the first `skip` bytes, of which the byte number 0 belongs at
 * `offset`. On failure some may be written; none of them count. */
int bc__sys_write(int file, const struct bc_iovec *iovecs, size_t n_iovecs, size_t skip,
                  int64_t offset);
int bc__sys_truncate(int file, int64_t size);
int bc__sys_size(int file, int64_t *out_size);
/* The same in less than half of the time, by moving the position of the open file. */
int bc__sys_end(int file, int64_t *out_size);

/* Makes a hole of [offset, offset + size): its blocks go back to the file system. ENOTSUP
 * and the like where that is not possible. */
int bc__sys_punch(int file, int64_t offset, int64_t size);

/* Maps [0, size) of the file, read only; pages past its end become valid as it grows. The
 * mapping keeps no lock that `file` has: it is, where that can be, of another open file.
 * `path` may be a name of the file. ENOMEM: so much address space is not there. */
int bc__sys_map(int file, const char *path, size_t size, const uint8_t **out_memory);
void bc__sys_unmap(const uint8_t *memory, size_t size);
/* Zeroes the whole pages within what bc__calloc gave, which then take no memory; where
 * that cannot be, does nothing. */
void bc__sys_discard_pages(void *memory, size_t size);

/* ---- files that users name ---- */

/* Opens the file for reading, and with `writes` for writing too, then never through a
 * link at its end. Never waits. */
int bc__sys_open(const char *path, bool writes, int *out_file);
/* One more descriptor of the open file. */
int bc__sys_dup(int file, int *out_file);
/* 0 where it is a regular file; EISDIR, ESPIPE. */
int bc__sys_check_regular(int file);
/* Reads `size` bytes, or as many as there are. Where a hole is most of a large read, the
 * bytes end with it: time and memory follow what the disk has, not what a file says. */
int bc__sys_read(int file, void *out, size_t size, int64_t offset, size_t *out_size);
/* So many of the bytes [offset, offset + size) bc__sys_read would read before such a
 * hole; it knows nothing of the file's end. `size` where the file system cannot tell. */
size_t bc__sys_bytes_before_hole(int file, int64_t offset, size_t size);
/* Reads `size` bytes into memory that is zero, where holes leave it untouched; none where
 * the file is shorter. */
int bc__sys_read_over_holes(int file, void *zeros, size_t size, int64_t offset,
                            size_t *out_size);
/* `path` is a name of the open file. */
bool bc__sys_is_name_of(const char *path, int file);
/* Which file it is, whatever its name. */
struct bc_identity {
    uint64_t device;
    uint64_t number;
};
int bc__sys_identity(int file, struct bc_identity *out);
/* A descriptor of the same file, read only, without the locks of `file`; -1: none. `path`
 * may be a name of the file. Calls only what is safe in a fork's child. */
int bc__sys_open_again(int file, const char *path);
/* In a fork's child: the descriptor is one of an open file of the child's own, read only,
 * so that locks end with the process that has them. Calls only what is safe there. */
void bc__sys_reopen(int file, const char *path);
/* The file's content is on the disk. */
int bc__sys_sync(int file);
/* Gives a private file the mode that files of this process have. Fails where that is not
 * known, or refused. */
int bc__sys_publish_mode(int file);
void bc__sys_sleep_ms(int64_t ms);

/* ---- locks (sys_lock.c) ---- */

/* Locks the whole file for writing, for as long as it is open: EAGAIN where another open
 * file has the lock; ENOLCK: the system refuses locks. */
int bc__sys_lock(int file);
/* Keeps others from that lock. */
int bc__sys_lock_shared(int file);
void bc__sys_unlock(int file);
/* Does another open file have that lock? */
enum bc_lock { BC_LOCK_FREE, BC_LOCK_HELD, BC_LOCK_UNKNOWN };
enum bc_lock bc__sys_probe_lock(int file);
/* The lock of a cache's file. EAGAIN: another process is its owner; ENOLCK: refused. */
int bc__sys_lock_owned(int file);

/* ---- time and process ---- */

/* Nanoseconds of a clock that only goes forward. */
int64_t bc__sys_now_ns(void);
/* Milliseconds of a clock that only goes forward; cheap, a few ms coarse. */
int64_t bc__sys_now_ms(void);
/* The process, cheaply; another one in a fork's child. (process.c) */
int64_t bc__sys_process(void);
/* How often this process was forked. */
uint64_t bc__sys_forks(void);
/* A number that differs between all threads that live at the same time. */
uintptr_t bc__sys_thread(void);
/* Bytes of memory this process may use: the machine's, or its control group's. */
uint64_t bc__sys_memory(void);

#endif
