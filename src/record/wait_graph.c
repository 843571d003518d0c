#include "record/wait_graph.h"

#include <pthread.h>
#include <stddef.h>

#include "base/check.h"
#include "base/process.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* By thread, so that looking for one does not take longer the more there are. */
enum { BUCKETS = 256 };
static struct bc_wait *waits[BUCKETS];

static struct bc_wait **bucket_of(uintptr_t thread) {
    return &waits[(uint64_t)thread * 0x9E3779B97F4A7C15U >> 56];
}

static void hold(struct bc_member *member) {
    (void)member;
    (void)pthread_mutex_lock(&lock);
}

static void let(struct bc_member *member) {
    (void)member;
    (void)pthread_mutex_unlock(&lock);
}

/* A fork's child has none of the threads that wait. */
static void forget(struct bc_member *member) {
    for (int i = 0; i < BUCKETS; i++) waits[i] = NULL;
    let(member);
}

static void watch_forks(void) {
    static const struct bc_member_calls calls = {hold, let, forget, NULL};
    static struct bc_member member;
    bc__member_add(BC_MEMBER_WAITS, &member, &calls);
}

static bool is_over(const struct bc_awaited *awaited) {
    return atomic_load(awaited->count) > awaited->number ||
           atomic_load(awaited->state) != 0;
}

/* Follows who brings what is waited for, and what that thread waits for, and so on. The
 * list has no cycle: whoever would close one is not let in. */
static bool leads_to(uintptr_t thread, const struct bc_awaited *awaited) {
    while (awaited != NULL && !is_over(awaited)) {
        uintptr_t next = atomic_load(awaited->owner);
        if (next == thread) return true;
        awaited = NULL;
        for (const struct bc_wait *wait = *bucket_of(next); wait != NULL;
             wait = wait->next) {
            if (wait->thread == next) awaited = &wait->awaited;
        }
    }
    return false;
}

void bc__waits_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
}

bool bc__wait_begin(struct bc_wait *wait, uintptr_t thread, struct bc_awaited awaited) {
    bc_assert(wait != NULL && thread != 0 && awaited.owner != NULL);
    (void)pthread_mutex_lock(&lock);
    bool cycle = leads_to(thread, &awaited);
    if (!cycle) {
        struct bc_wait **bucket = bucket_of(thread);
        *wait = (struct bc_wait){.thread = thread, .awaited = awaited, .next = *bucket};
        if (*bucket != NULL) (*bucket)->previous = wait;
        *bucket = wait;
    }
    (void)pthread_mutex_unlock(&lock);
    return !cycle;
}

void bc__wait_end(struct bc_wait *wait) {
    (void)pthread_mutex_lock(&lock);
    if (wait->next != NULL) wait->next->previous = wait->previous;
    if (wait->previous != NULL) {
        wait->previous->next = wait->next;
    } else {
        struct bc_wait **bucket = bucket_of(wait->thread);
        bc_assert(*bucket == wait);
        *bucket = wait->next;
    }
    (void)pthread_mutex_unlock(&lock);
}
