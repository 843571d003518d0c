/* The file of a disk tier, append only: `cache.arrow`, locked, in a fresh private
 * directory; or a recording, which has the name that its user gave it and stays; or one
 * that somebody wrote before, which is only read.
 *
 * What is written is an Arrow IPC stream: the schema, then the batches. A message counts
 * when its append has returned 0.
 *
 *      0 ............ written ............ size
 *      in the file        in `block`          not there yet
 *
 * The process that opened the file writes it, and no child of a fork: ECANCELED.
 *
 * Small messages that more will follow are collected in a block of memory and written
 * together. Only the producer appends; anyone may read, flush, and give up messages.
 *
 * Other processes read a recording while it grows. A group of messages is written from
 * its 9th byte on, and its first 8 bytes are written last, which publishes the group:
 *
 *      0 ...... published ...... reach
 *      stays       a write that failed left it: cut off
 *
 * Invariants: the file is never cut below `published`, because a reader may have mapped
 * what is there. `written` <= `published`, except in a cache's file, which counts what is
 * written as published. `published` > `written` only where synchronising failed behind
 * the publication; then `broken` is set, and nothing is written any more. */
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
    int dir; /* -1: not a cache's */
    int file;
    char *dir_path; /* NULL: not a cache's */
    char *path;
    struct bc_naming naming; /* a recording's, until it has its name */
    int refused;             /* the errno with which the owner's lock was refused */
    bool needs_lock;         /* it has its name before it is complete */
    bool is_named;           /* a recording that this cache gave its name, `path` */
    bool is_locked;          /* a recording's lock is this process's, and no child's */
    bool publishes_last;     /* a recording that is being written */
    bool durable;            /* what is published is on the disk */
    bool is_lent;            /* the user's too, who may read it where its position is */
    atomic_bool is_public;   /* others may change it while it is read */
    _Atomic int broken;      /* the errno with which synchronising failed: it stays */
    int64_t published;       /* the producer's: never cut below */
    int64_t reach;           /* the producer's: no write went beyond */
    _Atomic int64_t size;
    _Atomic int64_t written;
    _Atomic uint64_t limit;         /* of bytes, holes not counted */
    int64_t process;                /* which may remove the file */
    struct bc_page_refs *page_refs; /* NULL: nothing is ever given up */
    struct bc_member member;        /* of what the process has */
    struct bc_mutex lock;           /* guards what follows */
    struct bc_region *block;
    size_t collected; /* bytes in the block */
};

/* Makes the directory and the empty file below `path`. With `evicts`, what is given up
 * becomes room again. */
int bc__file_create(struct bc_file *file, const char *path, uint64_t bytes_max,
                    bool evicts, struct bc_error *error);
/* Makes an empty recording in the directory of `path`, without its name. ENOLCK: locks
 * are refused, and it `needs_lock`. */
int bc__file_record(struct bc_file *file, const char *path, bool durable, bool needs_lock,
                    struct bc_error *error);
/* Takes over an open file of `size` bytes, on failure too; `path` is for people. */
int bc__file_adopt(struct bc_file *file, int descriptor, const char *path, int64_t size);
/* Opens the file at `path`, locks it, and has `*out_naming` for its name; both stay as
 * they are on failure. */
typedef int bc_file_opener(const char *path, struct bc_naming *out_naming, int *out_file);
/* Takes over a recording that `open` opens, and no fork sees between the two: a child
 * that had the file, and did not know, would keep it locked. 0 or an errno. */
int bc__file_adopt_locked(struct bc_file *file, const char *path, bc_file_opener *open);
/* Gives a recording its name, `path`. EEXIST, unless it `replaces`. */
int bc__file_name(struct bc_file *file, bool replaces, struct bc_error *error);
/* Takes the name away again that bc__file_name gave. */
void bc__file_unlink_name(struct bc_file *file);
/* Appends iovecs of `size` bytes in all, at the end: `*out_offset`. With `more`, another
 * message follows soon, and this one may wait for it. ENOMEM: over the limit; or the
 * errno of the write, of this message or of one that waited. */
int bc__file_append(struct bc_file *file, const struct bc_iovec *iovecs, size_t n_iovecs,
                    int64_t size, bool more, int64_t *out_offset, struct bc_error *error);
/* Nothing waits. */
bool bc__file_is_flushed(const struct bc_file *file);
/* Writes what waits. After a failure it still waits, and can be read. */
int bc__file_flush(struct bc_file *file, struct bc_error *error);
/* What is in the file is on the disk when this returns 0. A failure stays: nothing more
 * is written. */
int bc__file_sync(struct bc_file *file, struct bc_error *error);
/* The same by another descriptor of the file: 0 or an errno. */
int bc__file_sync_as(struct bc_file *file, int descriptor);
/* Makes an opened file a recording that goes on at `end`, and cuts off what is behind. */
int bc__file_start_appending(struct bc_file *file, int64_t end, struct bc_error *error);
/* Writes behind the end of what was appended, which is flushed; it counts for nothing. */
int bc__file_write_behind(struct bc_file *file, const void *data, size_t size,
                          int64_t offset, struct bc_error *error);
/* Publishes what was written behind the end, up to `end`, by its first 8 bytes, `prefix`,
 * at `offset`. With `durable` it is on the disk before and after. On failure it may be
 * published all the same, and then stays. */
int bc__file_publish(struct bc_file *file, const void *prefix, int64_t offset,
                     int64_t end, struct bc_error *error);
/* Cuts off what is not published. Where that fails it is done before the next write. */
int bc__file_cut(struct bc_file *file, struct bc_error *error);
/* A counted block that holds [offset, offset + size), or NULL: it is written. */
struct bc_region *bc__file_collected(struct bc_file *file, int64_t offset);
/* The message that an append put there is not needed any more. */
void bc__file_release(struct bc_file *file, int64_t offset, int64_t size);
/* Bytes that the limit counts. */
uint64_t bc__file_used(const struct bc_file *file);
/* Returns true in a child of the process that opened the file. */
static inline bool bc__file_is_forked(const struct bc_file *file) {
    return file->process != bc__sys_process();
}

/* Nothing will be written any more; a recording's lock goes, for others to see that. */
void bc__file_abort(struct bc_file *file);
/* Takes away the names of the file and of its directory, in the process that made them;
 * what is in the file can be read and written on. False: the directory is there yet. */
bool bc__file_unlink(struct bc_file *file);
/* Removes the file and its directory (in the process that made them), gives the
 * descriptors back. Again, it does nothing. */
void bc__file_remove(struct bc_file *file);
/* Frees all the rest too. */
void bc__file_finish(struct bc_file *file);

#endif
