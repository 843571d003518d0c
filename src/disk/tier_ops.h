/* The operations of a disk tier. src/disk implements them, and src/store calls them.
 *
 * The store knows its disk tier by this header alone. A tier is the first member of the
 * struct that implements it. */
#ifndef BC_DISK_TIER_OPS_H
#define BC_DISK_TIER_OPS_H

#include "arrow/batch.h"
#include "arrow/buffer_ranges.h"
#include "arrow/projection.h"
#include "arrow/statistics.h"
#include "disk/extent.h"

/* The entry of a batch in an index. */
struct bc_index_entry {
    struct bc_extent extent;
    uint64_t first_row; /* rows of all batches before it */
    uint64_t rows;
};

/* All batches of a stream, for a trailer. The tier itself has no list of its batches. */
struct bc_index {
    uint64_t batches;
    uint64_t rows;
    uint64_t bytes;
    /* Gets the entry of batch `number`. EINVAL, ENOMEM or an errno of reading. */
    int (*entry)(const void *context, uint64_t number, struct bc_index_entry *out_entry,
                 struct bc_error *error);
    const void *context;
    struct bc_statistics *statistics; /* of the batches; NULL: none are gathered */
};

/* A write of a batch. */
struct bc_tier_write {
    struct bc_batch *batch;
    const struct bc_buffer_ranges *ranges;
    bool more; /* another batch follows soon, and this write may wait for it */
    /* Gathers the batch, for which memory is reserved, before it is written: after its
     * checksums, it is in the processor's caches. NULL: no statistics are gathered. */
    struct bc_statistics *statistics;
};

/* A read of a batch. */
struct bc_tier_read {
    const struct bc_projection *projection; /* NULL: all columns */
    const uint64_t *unverified; /* a bit for each column to verify; NULL: none */
    int64_t bytes_max; /* to verify, decompress and append to chains; 0: no limit */
    uint64_t stop;     /* a storage is read ahead up to this batch; 0: it is not */
};

struct bc_tier;

struct bc_tier_ops {
    /* Writes a batch. Only the producer calls it. */
    int (*append)(struct bc_tier *tier, const struct bc_tier_write *write,
                  struct bc_extent *out_extent, struct bc_error *error);
    /* Writes the batches that wait in memory. Any thread. */
    int (*flush)(struct bc_tier *tier, struct bc_error *error);
    /* Reads batch `number`. Any thread.
     * EAGAIN: the read takes more work than `bytes_max`, or it would wait for another
     * thread. */
    int (*read)(struct bc_tier *tier, struct bc_extent extent, uint64_t number,
                struct bc_tier_read request, struct bc_batch **out_batch,
                struct bc_error *error);
    /* Returns about how many bytes a read verifies, copies and decompresses. `is_new`:
     * the batch was not read before. Any thread. */
    uint64_t (*read_cost)(struct bc_tier *tier, struct bc_extent extent, uint64_t rows,
                          bool is_new);
    /* Releases this extent and all earlier ones. Any thread. */
    void (*release)(struct bc_tier *tier, struct bc_extent extent);
    /* Releases the dictionaries that appends replaced. With `done`, releases those kept
     * for the next append too. A release callback may be foreign code, so the caller
     * holds no lock. */
    void (*release_retired)(struct bc_tier *tier, bool done);
    /* EIO: the file is shorter than the mapped data. Any thread. */
    int (*check)(struct bc_tier *tier, struct bc_error *error);
    /* Finds batch `number` by the file's index, and checks the file as `check` does. Any
     * thread.
     * EBADMSG: the index is damaged. */
    int (*locate)(struct bc_tier *tier, uint64_t number, struct bc_index_entry *out_entry,
                  struct bc_error *error);
    /* Finds the next batch of a file without an index. `size` 0: the stream ended. Only
     * the producer calls it.
     * EAGAIN: the writer has not written it yet.
     * EOWNERDEAD: no process will write it. */
    int (*next)(struct bc_tier *tier, struct bc_extent *out_extent, uint64_t *out_rows,
                struct bc_error *error);
    /* The source ended: flushes, and completes a recording with its trailer. */
    int (*end)(struct bc_tier *tier, const struct bc_index *index,
               struct bc_error *error);
    /* The source failed: unlocks a recording, which stays incomplete. */
    void (*abort)(struct bc_tier *tier);
};

struct bc_tier {
    const struct bc_tier_ops *ops;
    bool has_index;      /* `locate` finds batches */
    bool copies_on_read; /* each read copies the file, and verifies it again */
    bool is_writable;    /* each batch has memory of its own, which its owner may write */
    bool is_unkept;      /* the store keeps no batch that was read */
};

#endif
