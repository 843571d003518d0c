/* What the process has that a fork or its end concerns: one registry, one order.
 *
 *     fork ─▶ bindings ─▶ registry ─▶ caches ─▶ files ─▶ waits ─▶ the system forks
 *                                                                   │
 *             bindings ◀─ registry ◀─ caches ◀─ files ◀─ waits ◀────┴─ parent and child
 *
 * Before the fork every member takes its locks, so that the child finds them free, and
 * whole what they guard, though the threads that had them do not exist there. After it
 * each gives them back; in the child it first lets go of what is the parent's alone. The
 * kinds stand in the order in which the code nests their locks; a thread holds those of
 * one cache, and of its file, at most. Within a kind the latest member goes first.
 *
 *     binding   what its bc_watch_forks says. It may hold its lock around any call of the
 *               library, so the registry's is taken behind it. It never leaves
 *     registry  its lock: no member comes, goes or is looked for during a fork
 *     cache     its lock ─▶ each reader's ─▶ ingest ─▶ storing ─▶ store ─▶ dictionaries
 *               (grow, list) ─▶ mapping. Child: readers go on with their own
 * borrow_lists, the source is not asked, nothing is stored file      its lock. Child: a
 * recording's lock stays the parent's. Exit: the names of a cache's file go waits their
 * lock. Child: there are none
 *
 * A member is entered when its locks can be taken, and leaves before they are destroyed.
 * Leaving waits for a fork that is under way. */
#ifndef BC_BASE_PROCESS_H
#define BC_BASE_PROCESS_H

#include <stdbool.h>

#include "base/list.h"

enum bc_member_kind {
    BC_MEMBER_CACHE,
    BC_MEMBER_FILE,
    BC_MEMBER_WAIT_GRAPH,
    BC_MEMBER_KINDS
};

struct bc_member;

/* No allocation, and nothing of the registry, is called in these; a binding's may be
 * foreign code. */
struct bc_member_calls {
    void (*prepare)(struct bc_member *member); /* takes the locks */
    void (*parent)(struct bc_member *member);  /* gives them back */
    void (*child)(struct bc_member *member);   /* the same, in the child */
    void (*exit)(struct bc_member *member);    /* the process ends; may be NULL */
};

/* Part of what it stands for, which finds itself by it. */
struct bc_member {
    const struct bc_member_calls *calls; /* NULL: not in the registry */
    struct bc_link link;
};

/* Any thread, no lock held. */
void bc__member_add(enum bc_member_kind kind, struct bc_member *member,
                    const struct bc_member_calls *calls);
/* A binding, which stays as long as the process. Any thread, no lock held. */
void bc__binding_add(struct bc_member *binding, const struct bc_member_calls *calls);
/* When it returns, no fork and no exit looks at the member any more. One that is not in
 * the registry is accepted. */
void bc__member_remove(enum bc_member_kind kind, struct bc_member *member);
/* The first member for which `is_it` is true, or NULL. The registry is locked meanwhile.
 */
struct bc_member *bc__member_find(enum bc_member_kind kind,
                                  bool (*is_it)(struct bc_member *member, void *context),
                                  void *context);

/* From here on, and until there, no thread forks. No lock is held: a fork takes the locks
 * of the members behind the registry's. */
void bc__process_block_forks(void);
void bc__process_allow_forks(void);

#endif
