#define _POSIX_C_SOURCE 200809L
#include "base/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/sync.h"
#include "base/sys.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bc_list members[BC_MEMBER_KINDS];
/* Bindings are never removed, so a fork reads the list without the lock. */
static struct bc_link *_Atomic bindings;
/* The newest binding that the fork in progress has called. Guarded by the lock. */
static struct bc_link *called_by_fork;

/* The process id. It is cached, since getpid costs more than the replay of a batch. */
static _Atomic int64_t process;
static _Atomic uint64_t forks;

static struct bc_member *member_of(struct bc_link *link) {
    return BC_CONTAINER(link, struct bc_member, link);
}

static void fork_prepare(void) {
    struct bc_link *latest = atomic_load(&bindings);
    for (struct bc_link *l = latest; l != NULL; l = l->next) {
        member_of(l)->calls->prepare(member_of(l));
    }
    (void)pthread_mutex_lock(&lock);
    called_by_fork = latest;
    (void)atomic_fetch_add(&forks, 1);
    for (int kind = 0; kind < BC_MEMBER_KINDS; kind++) {
        for (struct bc_link *l = members[kind].first; l != NULL; l = l->next) {
            struct bc_member *m = member_of(l);
            m->calls->prepare(m);
        }
    }
}

static void call_after(struct bc_link *link, bool in_child) {
    struct bc_member *member = member_of(link);
    (in_child ? member->calls->child : member->calls->parent)(member);
}

/* Calls the bindings, from the oldest to the newest that was called before the fork. */
static void call_bindings_after(struct bc_link *latest, bool in_child) {
    if (latest == NULL) return;
    struct bc_link *link = latest;
    while (link->next != NULL) link = link->next;
    for (; link != latest; link = link->previous) call_after(link, in_child);
    call_after(latest, in_child);
}

static void fork_after(bool in_child) {
    for (int kind = BC_MEMBER_KINDS - 1; kind >= 0; kind--) {
        for (struct bc_link *l = members[kind].first; l != NULL; l = l->next) {
            call_after(l, in_child);
        }
    }
    struct bc_link *latest = called_by_fork;
    (void)pthread_mutex_unlock(&lock);
    call_bindings_after(latest, in_child);
}

static void fork_in_parent(void) { fork_after(false); }

static void fork_in_child(void) {
    atomic_store(&process, (int64_t)getpid());
    fork_after(true);
}

static void at_exit(void) {
    (void)pthread_mutex_lock(&lock);
    for (int kind = 0; kind < BC_MEMBER_KINDS; kind++) {
        for (struct bc_link *l = members[kind].first; l != NULL; l = l->next) {
            struct bc_member *m = member_of(l);
            if (m->calls->exit != NULL) m->calls->exit(m);
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

static void register_handlers(void) {
    (void)pthread_atfork(fork_prepare, fork_in_parent, fork_in_child);
    (void)atexit(at_exit);
    atomic_store(&process, (int64_t)getpid());
}

static void register_handlers_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, register_handlers);
}

int64_t bc__sys_process(void) {
    int64_t known = atomic_load_explicit(&process, memory_order_relaxed);
    if (known != 0) return known;
    register_handlers_once();
    return atomic_load(&process);
}

uint64_t bc__sys_forks(void) { return atomic_load(&forks); }

void bc__process_block_forks(void) {
    bc__assert_no_lock();
    register_handlers_once();
    (void)pthread_mutex_lock(&lock);
}

void bc__process_allow_forks(void) { (void)pthread_mutex_unlock(&lock); }

void bc__binding_add(struct bc_member *binding, const struct bc_member_calls *calls) {
    bc_assert(calls->prepare != NULL && calls->parent != NULL && calls->child != NULL);
    bc__process_block_forks();
    struct bc_link *next = atomic_load(&bindings);
    *binding = (struct bc_member){.calls = calls, .link = {.next = next}};
    if (next != NULL) next->previous = &binding->link;
    atomic_store(&bindings, &binding->link);
    bc__process_allow_forks();
}

void bc__member_add(enum bc_member_kind kind, struct bc_member *member,
                    const struct bc_member_calls *calls) {
    bc_assert(calls->prepare != NULL && calls->parent != NULL && calls->child != NULL);
    bc__process_block_forks();
    member->calls = calls;
    bc__list_add(&members[kind], &member->link);
    bc__process_allow_forks();
}

void bc__member_remove(enum bc_member_kind kind, struct bc_member *member) {
    if (member->calls == NULL) return;
    bc__process_block_forks();
    bc__list_remove(&members[kind], &member->link);
    member->calls = NULL;
    bc__process_allow_forks();
}

struct bc_member *bc__member_find(enum bc_member_kind kind,
                                  bool (*is_it)(struct bc_member *member, void *context),
                                  void *context) {
    bc__process_block_forks();
    struct bc_link *link = members[kind].first;
    while (link != NULL && !is_it(member_of(link), context)) link = link->next;
    bc__process_allow_forks();
    return link == NULL ? NULL : member_of(link);
}
