#include <errno.h>

#include "store/budget.h"
#include "store/shared_buffers.h"
#include "tap.h"

static const char memory[4096];

static void test_counts_each_byte_once(void) {
    struct bc_shared_buffers shares = {0};
    uint64_t added;
    CHECK(bc__shared_buffers_add(&shares, memory, 100, 60, &added) == 0 && added == 60);
    CHECK(bc__shared_buffers_add(&shares, memory, 100, 60, &added) == 0 && added == 40);
    CHECK(bc__shared_buffers_add(&shares, memory, 100, 60, &added) == 0 && added == 0);
    bc__shared_buffers_remove(&shares, memory, 60);
    CHECK(bc__shared_buffers_add(&shares, memory, 100, 30, &added) == 0 && added == 30);
    bc__shared_buffers_remove(&shares, memory, 40);
    bc__shared_buffers_remove(&shares, memory, 0);
    bc__shared_buffers_remove(&shares, memory, 30);
    CHECK(shares.count == 0);
    bc__shared_buffers_finish(&shares);
}

/* Entries are added and removed in any order, and each holder finds its entry. */
static void test_many(void) {
    struct bc_shared_buffers shares = {0};
    uint64_t added;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4096; i++) {
            CHECK(bc__shared_buffers_add(&shares, memory + i, 8, 8, &added) == 0 &&
                  added == 8);
        }
        CHECK(shares.count == 4096);
        for (int i = 0; i < 4096; i += 3)
            bc__shared_buffers_remove(&shares, memory + i, 8);
        for (int i = 0; i < 4096; i++) {
            if (i % 3 == 0) continue;
            CHECK(bc__shared_buffers_add(&shares, memory + i, 8, 8, &added) == 0 &&
                  added == 0);
            bc__shared_buffers_remove(&shares, memory + i, 0);
            bc__shared_buffers_remove(&shares, memory + i, 8);
        }
        CHECK(shares.count == 0);
    }
    bc__shared_buffers_finish(&shares);
}

static void test_budget_takes_back_what_does_not_fit(void) {
    struct bc_budget budget = {.capacity = 100};
    struct bc_share shares[2] = {{memory, 50, 50, 0}, {memory + 1, 40, 40, 0}};
    struct bc_charge charge = {.own_bytes = 20, .shared = shares, .n_shared = 2};
    CHECK(bc__budget_admit(&budget, &charge) == ENOSPC);
    CHECK(budget.used == 0 && budget.shared.count == 0);
    charge.own_bytes = 10;
    CHECK(bc__budget_admit(&budget, &charge) == 0 && budget.used == 100);
    bc__budget_release(&budget, &charge);
    CHECK(budget.used == 0 && budget.shared.count == 0);
    bc__budget_finish(&budget);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_counts_each_byte_once), TAP_CASE(test_many),
        TAP_CASE(test_budget_takes_back_what_does_not_fit)};
    return TAP_RUN(cases);
}
