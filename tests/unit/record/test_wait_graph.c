/* The graph of waiting threads refuses each edge that would close a cycle. */
#include "record/wait_graph.h"
#include "tap.h"

enum { CACHES = 4 };

/* A cache for the graph: the thread that produces for it, its batches and its state. */
struct node {
    _Atomic uintptr_t producer;
    _Atomic uint64_t count;
    _Atomic int state;
};

static struct bc_wait_target batch_of(const struct node *node, uint64_t number) {
    return (struct bc_wait_target){&node->producer, &node->count, number, &node->state};
}

static void test_a_thread_does_not_wait_for_itself(void) {
    struct node node = {.producer = 1};
    struct bc_wait_edge edge;
    CHECK(!bc__wait_edge_add(&edge, 1, batch_of(&node, 0)));
    CHECK(bc__wait_edge_add(&edge, 2, batch_of(&node, 0)));
    bc__wait_edge_remove(&edge);
}

/* Thread i + 1 produces for cache i, and waits in cache i + 1. */
static void test_no_cycle_of_any_length(void) {
    for (uintptr_t n = 2; n <= CACHES; n++) {
        struct node nodes[CACHES] = {{.producer = 0}};
        struct bc_wait_edge edges[CACHES];
        for (uintptr_t i = 0; i < n; i++) nodes[i].producer = i + 1;
        for (uintptr_t i = 0; i + 1 < n; i++) {
            CHECK(bc__wait_edge_add(&edges[i], i + 1, batch_of(&nodes[i + 1], 0)));
        }
        CHECK(!bc__wait_edge_add(&edges[n - 1], n, batch_of(&nodes[0], 0)));
        /* A thread that produces for none of the caches may wait in each. */
        CHECK(bc__wait_edge_add(&edges[n - 1], 99, batch_of(&nodes[0], 0)));
        bc__wait_edge_remove(&edges[n - 1]);
        /* Without one edge there is no cycle. */
        bc__wait_edge_remove(&edges[0]);
        CHECK(bc__wait_edge_add(&edges[n - 1], n, batch_of(&nodes[0], 0)));
        CHECK(n == 2 || !bc__wait_edge_add(&edges[0], 1, batch_of(&nodes[1], 0)));
        for (uintptr_t i = 1; i < n; i++) bc__wait_edge_remove(&edges[i]);
    }
}

static void test_waits_that_are_over_do_not_count(void) {
    struct node nodes[2] = {{.producer = 1}, {.producer = 2}};
    struct bc_wait_edge first;
    struct bc_wait_edge second;
    CHECK(bc__wait_edge_add(&first, 1, batch_of(&nodes[1], 3)));
    CHECK(!bc__wait_edge_add(&second, 2, batch_of(&nodes[0], 0)));
    nodes[1].count = 3;
    CHECK(!bc__wait_edge_add(&second, 2, batch_of(&nodes[0], 0)));
    nodes[1].count = 4; /* batch 3 is recorded */
    CHECK(bc__wait_edge_add(&second, 2, batch_of(&nodes[0], 0)));
    bc__wait_edge_remove(&second);
    nodes[1].count = 0;
    nodes[1].state = 1; /* the recording has ended */
    CHECK(bc__wait_edge_add(&second, 2, batch_of(&nodes[0], 0)));
    bc__wait_edge_remove(&second);
    bc__wait_edge_remove(&first);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_a_thread_does_not_wait_for_itself),
        TAP_CASE(test_no_cycle_of_any_length),
        TAP_CASE(test_waits_that_are_over_do_not_count),
    };
    return TAP_RUN(cases);
}
