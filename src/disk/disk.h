/* The disk tier as a whole: batches in, as messages of one file; batches out, mapped. */
#ifndef BC_DISK_DISK_H
#define BC_DISK_DISK_H

#include "disk/dictionary.h"
#include "disk/encode.h"
#include "disk/file.h"
#include "disk/map.h"

struct bc_disk_options {
    const char *path;
    uint64_t bytes_max;
    bool evicts;    /* batches are given up, and their room is wanted back */
    bool checksums; /* written, and verified where asked for */
    enum bc_codec codec;
};

struct bc_disk {
    struct bc_encoder encoder; /* the producer's */
    struct bc_file file;
    struct bc_map map;
    struct bc_dictionaries dictionaries;
    int64_t schema_bytes; /* of the file's first message; 0: not written yet */
    uint64_t schema_checksum;
    atomic_bool schema_verified;
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
                    const struct bc_extents *extents, bool more, int64_t *out_offset,
                    int64_t *out_size, struct bc_error *error);
/* Releases what appends replaced, and with `done` what they kept. No lock is held. */
void bc__disk_tidy(struct bc_disk *disk, bool done);
/* What of a batch is wanted, and what of that was not verified yet. */
struct bc_disk_read {
    const struct bc_projection *projection; /* NULL: all columns */
    const uint64_t *unverified;             /* columns, a bit each; NULL: none */
};

/* Batch `number` from where append put it. Any thread. (read.c) */
int bc__disk_read(struct bc_disk *disk, int64_t offset, int64_t size, uint64_t number,
                  struct bc_disk_read what, struct bc_batch **out_batch,
                  struct bc_error *error);
/* The batch there, and all before it, will not be read any more. Any thread. */
void bc__disk_give_up(struct bc_disk *disk, int64_t offset, int64_t size);

#endif
