/* The file of a disk tier, of one of three kinds. A cache's file is `cache.arrow`,
 * locked, in a new private directory. A recording has the name that its user gave, and
 * stays. An opened file was written before, and is only read.
 *
 * A file that is written here is an Arrow IPC stream: the schema, then the batches. The
 * file is append only. A message is part of it once its append has returned 0.
 *
 *      0 ............ written ............ size
 *      in the file        in `block`          free
 *
 * Only the process that opened the file writes it. In a forked child, writes fail with
 * ECANCELED.
 *
 * Small messages are collected in a block of memory and written together, if more
 * messages follow. Only the producer appends. Any thread may read, flush and release
 * messages.
 *
 * Other processes read a recording while it grows. A group of messages is written from
 * its 9th byte on. Its first 8 bytes are written last, which publishes the group:
 *
 *      0 ...... published ...... reach
 *      permanent   left by a failed write, truncated later
 *
 * Invariants: the file is never truncated below `published`, because a reader may have
 * mapped these bytes. `written` <= `published`, except in a cache's file, where all
 * written bytes count as published. `published` > `written` only if a synchronisation
 * failed after a publication. Then `broken` is set, and nothing more is written. */
#ifndef BC_DISK_FILE_H
#define BC_DISK_FILE_H

#include "base/naming.h"
#include "base/process.h"
#include "base/sync.h"
#include "base/sys.h"
#include "batchcorder/batchcorder.h"
#include "disk/page_refs.h"
#include "disk/region.h"

struct bc_file {
    int dir;                   /* directory of a cache's file, or -1 */
    int file;                  /* or -1: the file has a storage, or it is closed */
    struct bc_storage storage; /* `read` NULL: none */
    char *dir_path;            /* path of the directory of a cache's file, or NULL */
    char *path;
    struct bc_naming naming; /* of a recording without its name */
    int refused;             /* errno with which the file system refused the lock, or 0 */
    bool needs_lock; /* a recording gets its name while incomplete, so it needs a lock */
    bool is_named;   /* a recording that has its name, `path` */
    bool is_locked;  /* this process, and no child, has the recording's lock */
    bool publishes_last;   /* a group's first 8 bytes are written last: a recording */
    bool durable;          /* published bytes are synchronised */
    bool is_lent;          /* the user's descriptor too: its position must not move */
    atomic_bool is_public; /* other processes may change the file */
    _Atomic int broken;    /* errno of all further writes, or 0 */
    int64_t published;     /* the producer's: the file is never truncated below */
    int64_t reach;         /* the producer's: end of the furthest write */
    _Atomic int64_t size;
    _Atomic int64_t written;
    _Atomic uint64_t capacity;      /* in bytes, without holes */
    int64_t process;                /* the process that opened the file */
    struct bc_page_refs *page_refs; /* NULL: no message is ever released */
    struct bc_member member;        /* in the process's registry */
    struct bc_mutex lock;           /* guards the members below */
    struct bc_region *block;
    size_t collected; /* size of the messages in the block */
};

/* Creates a private directory in `path`, and an empty file in it. With `evicts`, released
 * messages become holes and free space again. */
int bc__file_create(struct bc_file *file, const char *path, uint64_t capacity,
                    bool evicts, struct bc_error *error);
/* Creates an empty recording without its name in the directory of `path`.
 * ENOLCK: `needs_lock` is set, and the file system refuses locks. */
int bc__file_record(struct bc_file *file, const char *path, bool durable, bool needs_lock,
                    struct bc_error *error);
/* Takes ownership of an open file of `size` bytes, on failure too. `path`: its path, for
 * error messages. */
int bc__file_adopt(struct bc_file *file, int descriptor, const char *path, int64_t size);
/* Opens the file at `path`, locks it, and initialises `*out_naming`. On failure, both
 * outputs stay untouched. */
typedef int bc_file_opener(const char *path, struct bc_naming *out_naming, int *out_file);
/* Takes a copy of a storage in place of an open file. On failure, the storage is not
 * released. */
int bc__file_adopt_storage(struct bc_file *file, const struct bc_storage *storage,
                           const char *path);
/* Takes ownership of the recording that `open` opens. Forks are blocked meanwhile: a
 * child with an unregistered descriptor would keep the file locked. Returns 0 or an
 * errno. */
int bc__file_adopt_locked(struct bc_file *file, const char *path, bc_file_opener *open);
/* Gives a recording its name, `path`.
 * EEXIST: the name exists, and `replaces` is false. */
int bc__file_name(struct bc_file *file, bool replaces, struct bc_error *error);
/* Removes the name that bc__file_name gave. */
void bc__file_unlink_name(struct bc_file *file);
/* Appends iovecs of `size` bytes in all, at `*out_offset`. With `more`, another message
 * follows soon, and this message may wait for it. A failed write of a waiting message
 * fails this append.
 * ENOMEM: over the capacity.
 * ECANCELED: in a forked child, or after bc__file_abort(). */
int bc__file_append(struct bc_file *file, const struct bc_iovec *iovecs, size_t n_iovecs,
                    int64_t size, bool more, int64_t *out_offset, struct bc_error *error);
/* Returns whether no message waits in the block. */
bool bc__file_is_flushed(const struct bc_file *file);
/* Writes the waiting messages. After a failure they still wait, and can be read. */
int bc__file_flush(struct bc_file *file, struct bc_error *error);
/* Synchronises the file. A failure is permanent: nothing more is written. */
int bc__file_sync(struct bc_file *file, struct bc_error *error);
/* Synchronises the file by another descriptor. Returns 0 or an errno. */
int bc__file_sync_as(struct bc_file *file, int descriptor);
/* Makes an opened file a recording that continues at `end`, and truncates it there. */
int bc__file_start_appending(struct bc_file *file, int64_t end, struct bc_error *error);
/* Writes data after the appended messages, which are flushed. The data is not part of the
 * file before its publication. */
int bc__file_write_behind(struct bc_file *file, const void *data, size_t size,
                          int64_t offset, struct bc_error *error);
/* Publishes the data between `offset` and `end`, by writing its first 8 bytes, `prefix`.
 * With `durable`, the file is synchronised before and after. After a failure, the data
 * may be published, and then stays. */
int bc__file_publish(struct bc_file *file, const void *prefix, int64_t offset,
                     int64_t end, struct bc_error *error);
/* Truncates the file to its published bytes. If that fails, the next write does it first.
 */
int bc__file_cut(struct bc_file *file, struct bc_error *error);
/* Returns a reference to the block with the message at `offset`. NULL: the message is
 * written. */
struct bc_region *bc__file_collected(struct bc_file *file, int64_t offset);
/* Releases an appended message. */
void bc__file_release(struct bc_file *file, int64_t offset, int64_t size);
/* Returns the bytes that count towards the capacity. */
uint64_t bc__file_used(const struct bc_file *file);
/* Gets the size of the file: by the system, or of its storage. (file_read.c) */
int bc__file_size(const struct bc_file *file, int64_t *out_size);
/* Returns whether no byte in [offset, end) is in a hole of the file. (file_read.c) */
bool bc__file_is_whole(const struct bc_file *file, int64_t offset, int64_t end);
/* Reads `size` bytes at `offset`, or fewer if the file ends before. An error of the
 * storage fills `error`, and sets its code. (file_read.c) */
int bc__file_read(const struct bc_file *file, void *bytes, size_t size, int64_t offset,
                  size_t *out_size, struct bc_error *error);
/* Reads ranges of a storage, which are inside of it. `buffers` has a buffer for each
 * range. As bc__file_read(). (file_read.c) */
int bc__file_read_ranges(const struct bc_file *file, const struct bc_range *ranges,
                         void *const *buffers, size_t n, struct bc_error *error);
/* Starts reading ranges of a storage, as bc_storage describes it. (file_read.c) */
int bc__file_read_ahead(const struct bc_file *file, const struct bc_range *ranges,
                        size_t n);
/* Lets a storage forget its bytes, because a checksum was wrong. Returns false if it
 * cannot. (file_read.c) */
bool bc__file_distrust(const struct bc_file *file);
static inline bool bc__file_has_storage(const struct bc_file *file) {
    return file->storage.read != NULL;
}
/* Returns true in a child of the process that opened the file. */
static inline bool bc__file_is_forked(const struct bc_file *file) {
    return file->process != bc__sys_process();
}

/* Stops all writing, and unlocks a recording, so that other processes notice. */
void bc__file_abort(struct bc_file *file);
/* Removes the names of the file and of its directory, in the process that created them.
 * The data can still be read and written. Returns false if the directory still exists. */
bool bc__file_unlink(struct bc_file *file);
/* Removes the file and its directory, in the process that created them, and closes the
 * descriptors. A second call does nothing. */
void bc__file_remove(struct bc_file *file);
/* Removes the file as bc__file_remove() does, and frees all memory. */
void bc__file_finish(struct bc_file *file);

#endif
