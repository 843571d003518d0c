/* The doubly linked list: links added in front, removed from any position. */
#include "base/list.h"
#include "tap.h"

struct item {
    int value;
    struct bc_link link;
};

/* Checks the values from the first link on, and each link back to the one before it. */
static void check_values(const struct bc_list *list, const int *values, int n) {
    const struct bc_link *previous = NULL;
    int i = 0;
    for (struct bc_link *l = list->first; l != NULL; l = l->next) {
        CHECK(i < n && l->previous == previous);
        CHECK(BC_CONTAINER(l, struct item, link)->value == values[i++]);
        previous = l;
    }
    CHECK(i == n);
}

static void test_add_in_front(void) {
    struct item items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
    struct bc_list list = {NULL};
    check_values(&list, NULL, 0);
    for (int i = 0; i < 3; i++) bc__list_add(&list, &items[i].link);
    check_values(&list, (const int[]){2, 1, 0}, 3);
}

static void test_remove_anywhere(void) {
    static const int rest[3][2] = {{2, 1}, {2, 0}, {1, 0}};
    for (int removed = 0; removed < 3; removed++) {
        struct item items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
        struct bc_list list = {NULL};
        for (int i = 0; i < 3; i++) bc__list_add(&list, &items[i].link);
        bc__list_remove(&list, &items[removed].link);
        check_values(&list, rest[removed], 2);
        /* The link can be added again, and the list emptied. */
        bc__list_add(&list, &items[removed].link);
        check_values(&list, (const int[]){removed, rest[removed][0], rest[removed][1]},
                     3);
        for (int i = 0; i < 3; i++) bc__list_remove(&list, &items[i].link);
        check_values(&list, NULL, 0);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_add_in_front),
        TAP_CASE(test_remove_anywhere),
    };
    return TAP_RUN(cases);
}
