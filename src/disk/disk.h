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
#include "disk/tier_ops.h"
#include "disk/trailer.h"
#include "ipc/encode.h"

extern const struct bc_tier_ops bc__disk_ops;

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
    struct bc_tier tier;       /* first: the operations cast it back */
    struct bc_encoder encoder; /* the producer's */
    struct bc_file file;
    struct bc_mapping mapping;
    struct bc_dictionaries dictionaries;
    int64_t schema_bytes; /* of the file's first message; 0: not written yet */
    uint64_t schema_checksum;
    atomic_bool schema_verified;
    bool is_recording;            /* that is written here, or continued */
    bool is_partial;              /* what cannot be read is the end */
    bool follows;                 /* the file is still being written */
    struct bc_scanner scanner;    /* the producer's, of an opened file without an index */
    struct bc_wire_block *blocks; /* of an Arrow file: its batches; NULL: a stream */
    size_t n_blocks, next_block;
    uint64_t scanned, max_batches; /* batches that were found, and how many may be */
    bool resumes;                  /* what was not written whole is the end */
    bool saw_end;                  /* a follower: the recording is complete now */
    int64_t scanned_rows;          /* in them */
    int64_t scanned_bytes;         /* of an Arrow file: in messages that were found */
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
    uint64_t max_batches; /* that bc__disk_next gives */
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
/* The file's first message. The producer's. */
int bc__disk_append_schema(struct bc_disk *disk, struct bc_error *error);
/* A recording's first bytes, and its name, which it must not share: EEXIST. */
int bc__disk_publish_name(struct bc_disk *disk, struct bc_error *error);

/* Writes the trailer behind the batches, which are all there will be, unless it is there.
 * One thread at a time. EINVAL: a batch is not in the file. (finalize.c) */
int bc__disk_finalize(struct bc_disk *disk, const struct bc_index *index,
                      struct bc_error *error);
/* Adds up the bytes of each column of a batch; bc__measure_columns. Any thread. (read.c)
 */
int bc__disk_measure(struct bc_disk *disk, struct bc_extent extent, uint64_t number,
                     int64_t *columns, enum bc_codec *out_codec, struct bc_error *error);

/* The operations of a tier (disk/tier_ops.h), by file: loaded_message.c, read.c,
 * read_cost.c, scan_batches.c. */
int bc__disk_check(struct bc_tier *tier, struct bc_error *error);
int bc__disk_locate(struct bc_tier *tier, uint64_t number,
                    struct bc_index_entry *out_entry, struct bc_error *error);
int bc__disk_read(struct bc_tier *tier, struct bc_extent extent, uint64_t number,
                  struct bc_tier_read what, struct bc_batch **out_batch,
                  struct bc_error *error);
uint64_t bc__disk_read_cost(struct bc_tier *tier, struct bc_extent extent, uint64_t rows,
                            bool is_new);
int bc__disk_next(struct bc_tier *tier, struct bc_extent *out_extent, uint64_t *out_rows,
                  struct bc_error *error);

static inline struct bc_disk *bc__disk_of(struct bc_tier *tier) {
    return (struct bc_disk *)tier;
}

#endif
