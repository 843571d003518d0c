/* Permutations for training: Fisher-Yates over SplitMix64 (Steele, Lea, Flood: "Fast
 * splittable pseudorandom number generators", 2014), whose numbers are the same
 * everywhere and will stay so. */
#include "base/check.h"
#include "batchcorder/batchcorder.h"

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static uint64_t next(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15ULL;
    return mix(*state);
}

/* A number below `n`, each as likely: those of the last, incomplete round are passed. */
static uint64_t below(uint64_t *state, uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t value;
    do {
        value = next(state);
    } while (value >= limit);
    return value % n;
}

void bc_permutation(uint64_t seed, uint64_t epoch, uint64_t n, uint64_t *out) {
    bc_assert(n == 0 || out != NULL);
    uint64_t state =
        mix(seed + 0x9e3779b97f4a7c15ULL) ^ mix(epoch + 0x632be59bd9b4e019ULL);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t j = below(&state, i + 1);
        if (j != i) out[i] = out[j];
        out[j] = i;
    }
}
