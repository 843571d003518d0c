/* Borrows: batches of the store that consumers use without a reference count.
 *
 * Readers on many threads read the same batches. A count that each reader changes would
 * move between the caches of their processors with every batch. A reader therefore
 * exports a borrow, which is in the reader's own borrow list. The batch stays valid
 * because the store keeps it. Before the store drops batches, each borrow list is
 * promoted: each borrow becomes a counted reference. Readers of a cache that evicts
 * export no borrows.
 *
 *     add ─▶ borrowed ────────────────▶ returned
 *               └── promote ─▶ counted ─▶ returned, and the reference dropped
 *
 * A borrow list outlives its reader until its last borrow is returned. */
#ifndef BC_REPLAY_BORROW_H
#define BC_REPLAY_BORROW_H

#include "arrow/batch.h"
#include "base/list.h"
#include "base/sync.h"

struct bc_borrow_list;

/* A consumer's use of a batch. It is part of the exported block, and never moves. */
struct bc_borrow {
    struct bc_batch *batch;
    struct bc_borrow_list *borrow_list; /* NULL: a counted reference */
    struct bc_link link;
    bool counted;
};

struct bc_borrow_list {
    struct bc_mutex lock; /* also the reader's lock */
    struct bc_list borrows;
    bool orphaned;
    int64_t process; /* the process that may use the list */
};

/* Makes a borrow list. Returns 0 or an errno. `lasts`: the list is used by several calls,
 * and gets its own cache lines. */
int bc__borrow_list_new(bool lasts, struct bc_borrow_list **out_list);
/* Empties the list, in a fork's child. The lock is held. Its borrows are leaked, since
 * the parent returns them. Borrows of orphaned lists are leaked too. */
void bc__borrow_list_forked(struct bc_borrow_list *borrow_list);
/* Promotes the borrows of a closed reader. The list is freed now, or with its last
 * borrow. In a fork's child, a list of the parent is leaked. */
void bc__borrow_list_orphan(struct bc_borrow_list *borrow_list);

/* Adds a borrow of a batch of the store. The lock is held. */
void bc__borrow_add(struct bc_borrow_list *borrow_list, struct bc_borrow *borrow,
                    struct bc_batch *batch);
/* Turns each borrow into a counted reference. The lock is held. */
void bc__borrow_list_promote(struct bc_borrow_list *borrow_list);

/* Returns a borrow, or drops its counted reference. Any thread; no lock is held. */
void bc__borrow_return(struct bc_borrow *borrow);

#endif
