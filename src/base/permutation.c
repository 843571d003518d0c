/* Permutations for training: Fisher-Yates over SplitMix64 (Steele, Lea, Flood: "Fast
 * splittable pseudorandom number generators", 2014). A seed gives the same permutation on
 * every machine, and in every later version. */
#include "base/check.h"
#include "batchcorder/batchcorder.h"

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static uint64_t next_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15ULL;
    return mix(*state);
}

/* Returns a uniform number below `n`. Rejects the numbers of the last, incomplete
 * multiple of `n`. */
static uint64_t random_below(uint64_t *state, uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t value;
    do {
        value = next_random(state);
    } while (value >= limit);
    return value % n;
}

void bc_permutation(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t *out) {
    bc_assert(n == 0 || out != NULL);
    uint64_t state =
        mix(seed + 0x9e3779b97f4a7c15ULL) ^ mix(epoch + 0x632be59bd9b4e019ULL);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t j = random_below(&state, i + 1);
        if (j != i) out[i] = out[j];
        out[j] = i;
    }
}
