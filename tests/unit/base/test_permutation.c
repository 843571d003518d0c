/* Permutations for training. */
#include <string.h>

#include "batchcorder/batchcorder.h"
#include "tap.h"

static void test_shuffle(void) {
    enum { N = 1000 };
    static uint64_t order[N];
    static int seen[N];
    bc_permutation(1, 2, N, order);
    for (int i = 0; i < N; i++) CHECK(order[i] < N && seen[order[i]]++ == 0);
    /* The values may never change. */
    uint64_t five[5];
    bc_permutation(7, 0, 5, five);
    static const uint64_t known[] = {3, 1, 0, 2, 4};
    CHECK(memcmp(five, known, sizeof(known)) == 0);
    bc_permutation(0, 0, 0, NULL);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_shuffle),
    };
    return TAP_RUN(cases);
}
