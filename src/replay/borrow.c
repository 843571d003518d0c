#include "replay/borrow.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sys.h"

int bc__borrow_list_new(bool lasts, struct bc_borrow_list **out_list) {
    struct bc_borrow_list *borrow_list = lasts
                                             ? bc__calloc_cacheline(sizeof(*borrow_list))
                                             : bc__calloc(1, sizeof(*borrow_list));
    if (borrow_list == NULL) return ENOMEM;
    int code = bc__mutex_init(&borrow_list->lock);
    if (code != 0) {
        bc__free(borrow_list);
        return code;
    }
    borrow_list->process = bc__sys_process();
    *out_list = borrow_list;
    return 0;
}

void bc__borrow_list_forked(struct bc_borrow_list *borrow_list) {
    struct bc_borrow *borrow = borrow_list->borrows;
    while (borrow != NULL) {
        struct bc_borrow *next = borrow->next;
        *borrow = (struct bc_borrow){.batch = NULL};
        borrow = next;
    }
    borrow_list->borrows = NULL;
    borrow_list->process = bc__sys_process();
}

static void free_list(struct bc_borrow_list *borrow_list) {
    bc_assert(borrow_list->borrows == NULL);
    bc__mutex_finish(&borrow_list->lock);
    bc__free(borrow_list);
}

void bc__borrow_list_orphan(struct bc_borrow_list *borrow_list) {
    bc_assert(borrow_list != NULL && !borrow_list->orphaned);
    /* A release forked while the reader left: no fork knew of the borrow_list, so another
     * thread may have had its lock. It is leaked. */
    if (borrow_list->process != bc__sys_process()) return;
    bc__mutex_lock(&borrow_list->lock);
    bc__borrow_list_promote(borrow_list);
    borrow_list->orphaned = true;
    bool last = borrow_list->borrows == NULL;
    bc__mutex_unlock(&borrow_list->lock);
    if (last) free_list(borrow_list);
}

void bc__borrow_add(struct bc_borrow_list *borrow_list, struct bc_borrow *borrow,
                    struct bc_batch *batch) {
    bc_assert(!borrow_list->orphaned);
    *borrow = (struct bc_borrow){
        .batch = batch, .borrow_list = borrow_list, .next = borrow_list->borrows};
    if (borrow_list->borrows != NULL) borrow_list->borrows->previous = borrow;
    borrow_list->borrows = borrow;
}

void bc__borrow_list_promote(struct bc_borrow_list *borrow_list) {
    for (struct bc_borrow *borrow = borrow_list->borrows; borrow != NULL;
         borrow = borrow->next) {
        bc_assert(borrow->borrow_list == borrow_list);
        if (!borrow->counted) (void)bc__batch_ref(borrow->batch);
        borrow->counted = true;
    }
}

void bc__borrow_return(struct bc_borrow *borrow) {
    struct bc_borrow_list *borrow_list = borrow->borrow_list;
    if (borrow_list == NULL) {
        bc__batch_unref(borrow->batch);
        return;
    }
    if (borrow_list->process != bc__sys_process()) return;
    bc__mutex_lock(&borrow_list->lock);
    if (borrow->next != NULL) borrow->next->previous = borrow->previous;
    if (borrow->previous != NULL) {
        borrow->previous->next = borrow->next;
    } else {
        borrow_list->borrows = borrow->next;
    }
    bool counted = borrow->counted;
    bool last = borrow_list->orphaned && borrow_list->borrows == NULL;
    bc__mutex_unlock(&borrow_list->lock);
    if (counted) bc__batch_unref(borrow->batch);
    if (last) free_list(borrow_list);
}
