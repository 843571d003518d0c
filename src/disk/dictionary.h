/* The dictionaries of a file: their versions, and the dictionaries that a batch needs.
 *
 * A dictionary is written if it changed since the last write. The comparison is by the
 * identity of its buffers, then by its content. If a dictionary only grew, a delta is
 * written. In the file, a version applies to the batches after it, until the next
 * version. A batch's offset therefore selects the version. A delta needs the earlier
 * versions, back to its base:
 *
 *      version   0   1 delta   2 delta   3   4 delta
 *      base      0   0         0         3   3
 *
 * If the values of a dictionary have dictionaries inside, these inner dictionaries are
 * written first. If an inner dictionary changed, the outer one is written again, whole.
 *
 * Other writers may give several fields one dictionary id. The first such field owns the
 * versions. The other fields refer to it by `shared_with`. Their own data is not used.
 *
 * The lock guards `versions`. The chain lock guards chains, `validated_at` and `reached`.
 * All other members belong to the producer. */
#ifndef BC_DISK_DICTIONARY_H
#define BC_DISK_DICTIONARY_H

#include "base/sync.h"
#include "disk/extent.h"
#include "disk/file.h"
#include "ipc/encode.h"

struct bc_dictionary_version {
    uint64_t number;
    uint64_t base;
    struct bc_extent extent;
    int64_t length;           /* number of values, with those before a delta */
    bool verified;            /* a read verified its checksums */
    bool is_charged;          /* of a found version: its batch is charged for `decoded` */
    struct bc_batch *decoded; /* the cached values, or NULL */
    struct bc_chain *chain;   /* of a base: the chain with its deltas, or NULL */
};

struct bc_dictionary {
    int32_t field;        /* the field of its values */
    int32_t shared_with;  /* index of the dictionary that owns the versions of its id */
    int32_t outer;        /* index of the dictionary whose values contain it, or -1 */
    int32_t first_inner;  /* dictionaries inside it have indices from here to its own */
    int64_t validated_at; /* offset of the message validated last, or 0 */
    int64_t reached;      /* number of its values that the outer one's indices reach */
    bool needs_rewrite;   /* an inner dictionary was written after it */
    struct bc_batch *last_written; /* keeps the last written buffers alive */
    struct bc_batch *retired; /* the previous `last_written`, released without a lock */
    bool has_content;         /* `content` describes the last version */
    struct bc_content content;
    bool has_pinned; /* `pinned` is set */
    uint64_t pinned; /* a version cached beyond the limit of the cache */
    struct bc_dictionary_version *versions; /* the first `n_released` are released */
    size_t n_versions, versions_capacity, n_released;
};

/* A dictionary's id in the format, which several dictionaries may share. */
struct bc_dictionary_id {
    int64_t id;
    int32_t index;
};

struct bc_dictionaries {
    const struct bc_schema *schema; /* borrowed */
    struct bc_dictionary_id *ids;   /* of all dictionaries, sorted by id */
    struct bc_dictionary *all;      /* inner dictionaries first */
    int32_t n;
    bool is_unordered; /* an Arrow file: the last version applies to all batches */
    struct bc_mutex lock;
    uint64_t decoded_bytes;     /* bytes of all cached versions but the pinned ones */
    struct bc_mutex chain_lock; /* held for whole reads; locked before `lock` */
    struct bc_chain *newest, *oldest; /* list of chains, by their last use */
    uint64_t chain_bytes;
    struct bc_buffer_ranges ranges;
};

/* Lists the dictionaries of `schema`, which is borrowed.
 * EINVAL: dictionaries of different types have the same id.
 * ENOMEM: out of memory. */
int bc__dictionaries_init(struct bc_dictionaries *dictionaries,
                          const struct bc_schema *schema);
/* Releases all versions and batches. No other thread uses the dictionaries. May call
 * release callbacks of foreign code. */
void bc__dictionaries_clear(struct bc_dictionaries *dictionaries);
void bc__dictionaries_finish(struct bc_dictionaries *dictionaries);

/* Writes the dictionaries that `batch` needs and the file lacks. Only the producer calls
 * it. */
int bc__dictionaries_write(struct bc_dictionaries *dictionaries,
                           struct bc_encoder *encoder, struct bc_file *file,
                           struct bc_batch *batch, struct bc_error *error);
/* Returns the format's id of the dictionary at `index`. */
int64_t bc__dictionaries_id(const struct bc_dictionaries *dictionaries, int32_t index);
/* A dictionary's message in a file that is read.
 * `length`: number of values after this message, or -1 if only `added` is known.
 * `added`: number of values in this message, if `length` is -1. */
struct bc_dictionary_message {
    int64_t id;
    struct bc_extent extent;
    int64_t length;
    int64_t added;
    bool is_delta;
};
/* Adds the version of a message. Only the producer calls it.
 * EINVAL: no dictionary has the id, or the message is out of order.
 * ENOMEM: out of memory. */
int bc__dictionaries_add(struct bc_dictionaries *dictionaries,
                         const struct bc_dictionary_message *message);
/* Releases the batches that the last writes replaced. With `done`, releases the last
 * written batches too. The caller holds no lock. */
void bc__dictionaries_release_retired(struct bc_dictionaries *dictionaries, bool done);
/* Releases the versions that only the batch at `batch_offset` and earlier batches needed.
 * The store reads none of these batches again. */
void bc__dictionaries_trim(struct bc_dictionaries *dictionaries, struct bc_file *file,
                           int64_t batch_offset);

/* Locks the chains. Returns false if another thread holds the lock and `waits` is false.
 */
static inline bool bc__dictionaries_lock_chains(struct bc_dictionaries *dictionaries,
                                                bool waits) {
    if (!waits) return bc__mutex_try_lock(&dictionaries->chain_lock);
    bc__mutex_lock(&dictionaries->chain_lock);
    return true;
}

/* Returns whether the values of the dictionary at `index` contain dictionaries. */
static inline bool bc__dictionaries_has_inner(const struct bc_dictionaries *dictionaries,
                                              int32_t index) {
    return dictionaries->all[index].first_inner < index;
}
/* Validates the values of the dictionary at `index`, and their indices into inner
 * dictionaries, which `batch` has already. If this version was validated before and is
 * not `is_copied`, only the sizes of the inner dictionaries are compared.
 * (nested_dictionary.c)
 * EINVAL: a value is invalid, or an index is out of range.
 * EAGAIN: another thread holds the chain lock, and `waits` is false. */
int bc__dictionaries_validate(struct bc_dictionaries *dictionaries, int32_t index,
                              const struct bc_dictionary_version *version, bool is_copied,
                              bool waits, const struct bc_batch *batch,
                              struct bc_error *error);
/* Finds the version of the dictionary at `index` for a batch at `batch_offset`. Returns
 * false if the file has none. The caller owns a reference to `decoded`, if that is not
 * NULL. */
bool bc__dictionaries_find(struct bc_dictionaries *dictionaries, int32_t index,
                           int64_t batch_offset,
                           struct bc_dictionary_version *out_version);
/* Returns version `number`, which is not released, without a reference to `decoded`. */
struct bc_dictionary_version bc__dictionaries_get_version(
    struct bc_dictionaries *dictionaries, int32_t index, uint64_t number);
/* Returns the chain of version `base`, or NULL. The chain lock is held. */
struct bc_chain *bc__dictionaries_chain(struct bc_dictionaries *dictionaries,
                                        int32_t index, uint64_t base);
/* Returns whether version `number` is not released. */
bool bc__dictionaries_has_version(struct bc_dictionaries *dictionaries, int32_t index,
                                  uint64_t number);
/* Sets the chain of version `base`, unless that version is released. NULL removes the
 * chain. The chain lock is held. */
void bc__dictionaries_set_chain(struct bc_dictionaries *dictionaries, int32_t index,
                                uint64_t base, struct bc_chain *chain);
/* Removes the values of version `number` from the cache. */
void bc__dictionaries_uncache(struct bc_dictionaries *dictionaries, int32_t index,
                              uint64_t number);
/* Frees all chains. No other thread uses the dictionaries. (delta_chain.c) */
void bc__chains_clear(struct bc_dictionaries *dictionaries);
/* Caches `decoded` as the values of version `number`, unless the cache has them. If the
 * cache is full, `decoded` replaces the pinned version of this dictionary. Returns true
 * if the batch that uses `decoded` is charged for it, because only batches may keep it
 * alive. */
bool bc__dictionaries_cache(struct bc_dictionaries *dictionaries, int32_t index,
                            uint64_t number, struct bc_batch *decoded);
/* Counts the messages of dictionaries and their bytes, and adds these bytes to their
 * columns in `columns`. */
void bc__dictionaries_measure(struct bc_dictionaries *dictionaries, uint64_t *out_n,
                              uint64_t *out_bytes, int64_t *columns);
/* Copies the nodes of the decoded values of the dictionary at `index` into `to`. */
void bc__dictionaries_copy_nodes(const struct bc_dictionaries *dictionaries,
                                 int32_t index, const struct bc_batch *from,
                                 struct bc_batch *to);

#endif
