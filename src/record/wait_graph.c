#include "record/wait_graph.h"

#include <stddef.h>

#include "base/check.h"
#include "base/process.h"
#include "base/sync.h"

static struct bc_mutex lock = BC_MUTEX_INITIALIZER;
/* By thread, so that looking for one does not take longer the more there are. */
enum { BUCKETS = 256 };
static struct bc_list edges[BUCKETS];

static struct bc_list *bucket_of(uintptr_t thread) {
    return &edges[(uint64_t)thread * 0x9E3779B97F4A7C15U >> 56];
}

static void hold(struct bc_member *member) {
    (void)member;
    bc__mutex_lock(&lock);
}

static void let(struct bc_member *member) {
    (void)member;
    bc__mutex_unlock(&lock);
}

/* A fork's child has none of the threads that wait. */
static void forget(struct bc_member *member) {
    for (int i = 0; i < BUCKETS; i++) edges[i].first = NULL;
    let(member);
}

static void watch_forks(void) {
    static const struct bc_member_calls calls = {hold, let, forget, NULL};
    static struct bc_member member;
    bc__member_add(BC_MEMBER_WAIT_GRAPH, &member, &calls);
}

static bool is_over(const struct bc_wait_target *target) {
    return atomic_load(target->count) > target->number || atomic_load(target->state) != 0;
}

/* Follows who brings what is waited for, and what that thread waits for, and so on. The
 * list has no cycle: whoever would close one is not let in. */
static bool leads_to(uintptr_t thread, const struct bc_wait_target *target) {
    while (target != NULL && !is_over(target)) {
        uintptr_t next = atomic_load(target->producer);
        if (next == thread) return true;
        target = NULL;
        for (struct bc_link *l = bucket_of(next)->first; l != NULL; l = l->next) {
            const struct bc_wait_edge *wait = BC_CONTAINER(l, struct bc_wait_edge, link);
            if (wait->thread == next) target = &wait->target;
        }
    }
    return false;
}

void bc__wait_graph_init(void) {
    static struct bc_once once = BC_ONCE_INITIALIZER;
    bc__once(&once, watch_forks);
}

bool bc__wait_edge_add(struct bc_wait_edge *wait, uintptr_t thread,
                       struct bc_wait_target target) {
    bc_assert(wait != NULL && thread != 0 && target.producer != NULL);
    bc__mutex_lock(&lock);
    bool cycle = leads_to(thread, &target);
    if (!cycle) {
        *wait = (struct bc_wait_edge){.thread = thread, .target = target};
        bc__list_add(bucket_of(thread), &wait->link);
    }
    bc__mutex_unlock(&lock);
    return !cycle;
}

void bc__wait_edge_remove(struct bc_wait_edge *wait) {
    bc__mutex_lock(&lock);
    bc__list_remove(bucket_of(wait->thread), &wait->link);
    bc__mutex_unlock(&lock);
}
