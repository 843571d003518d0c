/* The file of a disk tier, append only: `cache.arrow`, locked, in a fresh private
 * directory; or a recording, which has the name that its user gave it and stays; or one
 * that somebody wrote before, which is only read.
 *
 * What is written is an Arrow IPC stream: the schema, then the batches. A message counts
 * when its append has returned 0; what a failed append left behind the end is cut off. In
 * a recording, which others read meanwhile, the first 8 bytes of what is written go last.
 *
 *      0 ............ written ............ size
 *      in the file        in `block`          not there yet
 *
 * Small messages that more will follow are collected in a block of memory and written
 * together. Only the producer appends; anyone may read, flush, and give up messages. */
#ifndef BC_DISK_FILE_H
#define BC_DISK_FILE_H

#include "base/sync.h"
#include "base/sys.h"
#include "batchcorder/batchcorder.h"
#include "disk/space.h"
#include "disk/window.h"

struct bc_file {
    int dir; /* -1: not a cache's */
    int file;
    char *dir_path; /* NULL: not a cache's */
    char *path;
    char *hidden;          /* a recording's, until it has its name; or NULL */
    bool is_named;         /* a recording that this cache gave its name, `path` */
    bool publishes_last;   /* a recording that is being written */
    bool durable;          /* what is published is on the disk */
    bool is_lent;          /* the user's too, who may read it where its position is */
    atomic_bool is_public; /* others may change it while it is read */
    bool is_torn;          /* behind `written` stands what a write left that failed */
    _Atomic int broken;    /* the errno with which synchronising failed: it stays */
    _Atomic int64_t size;
    _Atomic int64_t written;
    _Atomic uint64_t limit;    /* of bytes, holes not counted */
    int64_t process;           /* which may remove the file */
    struct bc_space *space;    /* NULL: nothing is ever given up */
    struct bc_file *next_open; /* at_exit.c's */
    struct bc_file *previous_open;
    struct bc_mutex lock; /* guards what follows */
    struct bc_window *block;
    size_t collected; /* bytes in the block */
};

/* Makes the directory and the empty file below `path`. With `evicts`, what is given up
 * becomes room again. */
int bc__file_create(struct bc_file *file, const char *path, uint64_t bytes_max,
                    bool evicts, struct bc_error *error);
/* Makes an empty recording in the directory of `path`, without its name. */
int bc__file_record(struct bc_file *file, const char *path, bool durable,
                    struct bc_error *error);
/* Takes over an open file of `size` bytes, on failure too; `path` is for people. */
int bc__file_adopt(struct bc_file *file, int descriptor, const char *path, int64_t size);
/* Gives a recording its name. EEXIST, unless it `replaces`. */
int bc__file_name(struct bc_file *file, const char *path, bool replaces,
                  struct bc_error *error);
/* Takes the name away again that bc__file_name gave. */
void bc__file_unname(struct bc_file *file);
/* Appends pieces of `size` bytes in all, at the end: `*out_offset`. With `more`, another
 * message follows soon, and this one may wait for it. ENOMEM: over the limit; or the
 * errno of the write, of this message or of one that waited. */
int bc__file_append(struct bc_file *file, const struct bc_piece *pieces, size_t n_pieces,
                    int64_t size, bool more, int64_t *out_offset, struct bc_error *error);
/* Writes what waits. After a failure it still waits, and can be read. */
int bc__file_flush(struct bc_file *file, struct bc_error *error);
/* What is in the file is on the disk when this returns 0. A failure stays: nothing more
 * is written. */
int bc__file_sync(struct bc_file *file, struct bc_error *error);
/* The same by another descriptor of the file: 0 or an errno. */
int bc__file_sync_as(struct bc_file *file, int descriptor);
/* Writes behind the end of what was appended, which is flushed; it counts for nothing. */
int bc__file_write_behind(struct bc_file *file, const void *data, size_t size,
                          int64_t offset, struct bc_error *error);
/* Cuts off what is behind the end. Where that fails it is done before the next write. */
int bc__file_cut(struct bc_file *file, struct bc_error *error);
/* A counted block that holds [offset, offset + size), or NULL: it is written. */
struct bc_window *bc__file_collected(struct bc_file *file, int64_t offset);
/* The message that an append put there is not needed any more. */
void bc__file_give_up(struct bc_file *file, int64_t offset, int64_t size);
/* Bytes that the limit counts. */
uint64_t bc__file_used(const struct bc_file *file);

/* Nothing will be written any more; a recording's lock goes, for others to see that. */
void bc__file_abandon(struct bc_file *file);
/* In a fork's child, with the lock held: a recording's lock is the parent's alone. */
void bc__file_forked(struct bc_file *file);
/* Takes away the names of the file and of its directory, in the process that made them;
 * what is in the file can be read and written on. */
void bc__file_unlink(struct bc_file *file);
/* Removes the file and its directory (in the process that made them), gives the
 * descriptors back. Again, it does nothing. */
void bc__file_remove(struct bc_file *file);
/* Frees all the rest too. */
void bc__file_finish(struct bc_file *file);

#endif
