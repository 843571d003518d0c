/* The only interface to the operating system: files, mappings, time, process.
 *
 * Functions return 0 or an errno, marked by bc__error_of_system if the errno has a
 * meaning of this library. They repeat calls that fail with EINTR, and short
 * transfers. The files that are named below are in base/posix. */
#ifndef BC_BASE_SYS_H
#define BC_BASE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/iovec.h"

/* ---- directories and private files (path.c) ---- */

/* Creates the directory `path` and its parents, unless they exist. */
int bc__sys_make_dirs(const char *path);
/* Creates a directory of a random name in `parent`, with mode 0700. `out_path`: its path,
 * which the caller frees. `out_dir`: an open descriptor of it. */
int bc__sys_make_private_dir(const char *parent, const char *prefix, char **out_path,
                             int *out_dir);
/* Creates the file `name` in the directory, with mode 0600, and acquires the owner's
 * lock. Follows no link, and opens no existing file. Until it is locked, the file has the
 * name bc__sys_temporary_name. If the system refuses the lock, the file gets the name
 * `unlocked`, which bc__sys_reclaim ignores. `out_refused`: the errno of that refusal, or
 * 0. */
int bc__sys_create(int dir, const char *name, const char *unlocked, int *out_file,
                   int *out_refused);
extern const char bc__sys_temporary_name[];
/* Removes `name` if it is a name of the open file. ESTALE: it is another file's. */
int bc__sys_remove(int dir, const char *name, int file);
/* Removes an empty directory. */
int bc__sys_remove_dir(const char *path);
/* Removes the private directories of dead processes from `parent`: those with `prefix`
 * whose file `file_name` no process has locked. Ignores all errors. Does not scan a large
 * directory at every call. (reclaim.c) */
void bc__sys_reclaim(const char *parent, const char *prefix, const char *file_name);

/* ---- open files (file.c) ---- */

/* Opens the file for reading. Never waits. `writes`: opens it for writing too, but then
 * not through a symbolic link. */
int bc__sys_open(const char *path, bool writes, int *out_file);
/* Duplicates the descriptor. */
int bc__sys_dup(int file, int *out_file);
/* Closes the descriptor. */
void bc__sys_close(int descriptor);
/* Returns 0 if the file is a regular file.
 * EISDIR: it is a directory.
 * ESPIPE: it is neither. */
int bc__sys_check_regular(int file);
/* Identifies a file independently of its name. */
struct bc_identity {
    uint64_t device;
    uint64_t number;
};
int bc__sys_identity(int file, struct bc_identity *out);
/* Returns true if `path` is a name of the open file. */
bool bc__sys_is_name_of(const char *path, int file);
/* Opens the file again, read only, so that the descriptor has none of the locks of
 * `file`. Returns the descriptor, or -1. Safe in a fork's child. `path`: may be a name of
 * the file; NULL means unknown. */
int bc__sys_open_again(int file, const char *path);
/* Replaces the descriptor, in a fork's child, by one that has none of the locks. The
 * locks then end with the process that holds them. Read only. Safe in a fork's child. */
void bc__sys_reopen(int file, const char *path);
/* Reads `size` bytes, or fewer at the end of the file. If less than a quarter of a large
 * read is data, the read ends at the first hole. Time and memory therefore depend on the
 * bytes on the disk, not on sizes in the file. */
int bc__sys_read(int file, void *out, size_t size, int64_t offset, size_t *out_size);
/* Writes the iovecs, without their first `skip` bytes. On failure, an unknown part of the
 * bytes is in the file. `offset`: file offset of byte 0 of the iovecs. */
int bc__sys_write(int file, const struct bc_iovec *iovecs, size_t n_iovecs, size_t skip,
                  int64_t offset);
/* Sets the size of the file. */
int bc__sys_truncate(int file, int64_t size);
/* Returns the size of the file. */
int bc__sys_size(int file, int64_t *out_size);
/* Like bc__sys_size(), in less than half of the time, but moves the position of the open
 * file. */
int bc__sys_end(int file, int64_t *out_size);
/* Synchronises the content of the file, so that it survives a crash of the system. */
int bc__sys_sync(int file);
/* Gives a private file the mode of new files of this process.
 * ENOTSUP: that mode is not known. */
int bc__sys_publish_mode(int file);

/* ---- holes (holes.c) ---- */

/* Frees the blocks of [offset, offset + size), which becomes a hole. ENOTSUP, marked or
 * not: the file system cannot do that. */
int bc__sys_punch(int file, int64_t offset, int64_t size);
/* Returns how many of the bytes [offset, offset + size) bc__sys_read reads before a hole.
 * Ignores the end of the file. Returns `size` if the file system does not report
 * holes. */
size_t bc__sys_bytes_before_hole(int file, int64_t offset, size_t size);
/* Reads `size` bytes into zeroed memory. Holes leave the memory untouched. `out_size`:
 * less than `size` if the file is too short. */
int bc__sys_read_over_holes(int file, void *zeros, size_t size, int64_t offset,
                            size_t *out_size);

/* ---- mappings (map.c) ---- */

/* Maps [0, size) of the file, read only. Pages past the end of the file become valid as
 * it grows. The mapping keeps no lock of `file` if the file can be opened again. `path`:
 * may be a name of the file. ENOMEM: not enough address space. */
int bc__sys_map(int file, const char *path, size_t size, const uint8_t **out_memory);
/* Maps `size` bytes from `offset` on, which is a multiple of the page size. The memory
 * may be written: the system copies a page at the first write, and the file keeps its
 * bytes. The mapping keeps the locks of `file`. Returns 0 or an errno. */
int bc__sys_map_private(int file, int64_t offset, size_t size,
                        const uint8_t **out_memory);
/* Returns the size of a page, in bytes. */
size_t bc__sys_page_size(void);
void bc__sys_unmap(const uint8_t *memory, size_t size);
/* Zeroes the whole pages in memory from bc__calloc, so that they take no memory. Does
 * nothing if the system cannot do that. */
void bc__sys_discard_pages(void *memory, size_t size);

/* ---- locks (lock.c) ---- */

/* Locks the whole file exclusively until the open file is closed.
 * EAGAIN: another open file has the lock.
 * ENOLCK: the system refuses locks. */
int bc__sys_lock(int file);
/* Like bc__sys_lock(), but shared. */
int bc__sys_lock_shared(int file);
/* Releases either lock. */
void bc__sys_unlock(int file);
/* Returns whether another open file has the exclusive lock. */
enum bc_lock { BC_LOCK_FREE, BC_LOCK_HELD, BC_LOCK_UNKNOWN };
enum bc_lock bc__sys_probe_lock(int file);
/* Acquires the owner's lock of a cache's file.
 * EAGAIN: another process owns the file.
 * ENOLCK: the system refuses locks. */
int bc__sys_lock_owned(int file);

/* ---- time and process (system.c) ---- */

/* Returns the time of a monotonic clock; nanoseconds. */
int64_t bc__sys_now_ns(void);
/* Returns the time of a monotonic clock; milliseconds. Cheap, with a resolution of a few
 * milliseconds. */
int64_t bc__sys_now_ms(void);
void bc__sys_sleep_ms(int64_t ms);
/* Returns the identity of this thread. A later thread may have the same one. */
uintptr_t bc__sys_thread(void);
/* Returns the memory that this process may use: that of the machine, or the limit of its
 * control group if that is lower; bytes. */
uint64_t bc__sys_memory(void);
/* Returns the process id, cheaply. It differs in a fork's child. (process.c) */
int64_t bc__sys_process(void);
/* Returns how often this process has forked. (process.c) */
uint64_t bc__sys_forks(void);

#endif
