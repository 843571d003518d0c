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
static struct bc_member *members[BC_MEMBER_KINDS];
/* They stay, so who forks walks them without the lock. */
static struct bc_member *_Atomic bindings;
/* The latest binding that the fork under way has called. With the lock. */
static struct bc_member *called_by_fork;

/* Kept, because asking the system costs more than a replayed batch. */
static _Atomic int64_t process;
static _Atomic uint64_t forks;

static void before_fork(void) {
    struct bc_member *latest = atomic_load(&bindings);
    for (struct bc_member *m = latest; m != NULL; m = m->next) m->calls->prepare(m);
    (void)pthread_mutex_lock(&lock);
    called_by_fork = latest;
    (void)atomic_fetch_add(&forks, 1);
    for (int kind = 0; kind < BC_MEMBER_KINDS; kind++) {
        for (struct bc_member *m = members[kind]; m != NULL; m = m->next) {
            m->calls->prepare(m);
        }
    }
}

static void call_after(struct bc_member *member, bool in_child) {
    (in_child ? member->calls->child : member->calls->parent)(member);
}

/* From the first to the latest that was called before the fork. */
static void call_bindings_after(struct bc_member *latest, bool in_child) {
    if (latest == NULL) return;
    struct bc_member *m = latest;
    while (m->next != NULL) m = m->next;
    for (; m != latest; m = m->previous) call_after(m, in_child);
    call_after(latest, in_child);
}

static void after_fork(bool in_child) {
    for (int kind = BC_MEMBER_KINDS - 1; kind >= 0; kind--) {
        for (struct bc_member *m = members[kind]; m != NULL; m = m->next) {
            call_after(m, in_child);
        }
    }
    struct bc_member *latest = called_by_fork;
    (void)pthread_mutex_unlock(&lock);
    call_bindings_after(latest, in_child);
}

static void in_parent(void) { after_fork(false); }

static void in_child(void) {
    atomic_store(&process, (int64_t)getpid());
    after_fork(true);
}

static void at_exit(void) {
    (void)pthread_mutex_lock(&lock);
    for (int kind = 0; kind < BC_MEMBER_KINDS; kind++) {
        for (struct bc_member *m = members[kind]; m != NULL; m = m->next) {
            if (m->calls->exit != NULL) m->calls->exit(m);
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

static void watch(void) {
    (void)pthread_atfork(before_fork, in_parent, in_child);
    (void)atexit(at_exit);
    atomic_store(&process, (int64_t)getpid());
}

static void watch_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch);
}

int64_t bc__sys_process(void) {
    int64_t known = atomic_load_explicit(&process, memory_order_relaxed);
    if (known != 0) return known;
    watch_once();
    return atomic_load(&process);
}

uint64_t bc__sys_forks(void) { return atomic_load(&forks); }

void bc__process_block_forks(void) {
    bc__assert_no_lock();
    watch_once();
    (void)pthread_mutex_lock(&lock);
}

void bc__process_allow_forks(void) { (void)pthread_mutex_unlock(&lock); }

void bc__binding_add(struct bc_member *binding, const struct bc_member_calls *calls) {
    bc_assert(calls->prepare != NULL && calls->parent != NULL && calls->child != NULL);
    bc__process_block_forks();
    struct bc_member *next = atomic_load(&bindings);
    *binding = (struct bc_member){.calls = calls, .next = next};
    if (next != NULL) next->previous = binding;
    atomic_store(&bindings, binding);
    bc__process_allow_forks();
}

void bc__member_add(enum bc_member_kind kind, struct bc_member *member,
                    const struct bc_member_calls *calls) {
    bc_assert(calls->prepare != NULL && calls->parent != NULL && calls->child != NULL);
    bc__process_block_forks();
    *member = (struct bc_member){.calls = calls, .next = members[kind]};
    if (member->next != NULL) member->next->previous = member;
    members[kind] = member;
    bc__process_allow_forks();
}

void bc__member_remove(enum bc_member_kind kind, struct bc_member *member) {
    if (member->calls == NULL) return;
    bc__process_block_forks();
    if (member->next != NULL) member->next->previous = member->previous;
    if (member->previous != NULL) {
        member->previous->next = member->next;
    } else {
        bc_assert(members[kind] == member);
        members[kind] = member->next;
    }
    member->calls = NULL;
    bc__process_allow_forks();
}

struct bc_member *bc__member_find(enum bc_member_kind kind,
                                  bool (*is_it)(struct bc_member *member, void *context),
                                  void *context) {
    bc__process_block_forks();
    struct bc_member *member = members[kind];
    while (member != NULL && !is_it(member, context)) member = member->next;
    bc__process_allow_forks();
    return member;
}
