/* The registry of the process: the objects that fork and exit call, in one order.
 *
 *     fork ─▶ bindings ─▶ registry ─▶ caches ─▶ files ─▶ waits ─▶ the system forks
 *                                                                   │
 *             bindings ◀─ registry ◀─ caches ◀─ files ◀─ waits ◀────┴─ parent and child
 *
 * Before the fork each member acquires its locks. The child therefore finds each lock
 * free and the guarded data consistent, although the parent's other threads do not exist
 * in the child. After the fork each member releases its locks. In the child it first
 * drops the state that belongs to the parent. The kinds are in the order in which the
 * code nests their locks. A thread holds at most the locks of one cache and of its file.
 * Within a kind the newest member is called first.
 *
 *     binding   The functions of its bc_watch_forks. A binding may hold its lock around
 *               any call of the library, so it comes before the registry's lock. It is
 *               never removed.
 *     registry  Its lock. During a fork no member is added, removed or searched for.
 *     cache     cache ─▶ each reader ─▶ ingest ─▶ store_lock ─▶ store ─▶ dictionaries
 *               (chain_lock, lock) ─▶ mapping. Child: each reader gets an empty borrow
 *               list; the source is not called, and no batch is stored.
 *     file      Its lock. Child: a recording's file lock stays with the parent. Exit: the
 *               names of a cache's file are removed.
 *     waits     The lock of the wait graph. Child: no thread waits.
 *
 * A member is added when its locks can be acquired, and removed before they are
 * destroyed. Removal waits for a fork that is in progress. */
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

/* The functions that fork and exit call. They must not allocate, and must not call the
 * registry. The functions of a binding may be foreign code. */
struct bc_member_calls {
    void (*prepare)(struct bc_member *member); /* acquires the locks */
    void (*parent)(struct bc_member *member);  /* releases them */
    void (*child)(struct bc_member *member);   /* releases them, in the child */
    void (*exit)(struct bc_member *member);    /* the process exits; may be NULL */
};

/* A member of the registered object. BC_CONTAINER finds the object. */
struct bc_member {
    const struct bc_member_calls *calls; /* NULL: not in the registry */
    struct bc_link link;
};

/* Adds a member. Any thread; no lock is held. */
void bc__member_add(enum bc_member_kind kind, struct bc_member *member,
                    const struct bc_member_calls *calls);
/* Adds a binding, which stays for the life of the process. Any thread; no lock is
 * held. */
void bc__binding_add(struct bc_member *binding, const struct bc_member_calls *calls);
/* Removes a member. After the return, neither fork nor exit uses it. A member that is not
 * in the registry is accepted. */
void bc__member_remove(enum bc_member_kind kind, struct bc_member *member);
/* Returns the first member for which `is_it` returns true, or NULL. The registry is
 * locked during the calls of `is_it`. */
struct bc_member *bc__member_find(enum bc_member_kind kind,
                                  bool (*is_it)(struct bc_member *member, void *context),
                                  void *context);

/* Blocks forks of all threads until bc__process_allow_forks. The caller holds no lock: a
 * fork acquires the locks of the members after the registry's lock. */
void bc__process_block_forks(void);
void bc__process_allow_forks(void);

#endif
