/* The disk tier: batches are appended to one file as messages, and read from its mapping.
 *
 *                     appended    ends with         kept   changed elsewhere
 *     cache           here        nothing, or (1)   no     no
 *     recording       here        (1) its trailer   yes    perhaps
 *     opened file     before      -                 yes    perhaps
 *
 * An opened file has an index, which is its trailer, or it is scanned. */
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
    const char *key;     /* a recording: see bc_cache_options; copied */
    bool is_recording;   /* `path` is its name; else the directory of a cache's file */
    bool durable;        /* a recording: see bc_cache_options */
    bool is_named_later; /* a recording: named when complete, so it needs no lock */
    uint64_t capacity;
    bool evicts;    /* batches are released, and their space is reclaimed */
    bool checksums; /* checksums are written, and verified if asked for */
    enum bc_codec codec;
};

struct bc_disk {
    struct bc_tier tier;       /* first member: the operations cast it back */
    struct bc_encoder encoder; /* the producer's */
    char *key;                 /* a recording's key, or NULL */
    struct bc_file file;
    struct bc_mapping mapping;
    struct bc_dictionaries dictionaries;
    int64_t schema_bytes; /* size of the file's first message; 0: not written yet */
    uint64_t schema_checksum;
    atomic_bool schema_verified;
    bool is_recording;         /* a recording that is written or continued here */
    bool is_partial;           /* an unreadable message is the end */
    bool follows;              /* another process may still write the file */
    struct bc_scanner scanner; /* the producer's, for an opened file without an index */
    struct bc_wire_block *blocks; /* the batches of an Arrow file; NULL: a stream */
    size_t n_blocks, next_block;
    uint64_t scanned, max_batches; /* number of batches found, and its limit */
    bool resumes;                  /* an incompletely written message is the end */
    bool saw_end;                  /* a follower: the recording is complete */
    int64_t scanned_rows;          /* rows of the batches found */
    int64_t scanned_bytes;         /* bytes of the messages found in an Arrow file */
    bool validates;                /* the first read of a batch validates it as a whole */
    atomic_bool decompresses;      /* a read met a compressed batch */
    struct bc_region *index;       /* of a storage with a trailer: the trailer's index */
    struct bc_read_ahead *ahead;   /* of a storage */
    _Atomic int64_t metadata_bytes; /* of a storage: of the longest metadata; 0: none */
    atomic_bool has_trailer;        /* the file has `trailer` */
    struct bc_trailer trailer;      /* set once, before `has_trailer` */
};

/* Creates a cache's file or a recording.
 * ENOTSUP: a type cannot be written. No file is created. */
int bc__disk_open(struct bc_disk *disk, const struct bc_schema *schema,
                  const struct bc_disk_options *options, struct bc_error *error);
/* Removes the file. Batches that were read stay valid. No other thread uses the disk. */
void bc__disk_close(struct bc_disk *disk);
/* Frees all memory. The caller called bc__disk_close() before. */
void bc__disk_finish(struct bc_disk *disk);

/* Keeps a copy of the key that the file has, or of no key. ENOMEM. */
int bc__disk_set_key(struct bc_disk *disk, struct bc_wire_text key);
/* Initialises the schema, the mapping and the dictionaries of a disk with a file. */
int bc__disk_init_reading(struct bc_disk *disk, const struct bc_schema *schema,
                          struct bc_error *error);

/* Compares the schema's message, which the scanner peeked, with its checksum. The digits
 * of the checksum are at `digits` in its metadata. (open.c)
 * EBADMSG: they differ. */
int bc__disk_check_schema(struct bc_disk *disk, const struct bc_scan_result *result,
                          size_t digits, struct bc_error *error);

/* A file to open. (open.c) */
struct bc_disk_source {
    int file; /* owned by the disk, on failure too; -1: `storage` */
    const struct bc_storage *storage; /* NULL: `file` */
    const char *path;
    bool is_lent; /* see bc_file */
    bool is_partial;
    bool follows;
    bool copies;
    bool is_writable;
    bool validates;
    uint64_t max_batches; /* at most so many are found by bc__disk_next() */
};
/* Opens a file for reading. The caller owns the schema, and frees it after the disk. If
 * the file has an index, `disk->has_trailer` is set. Otherwise bc__disk_next() scans the
 * file.
 * EINVAL: no Arrow file, stream or recording.
 * ENODATA: the recording is incomplete.
 * EBADMSG: the file is damaged.
 * ENOTSUP: the file has an unsupported type or version. */
int bc__disk_open_file(struct bc_disk *disk, const struct bc_disk_source *source,
                       struct bc_schema **out_schema, struct bc_error *error);
/* Opens an incomplete recording to continue it. The caller scans it with bc__disk_next(),
 * then calls bc__disk_start_appending(). (resume.c)
 * EEXIST: the recording is complete.
 * EBUSY: another process or cache writes it.
 * EINVAL: it has another schema. */
int bc__disk_resume(struct bc_disk *disk, const struct bc_schema *schema,
                    const struct bc_disk_options *options, struct bc_error *error);
/* Removes an incomplete recording, and no other file. (resume.c)
 * EEXIST: the recording is complete.
 * EBUSY: another process or cache writes it.
 * EINVAL: the file is no recording.
 * ENOLCK: the file system refuses locks. */
int bc__disk_discard(const char *path, struct bc_error *error);
/* Truncates the file after the scanned batches, where the next batch is appended. */
int bc__disk_start_appending(struct bc_disk *disk, struct bc_error *error);
/* Appends the schema, which is the file's first message. Only the producer calls it. */
int bc__disk_append_schema(struct bc_disk *disk, struct bc_error *error);
/* Writes the first bytes of a recording, and gives it its name.
 * EEXIST: the name exists. */
int bc__disk_publish_name(struct bc_disk *disk, struct bc_error *error);

/* Writes the trailer after the last batch, unless the file has it. One thread at a time.
 * (finalize.c)
 * EINVAL: a batch is not in the file. */
int bc__disk_finalize(struct bc_disk *disk, const struct bc_index *index,
                      struct bc_error *error);
/* Adds the bytes of each column of a batch to `columns`, as bc__measure_columns() does.
 * Any thread. (read.c) */
int bc__disk_measure(struct bc_disk *disk, struct bc_extent extent, uint64_t number,
                     int64_t *columns, enum bc_codec *out_codec, struct bc_error *error);

/* The operations of a tier (disk/tier_ops.h), by file: loaded_message.c, read.c,
 * read_cost.c, scan_batches.c. */
int bc__disk_check(struct bc_tier *tier, struct bc_error *error);
int bc__disk_locate(struct bc_tier *tier, uint64_t number,
                    struct bc_index_entry *out_entry, struct bc_error *error);
int bc__disk_read(struct bc_tier *tier, struct bc_extent extent, uint64_t number,
                  struct bc_tier_read request, struct bc_batch **out_batch,
                  struct bc_error *error);
uint64_t bc__disk_read_cost(struct bc_tier *tier, struct bc_extent extent, uint64_t rows,
                            bool is_new);
int bc__disk_next(struct bc_tier *tier, struct bc_extent *out_extent, uint64_t *out_rows,
                  struct bc_error *error);

static inline struct bc_disk *bc__disk_of(struct bc_tier *tier) {
    return (struct bc_disk *)tier;
}

#endif
