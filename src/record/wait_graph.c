#include "record/wait_graph.h"

#include <stddef.h>

#include "base/check.h"
#include "base/process.h"
#include "base/sync.h"

static struct bc_mutex lock = BC_MUTEX_INITIALIZER;
/* A hash table by thread, so that a search takes the same time for any number of
 * edges. */
enum { BUCKETS = 256 };
static struct bc_list edges[BUCKETS];

static struct bc_list *bucket_of(uintptr_t thread) {
    return &edges[(uint64_t)thread * 0x9E3779B97F4A7C15U >> 56];
}

static void lock_graph(struct bc_member *member) {
    (void)member;
    bc__mutex_lock(&lock);
}

static void unlock_graph(struct bc_member *member) {
    (void)member;
    bc__mutex_unlock(&lock);
}

/* Empties the graph in a fork's child, which has none of the waiting threads. */
static void clear_graph_in_child(struct bc_member *member) {
    for (int i = 0; i < BUCKETS; i++) edges[i].first = NULL;
    unlock_graph(member);
}

static void register_graph(void) {
    static const struct bc_member_calls calls = {lock_graph, unlock_graph,
                                                 clear_graph_in_child, NULL};
    static struct bc_member member;
    bc__member_add(BC_MEMBER_WAIT_GRAPH, &member, &calls);
}

/* Returns true if the wait is over. */
static bool is_over(const struct bc_wait_target *target) {
    return atomic_load(target->count) > target->number || atomic_load(target->state) != 0;
}

/* Returns true if a path leads from `target` to `thread`. Follows each producer to its
 * own target. The graph has no cycle, since no edge that closes one is added. */
static bool reaches_thread(uintptr_t thread, const struct bc_wait_target *target) {
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
    bc__once(&once, register_graph);
}

bool bc__wait_edge_add(struct bc_wait_edge *wait, uintptr_t thread,
                       struct bc_wait_target target) {
    bc_assert(wait != NULL && thread != 0 && target.producer != NULL);
    bc__mutex_lock(&lock);
    bool cycle = reaches_thread(thread, &target);
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
