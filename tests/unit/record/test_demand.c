/* How many batches a prefetching thread should record, and which thread may produce. */
#include <string.h>

#include "record/demand.h"
#include "tap.h"

enum { READER = 11, PREFETCHING = 12 };

static void init(struct bc_demand *demand, struct bc_mutex *lock, uint64_t ahead) {
    memset(demand, 0, sizeof(*demand));
    CHECK(bc__mutex_init(lock) == 0);
    CHECK(bc__demand_init(demand, lock, ahead) == 0);
}

static void finish(struct bc_demand *demand) {
    bc__demand_finish(demand);
    bc__mutex_finish(demand->lock);
}

static void test_target_follows_the_fastest_reader(void) {
    struct bc_mutex lock;
    struct bc_demand demand;
    init(&demand, &lock, 5);
    CHECK(bc__demand_batches(&demand) == 0);
    bc__demand_on_position(&demand, 0, UINT64_MAX);
    CHECK(bc__demand_batches(&demand) == 5);
    bc__demand_on_position(&demand, 7, UINT64_MAX);
    CHECK(bc__demand_batches(&demand) == 12);
    /* A slower reader, and one that ends early, change nothing. */
    bc__demand_on_position(&demand, 3, UINT64_MAX);
    bc__demand_on_position(&demand, 100, 10);
    CHECK(bc__demand_batches(&demand) == 12);
    bc__demand_on_position(&demand, 11, 14);
    CHECK(bc__demand_batches(&demand) == 14);
    bc__demand_on_position(&demand, UINT64_MAX - 1, UINT64_MAX);
    CHECK(bc__demand_batches(&demand) == UINT64_MAX);
    finish(&demand);
}

static void test_waiting_threads_raise_the_demand(void) {
    struct bc_mutex lock;
    struct bc_demand demand;
    init(&demand, &lock, 2);
    bc__demand_on_position(&demand, 0, UINT64_MAX);
    bc__mutex_lock(&lock);
    bc__demand_raise(&demand, 9);
    bc__demand_raise(&demand, 4);
    bc__mutex_unlock(&lock);
    CHECK(bc__demand_batches(&demand) == 10);
    bc__demand_clear(&demand);
    CHECK(bc__demand_batches(&demand) == 2);
    bc__mutex_lock(&lock);
    bc__demand_raise(&demand, UINT64_MAX);
    bc__mutex_unlock(&lock);
    CHECK(bc__demand_batches(&demand) == UINT64_MAX);
    finish(&demand);
}

static void test_one_thread_may_produce(void) {
    struct bc_mutex lock;
    struct bc_demand demand;
    init(&demand, &lock, 3);
    atomic_store(&demand.thread, PREFETCHING);
    CHECK(bc__demand_may_produce(&demand, PREFETCHING));
    CHECK(!bc__demand_may_produce(&demand, READER));
    /* A reader retries a batch that could not be stored. */
    atomic_store(&demand.stalled, true);
    CHECK(bc__demand_may_produce(&demand, READER));
    bc__mutex_lock(&lock);
    bc__demand_end_stall(&demand);
    bc__mutex_unlock(&lock);
    CHECK(!bc__demand_may_produce(&demand, READER));
    atomic_store(&demand.over, true);
    CHECK(bc__demand_may_produce(&demand, READER));
    finish(&demand);
}

static void test_without_a_prefetching_thread(void) {
    struct bc_mutex lock;
    struct bc_demand demand;
    init(&demand, &lock, 0);
    bc__demand_on_position(&demand, 7, UINT64_MAX);
    bc__mutex_lock(&lock);
    bc__demand_raise(&demand, 9);
    CHECK(bc__demand_may_produce(&demand, READER));
    bc__mutex_unlock(&lock);
    CHECK(bc__demand_batches(&demand) == 0);
    finish(&demand);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_target_follows_the_fastest_reader),
        TAP_CASE(test_waiting_threads_raise_the_demand),
        TAP_CASE(test_one_thread_may_produce),
        TAP_CASE(test_without_a_prefetching_thread),
    };
    return TAP_RUN(cases);
}
