#include "replay/borrow.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sys.h"

static struct bc_borrow *borrow_of(struct bc_link *link) {
    return BC_CONTAINER(link, struct bc_borrow, link);
}

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
    struct bc_link *link = borrow_list->borrows.first;
    while (link != NULL) {
        struct bc_link *next = link->next;
        *borrow_of(link) = (struct bc_borrow){.batch = NULL};
        link = next;
    }
    borrow_list->borrows.first = NULL;
    borrow_list->process = bc__sys_process();
}

static void free_list(struct bc_borrow_list *borrow_list) {
    bc_assert(borrow_list->borrows.first == NULL);
    bc__mutex_finish(&borrow_list->lock);
    bc__free(borrow_list);
}

void bc__borrow_list_orphan(struct bc_borrow_list *borrow_list) {
    bc_assert(borrow_list != NULL && !borrow_list->orphaned);
    /* A release callback forked while the reader was being closed. The reader was not in
     * the registry any more, so another thread may have held the lock. The list is
     * leaked. */
    if (borrow_list->process != bc__sys_process()) return;
    bc__mutex_lock(&borrow_list->lock);
    bc__borrow_list_promote(borrow_list);
    borrow_list->orphaned = true;
    bool last = borrow_list->borrows.first == NULL;
    bc__mutex_unlock(&borrow_list->lock);
    if (last) free_list(borrow_list);
}

void bc__borrow_add(struct bc_borrow_list *borrow_list, struct bc_borrow *borrow,
                    struct bc_batch *batch) {
    bc_assert(!borrow_list->orphaned);
    *borrow = (struct bc_borrow){.batch = batch, .borrow_list = borrow_list};
    bc__list_add(&borrow_list->borrows, &borrow->link);
}

void bc__borrow_list_promote(struct bc_borrow_list *borrow_list) {
    for (struct bc_link *l = borrow_list->borrows.first; l != NULL; l = l->next) {
        struct bc_borrow *borrow = borrow_of(l);
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
    bc__list_remove(&borrow_list->borrows, &borrow->link);
    bool counted = borrow->counted;
    bool last = borrow_list->orphaned && borrow_list->borrows.first == NULL;
    bc__mutex_unlock(&borrow_list->lock);
    if (counted) bc__batch_unref(borrow->batch);
    if (last) free_list(borrow_list);
}
