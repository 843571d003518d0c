/* Borrows of batches: no count until the list is promoted, and none left at the end. */
#include "replay/borrow.h"
#include "tap.h"

enum { N = 3 };

static struct bc_batch *new_batch(void) {
    struct bc_batch *batch = bc__batch_alloc(1, 0);
    CHECK(batch != NULL && atomic_load(&batch->refs) == 1);
    return batch;
}

static struct bc_borrow_list *new_list(bool lasts) {
    struct bc_borrow_list *list;
    CHECK(bc__borrow_list_new(lasts, &list) == 0);
    return list;
}

static void borrow(struct bc_borrow_list *list, struct bc_borrow *borrow,
                   struct bc_batch *batch) {
    bc__mutex_lock(&list->lock);
    bc__borrow_add(list, borrow, batch);
    bc__mutex_unlock(&list->lock);
}

static void test_borrows_take_no_reference(void) {
    struct bc_batch *batch = new_batch();
    struct bc_borrow_list *list = new_list(true);
    struct bc_borrow borrows[N];
    for (int i = 0; i < N; i++) borrow(list, &borrows[i], batch);
    CHECK(atomic_load(&batch->refs) == 1);
    for (int i = 0; i < N; i++) bc__borrow_return(&borrows[(i + 1) % N]);
    CHECK(list->borrows.first == NULL && atomic_load(&batch->refs) == 1);
    bc__borrow_list_orphan(list);
    bc__batch_unref(batch);
}

static void test_promoted_borrows_have_references(void) {
    struct bc_batch *batch = new_batch();
    struct bc_borrow_list *list = new_list(false);
    struct bc_borrow borrows[N];
    borrow(list, &borrows[0], batch);
    bc__mutex_lock(&list->lock);
    bc__borrow_list_promote(list);
    bc__borrow_list_promote(list);
    bc__mutex_unlock(&list->lock);
    CHECK(atomic_load(&batch->refs) == 2);
    borrow(list, &borrows[1], batch);
    CHECK(atomic_load(&batch->refs) == 2);
    bc__borrow_return(&borrows[0]);
    bc__borrow_return(&borrows[1]);
    CHECK(atomic_load(&batch->refs) == 1);
    bc__borrow_list_orphan(list);
    bc__batch_unref(batch);
}

/* If the reader has left, the last borrow frees the list. AddressSanitizer checks it. */
static void test_borrows_outlive_the_reader(void) {
    struct bc_batch *batch = new_batch();
    struct bc_borrow_list *list = new_list(true);
    struct bc_borrow borrows[N];
    for (int i = 0; i < N; i++) borrow(list, &borrows[i], batch);
    bc__borrow_list_orphan(list);
    CHECK(atomic_load(&batch->refs) == 1 + N);
    for (int i = 0; i < N; i++) {
        bc__borrow_return(&borrows[i]);
        CHECK(atomic_load(&batch->refs) == (unsigned)(N - i));
    }
    bc__batch_unref(batch);
}

static void test_a_borrow_without_a_list_is_a_reference(void) {
    struct bc_batch *batch = bc__batch_ref(new_batch());
    struct bc_borrow borrow = {.batch = batch};
    bc__borrow_return(&borrow);
    CHECK(atomic_load(&batch->refs) == 1);
    bc__batch_unref(batch);
}

/* A child forgets the borrows of its parent: to return one then changes nothing. */
static void test_a_child_forgets_borrows(void) {
    struct bc_batch *batch = new_batch();
    struct bc_borrow_list *list = new_list(false);
    struct bc_borrow old;
    borrow(list, &old, batch);
    bc__mutex_lock(&list->lock);
    bc__borrow_list_forked(list);
    bc__mutex_unlock(&list->lock);
    CHECK(list->borrows.first == NULL && old.batch == NULL && old.borrow_list == NULL);
    struct bc_borrow fresh;
    borrow(list, &fresh, batch);
    bc__borrow_return(&fresh);
    bc__borrow_list_orphan(list);
    CHECK(atomic_load(&batch->refs) == 1);
    bc__batch_unref(batch);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_borrows_take_no_reference),
        TAP_CASE(test_promoted_borrows_have_references),
        TAP_CASE(test_borrows_outlive_the_reader),
        TAP_CASE(test_a_borrow_without_a_list_is_a_reference),
        TAP_CASE(test_a_child_forgets_borrows),
    };
    return TAP_RUN(cases);
}
