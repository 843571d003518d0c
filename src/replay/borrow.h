/* A reader's borrows: batches of the store that consumers hold, with no count on the
 * batch.
 *
 * Readers on many threads pass the same batches, and a count that each of them changes
 * would travel between their caches at every batch. So a reader lends a batch instead:
 * the borrow stands in the reader's own borrow_list, and the batch stays valid because
 * the store keeps it. Before the store gives batches up, every borrow_list is settled:
 * each borrow becomes a counted reference. Readers of a cache that evicts do not lend.
 *
 *     lend ─▶ lent ──────────────────▶ returned
 *               └── settle ─▶ counted ─▶ returned, and the reference given back
 *
 * The borrow_list outlives its reader as long as a borrow stands in it. */
#ifndef BC_REPLAY_BORROW_H
#define BC_REPLAY_BORROW_H

#include "arrow/batch.h"
#include "base/list.h"
#include "base/sync.h"

struct bc_borrow_list;

/* A consumer's hold on a batch; part of what was exported, never moved. */
struct bc_borrow {
    struct bc_batch *batch;
    struct bc_borrow_list *borrow_list; /* NULL: a reference of its own */
    struct bc_link link;
    bool counted;
};

struct bc_borrow_list {
    struct bc_mutex lock; /* the reader's lock too */
    struct bc_list borrows;
    bool orphaned;
    int64_t process; /* in which it may be used */
};

/* 0 or an errno. `lasts`: beyond one call, so that it is worth cache lines of its
 * own. */
int bc__borrow_list_new(bool lasts, struct bc_borrow_list **out_list);
/* In a fork's child, with the lock held: the borrow_list goes on empty. What stood in it
 * is leaked, because it is the parent's to give back; so are borrows of borrow_lists
 * whose readers are gone. */
void bc__borrow_list_forked(struct bc_borrow_list *borrow_list);
/* The reader is gone: settles, and frees the borrow_list now or with its last borrow. In
 * a fork's child, a borrow_list of the parent's is leaked. */
void bc__borrow_list_orphan(struct bc_borrow_list *borrow_list);

/* Lends a batch of the store. The lock is held. */
void bc__borrow_add(struct bc_borrow_list *borrow_list, struct bc_borrow *borrow,
                    struct bc_batch *batch);
/* Makes every borrow a counted reference. The lock is held. */
void bc__borrow_list_promote(struct bc_borrow_list *borrow_list);

/* Gives a borrow, or a reference of its own, back. Any thread, no lock held. */
void bc__borrow_return(struct bc_borrow *borrow);

#endif
