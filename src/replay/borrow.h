/* A reader's loans: batches of the store that consumers hold, with no count on the batch.
 *
 * Readers on many threads pass the same batches, and a count that each of them changes
 * would travel between their caches at every batch. So a reader lends a batch instead:
 * the loan stands in the reader's own ledger, and the batch stays valid because the store
 * keeps it. Before the store gives batches up, every ledger is settled: each loan becomes
 * a counted reference. Readers of a cache that evicts do not lend.
 *
 *     lend ─▶ lent ──────────────────▶ returned
 *               └── settle ─▶ counted ─▶ returned, and the reference given back
 *
 * The ledger outlives its reader as long as a loan stands in it. */
#ifndef BC_REPLAY_BORROW_H
#define BC_REPLAY_BORROW_H

#include "arrow/batch.h"
#include "base/sync.h"

struct bc_ledger;

/* A consumer's hold on a batch; part of what was exported, never moved. */
struct bc_loan {
    struct bc_batch *batch;
    struct bc_ledger *ledger; /* NULL: a reference of its own */
    struct bc_loan *next;
    struct bc_loan *previous;
    bool counted;
};

struct bc_ledger {
    struct bc_mutex lock; /* the reader's lock too */
    struct bc_loan *loans;
    bool abandoned;
    int64_t process; /* in which it may be used */
};

/* 0 or an errno. `lasts`: beyond one call, so that it is worth cache lines of its
 * own. */
int bc__ledger_new(bool lasts, struct bc_ledger **out_ledger);
/* In a fork's child, with the lock held: the ledger goes on empty. What stood in it is
 * leaked, because it is the parent's to give back; so are loans of ledgers whose readers
 * are gone. */
void bc__ledger_forked(struct bc_ledger *ledger);
/* The reader is gone: settles, and frees the ledger now or with its last loan. In a
 * fork's child, a ledger of the parent's is leaked. */
void bc__ledger_abandon(struct bc_ledger *ledger);

/* Lends a batch of the store. The lock is held. */
void bc__ledger_lend(struct bc_ledger *ledger, struct bc_loan *loan,
                     struct bc_batch *batch);
/* Makes every loan a counted reference. The lock is held. */
void bc__ledger_settle(struct bc_ledger *ledger);

/* Gives a loan, or a reference of its own, back. Any thread, no lock held. */
void bc__loan_return(struct bc_loan *loan);

#endif
