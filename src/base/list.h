/* Doubly linked lists. A link is a member of the listed object. */
#ifndef BC_BASE_LIST_H
#define BC_BASE_LIST_H

#include <stddef.h>

struct bc_link {
    struct bc_link *next;
    struct bc_link *previous;
};

/* A zeroed list is empty. */
struct bc_list {
    struct bc_link *first;
};

/* Returns the object of type `type` whose member `member` is at `pointer`. */
#define BC_CONTAINER(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* Adds `link` at the front. */
static inline void bc__list_add(struct bc_list *list, struct bc_link *link) {
    link->previous = NULL;
    link->next = list->first;
    if (list->first != NULL) list->first->previous = link;
    list->first = link;
}

/* Removes `link`, which is in the list. */
static inline void bc__list_remove(struct bc_list *list, struct bc_link *link) {
    if (link->next != NULL) link->next->previous = link->previous;
    if (link->previous != NULL) {
        link->previous->next = link->next;
    } else {
        list->first = link->next;
    }
}

#endif
