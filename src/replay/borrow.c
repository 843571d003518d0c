#include "replay/borrow.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sys.h"

int bc__ledger_new(bool lasts, struct bc_ledger **out_ledger) {
    struct bc_ledger *ledger =
        lasts ? bc__calloc_apart(sizeof(*ledger)) : bc__calloc(1, sizeof(*ledger));
    if (ledger == NULL) return ENOMEM;
    int code = bc__mutex_init(&ledger->lock);
    if (code != 0) {
        bc__free(ledger);
        return code;
    }
    ledger->process = bc__sys_process();
    *out_ledger = ledger;
    return 0;
}

void bc__ledger_forked(struct bc_ledger *ledger) {
    struct bc_loan *loan = ledger->loans;
    while (loan != NULL) {
        struct bc_loan *next = loan->next;
        *loan = (struct bc_loan){.batch = NULL};
        loan = next;
    }
    ledger->loans = NULL;
    ledger->process = bc__sys_process();
}

static void free_ledger(struct bc_ledger *ledger) {
    bc_assert(ledger->loans == NULL);
    bc__mutex_finish(&ledger->lock);
    bc__free(ledger);
}

void bc__ledger_abandon(struct bc_ledger *ledger) {
    bc_assert(ledger != NULL && !ledger->abandoned);
    /* A release forked while the reader left: no fork knew of the ledger, so another
     * thread may have had its lock. It is leaked. */
    if (ledger->process != bc__sys_process()) return;
    bc__mutex_lock(&ledger->lock);
    bc__ledger_settle(ledger);
    ledger->abandoned = true;
    bool last = ledger->loans == NULL;
    bc__mutex_unlock(&ledger->lock);
    if (last) free_ledger(ledger);
}

void bc__ledger_lend(struct bc_ledger *ledger, struct bc_loan *loan,
                     struct bc_batch *batch) {
    bc_assert(!ledger->abandoned);
    *loan = (struct bc_loan){.batch = batch, .ledger = ledger, .next = ledger->loans};
    if (ledger->loans != NULL) ledger->loans->previous = loan;
    ledger->loans = loan;
}

void bc__ledger_settle(struct bc_ledger *ledger) {
    for (struct bc_loan *loan = ledger->loans; loan != NULL; loan = loan->next) {
        bc_assert(loan->ledger == ledger);
        if (!loan->counted) (void)bc__batch_ref(loan->batch);
        loan->counted = true;
    }
}

void bc__loan_return(struct bc_loan *loan) {
    struct bc_ledger *ledger = loan->ledger;
    if (ledger == NULL) {
        bc__batch_unref(loan->batch);
        return;
    }
    if (ledger->process != bc__sys_process()) return;
    bc__mutex_lock(&ledger->lock);
    if (loan->next != NULL) loan->next->previous = loan->previous;
    if (loan->previous != NULL) {
        loan->previous->next = loan->next;
    } else {
        ledger->loans = loan->next;
    }
    bool counted = loan->counted;
    bool last = ledger->abandoned && ledger->loans == NULL;
    bc__mutex_unlock(&ledger->lock);
    if (counted) bc__batch_unref(loan->batch);
    if (last) free_ledger(ledger);
}
