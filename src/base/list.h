/* Doubly linked lists. A link is part of the object that it lists. */
#ifndef BC_BASE_LIST_H
#define BC_BASE_LIST_H

#include <stddef.h>

struct bc_link {
    struct bc_link *next;
    struct bc_link *previous;
};

/* Zeroed is empty. */
struct bc_list {
    struct bc_link *first;
};

/* The object of type `type` whose member `member` is at `pointer`. */
#define BC_CONTAINER(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* Adds the link in front. */
static inline void bc__list_add(struct bc_list *list, struct bc_link *link) {
    link->previous = NULL;
    link->next = list->first;
    if (list->first != NULL) list->first->previous = link;
    list->first = link;
}

/* Removes the link, which is in the list. */
static inline void bc__list_remove(struct bc_list *list, struct bc_link *link) {
    if (link->next != NULL) link->next->previous = link->previous;
    if (link->previous != NULL) {
        link->previous->next = link->next;
    } else {
        list->first = link->next;
    }
}

#endif
