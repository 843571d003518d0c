/* The disk tier as a whole: batches in, as messages of one file; batches out, mapped.
 *
 *                     appended    ends with         kept   changed by others
 *     a cache's       here        nothing, or (1)   no     no
 *     a recording     here        (1) its trailer   yes    perhaps
 *     opened          before      -                 yes    perhaps
 *
 * An opened file has an index, its trailer, or it is scanned. */
#ifndef BC_DISK_DISK_H
#define BC_DISK_DISK_H

#include "disk/dictionary.h"
#include "disk/file.h"
#include "disk/mapping.h"
#include "disk/scanner.h"
#include "disk/trailer.h"
#include "ipc/encode.h"

struct bc_disk_options {
    const char *path;
    bool is_recording;   /* `path` is its name, else the directory of a cache's file */
    bool durable;        /* a recording: as bc_cache_options has it */
    bool is_named_later; /* a recording: when it is complete, so it needs no lock */
    uint64_t bytes_max;
    bool evicts;    /* batches are given up, and their room is wanted back */
    bool checksums; /* written, and verified where asked for */
    enum bc_codec codec;
};

struct bc_disk {
    struct bc_encoder encoder; /* the producer's */
    struct bc_file file;
    struct bc_mapping mapping;
    struct bc_dictionaries dictionaries;
    int64_t schema_bytes; /* of the file's first message; 0: not written yet */
    uint64_t schema_checksum;
    atomic_bool schema_verified;
    bool is_partial;              /* what cannot be read is the end */
    bool follows;                 /* the file is still being written */
    struct bc_scanner scanner;    /* the producer's, of an opened file without an index */
    struct bc_wire_block *blocks; /* of an Arrow file: its batches; NULL: a stream */
    size_t n_blocks, next_block;
    uint64_t scanned, batches_max; /* batches that were found, and how many may be */
    bool resumes;                  /* what was not written whole is the end */
    bool saw_end;                  /* a follower: the recording is complete now */
    int64_t scanned_rows;          /* in them */
    int64_t scanned_bytes;         /* of an Arrow file: in messages that were found */
    bool copies;                   /* messages are read into memory instead of mapped */
    bool validates; /* batches are looked at as a whole when they are first read */
    atomic_bool decompresses;  /* a batch was read that is compressed */
    atomic_bool has_trailer;   /* `trailer` is in the file */
    struct bc_trailer trailer; /* written once, before `has_trailer` */
};

/* ENOTSUP: a type that cannot be written (before anything is made). */
int bc__disk_open(struct bc_disk *disk, const struct bc_schema *schema,
                  const struct bc_disk_options *options, struct bc_error *error);
/* Removes the file. Batches that were read stay valid. Nobody is inside. */
void bc__disk_close(struct bc_disk *disk);
/* After bc__disk_close. */
void bc__disk_finish(struct bc_disk *disk);

/* Writes a batch, before it the dictionaries that it needs, and before all the schema.
 * With `more`, another one follows soon, and they may be written together. The
 * producer's. */
int bc__disk_append(struct bc_disk *disk, struct bc_batch *batch,
                    const struct bc_buffer_ranges *ranges, bool more, int64_t *out_offset,
                    int64_t *out_size, struct bc_error *error);
/* What a disk needs besides its file: a schema, a mapping of it, and dictionaries. */
int bc__disk_init_reading(struct bc_disk *disk, const struct bc_schema *schema,
                          struct bc_error *error);

/* Compares the schema's message, which was just looked at, with its checksum, whose
 * digits are at `digits` of its metadata. EBADMSG: they differ. (open.c) */
int bc__disk_check_schema(struct bc_disk *disk, const struct bc_scan_result *result,
                          size_t digits, struct bc_error *error);

/* A file to open. (open.c) */
struct bc_disk_source {
    int file; /* moves in, on failure too */
    const char *path;
    bool is_lent; /* bc_file's */
    bool is_partial;
    bool follows;
    bool copies;
    bool validates;
    uint64_t batches_max; /* that bc__disk_next gives */
};
/* Opens a file for reading; the schema is the caller's, who frees it after the disk. With
 * an index `disk->has_trailer` is set; without one bc__disk_next scans. EINVAL: not such
 * a file; ENODATA: a recording that is not complete; EBADMSG: damaged; ENOTSUP. */
int bc__disk_open_file(struct bc_disk *disk, const struct bc_disk_source *source,
                       struct bc_schema **out_schema, struct bc_error *error);
/* Opens a recording that nobody has completed, to go on with it: bc__disk_next scans what
 * is there, then bc__disk_start_appending. (resume.c) EEXIST: it is complete; EBUSY:
 * somebody else is at it; EINVAL: it has another schema. */
int bc__disk_resume(struct bc_disk *disk, const struct bc_schema *schema,
                    const struct bc_disk_options *options, struct bc_error *error);
/* Removes a recording that was left before it was complete, and no other file. EEXIST,
 * EBUSY as above; EINVAL: it is no recording; ENOLCK: nobody knows. (resume.c) */
int bc__disk_discard(const char *path, struct bc_error *error);
/* The next batch is written behind what was scanned; what else stands there goes. */
int bc__disk_start_appending(struct bc_disk *disk, struct bc_error *error);
/* Where the next batch of a file without an index is, and its rows; `size` 0: there are
 * no more. (scan_batches.c) EAGAIN: not yet, in a file that is followed; EOWNERDEAD:
 * there will be none. The producer's. */
int bc__disk_next(struct bc_disk *disk, struct bc_trailer_batch *out_batch,
                  int64_t *out_rows, struct bc_error *error);

/* The file's first message. The producer's. */
int bc__disk_append_schema(struct bc_disk *disk, struct bc_error *error);
/* A recording's first bytes, and its name, which it must not share: EEXIST. */
int bc__disk_publish_name(struct bc_disk *disk, struct bc_error *error);

/* The batches of a file, of which the disk itself keeps no list. */
struct bc_listing {
    uint64_t batches;
    uint64_t rows;
    uint64_t bytes;
    /* False where the batch is not in the file. */
    bool (*at)(void *context, uint64_t number, struct bc_trailer_batch *out_batch);
    void *context;
};
/* Writes the trailer behind the batches, which are all there will be, unless it is there.
 * One thread at a time. EINVAL: a batch is not in the file. (complete.c) */
int bc__disk_finalize(struct bc_disk *disk, const struct bc_listing *listing,
                      struct bc_error *error);

/* Is what was given out of the file still there? EIO. Any thread. */
int bc__disk_check(struct bc_disk *disk, struct bc_error *error);
/* Entry `number` of the trailer, and the rows of its batch. Any thread. EBADMSG. */
int bc__disk_locate(struct bc_disk *disk, uint64_t number,
                    struct bc_trailer_batch *out_batch, uint64_t *out_rows,
                    struct bc_error *error);

/* Releases what appends replaced, and with `done` what they kept. No lock is held. */
void bc__disk_release_retired(struct bc_disk *disk, bool done);
/* What of a batch is wanted, what of that was not verified yet, and for how much work. */
struct bc_disk_read {
    const struct bc_projection *projection; /* NULL: all columns */
    const uint64_t *unverified;             /* columns, a bit each; NULL: none */
    int64_t bytes_max; /* to verify, decompress and append to chains; 0: any */
};

/* Batch `number` from where append put it. Any thread. With `bytes_max` it waits for no
 * other thread's read; EAGAIN: it must, or there is more to do. (read.c) */
int bc__disk_read(struct bc_disk *disk, int64_t offset, int64_t size, uint64_t number,
                  struct bc_disk_read what, struct bc_batch **out_batch,
                  struct bc_error *error);
/* The bytes that a read of the batch there touches at least, about: those it verifies,
 * copies and decompresses. Any thread. (weigh.c) */
uint64_t bc__disk_read_cost(const struct bc_disk *disk, int64_t size, uint64_t rows,
                            bool is_new);
/* Adds up the bytes of each column of a batch; bc__measure_columns. Any thread. */
int bc__disk_measure(struct bc_disk *disk, int64_t offset, int64_t size, uint64_t number,
                     int64_t *columns, enum bc_codec *out_codec, struct bc_error *error);
/* The batch there, and all before it, will not be read any more. Any thread. */
void bc__disk_release(struct bc_disk *disk, int64_t offset, int64_t size);

#endif
