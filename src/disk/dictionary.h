/* The dictionaries of a file: which one holds where, and what must be written before a
 * batch.
 *
 * A dictionary is written when it is not what was written last: by the identity of its
 * buffers, else by its content; as a delta where it only grew. In the file it holds for
 * the batches behind it, up to its next version; so the version of a batch follows from
 * the batch's offset. A delta needs the versions before it, back to its base:
 *
 *      version   0   1 delta   2 delta   3   4 delta
 *      base      0   0         0         3   3
 *
 * A dictionary inside another one's values is written before that one, which is written
 * again, whole, when the inner one changed.
 *
 * Those of other writers may have their number in common: the first of them has the
 * versions, and all that is known of these; what the others have for that is not used.
 *
 * `versions` is guarded by the lock, chains and what is validated by the chain lock; the
 * rest is the producer's. */
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
    int64_t length;  /* values, those before a delta included */
    bool verified;   /* read before, and right */
    bool is_charged; /* found: the batch that takes `decoded` is charged for it */
    struct bc_batch *decoded; /* its nodes, once it was read */
    struct bc_chain *chain;   /* of a base: it and its deltas put together, or NULL */
};

struct bc_dictionary {
    int32_t field;       /* of the values */
    int32_t shared_with; /* whose versions are also this one's: the first's of its id */
    int32_t outer;       /* the dictionary in whose values this one is, or -1 */
    int32_t first_inner; /* those in its values are numbers from here to before it */
    int64_t
        validated_at;   /* where the message is whose values were looked at last, or 0 */
    int64_t reached;    /* values of this one that those of the outer one then reached */
    bool needs_rewrite; /* an inner one changed since this was written */
    struct bc_batch *last_written; /* keeps the buffers alive that were written last */
    struct bc_batch *retired;      /* was `last`; released when no lock is held */
    bool has_content;              /* `content` is that of the last version */
    struct bc_content content;
    bool has_pinned; /* `large` is the version whose decoded nodes are kept beyond what */
    uint64_t pinned; /* all may take */
    struct bc_dictionary_version *versions; /* the first `n_gone` of them were given up */
    size_t n_versions, versions_capacity, n_released;
};

/* A dictionary by its number in the format, which several may share. */
struct bc_dictionary_id {
    int64_t id;
    int32_t index;
};

struct bc_dictionaries {
    const struct bc_schema *schema; /* borrowed */
    struct bc_dictionary_id *ids;   /* of all, in order */
    struct bc_dictionary *all;      /* inner ones first */
    int32_t n;
    bool is_unordered; /* an Arrow file: the last version holds for all batches */
    struct bc_mutex lock;
    uint64_t decoded_bytes;           /* of the versions' decoded batches */
    struct bc_mutex chain_lock;       /* held for long; taken before `lock` */
    struct bc_chain *newest, *oldest; /* chains, by their last use */
    uint64_t chain_bytes;
    struct bc_buffer_ranges ranges;
};

/* EINVAL: dictionaries of different types have one id; ENOMEM. */
int bc__dictionaries_init(struct bc_dictionaries *dictionaries,
                          const struct bc_schema *schema);
/* Gives up what it holds; nobody is inside. May call foreign releases. */
void bc__dictionaries_clear(struct bc_dictionaries *dictionaries);
void bc__dictionaries_finish(struct bc_dictionaries *dictionaries);

/* Writes those that `batch` needs and the file has not. The producer's. */
int bc__dictionaries_write(struct bc_dictionaries *dictionaries,
                           struct bc_encoder *encoder, struct bc_file *file,
                           struct bc_batch *batch, struct bc_error *error);
/* The number that the format has for dictionary number `which`. */
int64_t bc__dictionaries_id(const struct bc_dictionaries *dictionaries, int32_t index);
/* A message of the file that is read.
 * `length`: of all values from there on, or -1: of those that it brings there are `more`.
 * EINVAL: it cannot stand there; ENOMEM. The producer's. */
struct bc_dictionary_message {
    int64_t id;
    struct bc_extent extent;
    int64_t length;
    int64_t added;
    bool is_delta;
};
int bc__dictionaries_add(struct bc_dictionaries *dictionaries,
                         const struct bc_dictionary_message *message);
/* Releases what the last writes replaced, and where all is written, what was written
 * last. No lock is held. */
void bc__dictionaries_release_retired(struct bc_dictionaries *dictionaries, bool done);
/* The batch at `batch_offset` and all before it were given up: so are the versions that
 * only they needed. */
void bc__dictionaries_trim(struct bc_dictionaries *dictionaries, struct bc_file *file,
                           int64_t batch_offset);

/* Takes the chain lock. False: another thread has it, and this one does not wait. */
static inline bool bc__dictionaries_lock_chains(struct bc_dictionaries *dictionaries,
                                                bool waits) {
    if (!waits) return bc__mutex_try_lock(&dictionaries->chain_lock);
    bc__mutex_lock(&dictionaries->chain_lock);
    return true;
}

/* Are there dictionaries in the values of dictionary number `which`? */
static inline bool bc__dictionaries_has_inner(const struct bc_dictionaries *dictionaries,
                                              int32_t index) {
    return dictionaries->all[index].first_inner < index;
}
/* Looks at the values of dictionary number `which`, and whether their indices are in the
 * dictionaries in them, all of which are in the batch. Where the values of the version
 * were looked at before, unless they are `is_copied` anew, only the sizes of the
 * dictionaries in them matter. EINVAL; EAGAIN, unless it `waits`: another thread has the
 * chain lock. (nested.c) */
int bc__dictionaries_validate(struct bc_dictionaries *dictionaries, int32_t index,
                              const struct bc_dictionary_version *version, bool is_copied,
                              bool waits, const struct bc_batch *batch,
                              struct bc_error *error);
/* The version of dictionary number `which` for a batch at `batch_offset`; its decoded
 * nodes, with a reference, or NULL. False where the file has none. */
bool bc__dictionaries_find(struct bc_dictionaries *dictionaries, int32_t index,
                           int64_t batch_offset,
                           struct bc_dictionary_version *out_version);
/* Version `number`, which there is; without a reference to what is decoded. */
struct bc_dictionary_version bc__dictionaries_get_version(
    struct bc_dictionaries *dictionaries, int32_t index, uint64_t number);
/* The chain of version `base`, or NULL. The chain lock is held. */
struct bc_chain *bc__dictionaries_chain(struct bc_dictionaries *dictionaries,
                                        int32_t index, uint64_t base);
/* Whether version `number` was not given up. */
bool bc__dictionaries_has_version(struct bc_dictionaries *dictionaries, int32_t index,
                                  uint64_t number);
/* Gives version `base`, if it is there, a chain, or none. The chain lock is held. */
void bc__dictionaries_set_chain(struct bc_dictionaries *dictionaries, int32_t index,
                                uint64_t base, struct bc_chain *chain);
/* Keeps the decoded nodes of version `number` no longer. */
void bc__dictionaries_uncache(struct bc_dictionaries *dictionaries, int32_t index,
                              uint64_t number);
/* Gives all chains up. Nobody is inside. (chain.c) */
void bc__chains_clear(struct bc_dictionaries *dictionaries);
/* Version `number` was read: keeps `decoded`, unless there is one; where all that is kept
 * is too much, in the place of another version's. True where the batch that has `decoded`
 * is charged for it: it may be the only one that keeps it. */
bool bc__dictionaries_cache(struct bc_dictionaries *dictionaries, int32_t index,
                            uint64_t number, struct bc_batch *decoded);
/* Counts the messages, adds up their bytes, and adds these to their columns'. */
void bc__dictionaries_measure(struct bc_dictionaries *dictionaries, uint64_t *out_n,
                              uint64_t *out_bytes, int64_t *columns);
/* Copies the nodes of the values of dictionary number `which`, which were decoded, into a
 * batch. */
void bc__dictionaries_copy_nodes(const struct bc_dictionaries *dictionaries,
                                 int32_t index, const struct bc_batch *from,
                                 struct bc_batch *to);

#endif
