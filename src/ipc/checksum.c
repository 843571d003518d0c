#include "ipc/checksum.h"

#include <string.h>

#include "base/check.h"
#include "base/iovec.h"
#include "xxhash.h"

static const uint8_t zeros[64];

uint64_t bc__checksum(const void *data, size_t size) { return XXH3_64bits(data, size); }

uint64_t bc__checksum_seeded(const void *data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t bc__checksum_padded(const void *data, size_t size, size_t padding) {
    bc_assert(padding <= sizeof(zeros));
    if (padding == 0) return XXH3_64bits(data, size);
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, data, size);
    (void)XXH3_64bits_update(&state, zeros, padding);
    return XXH3_64bits_digest(&state);
}

uint64_t bc__checksum_message(const uint8_t *message, size_t size, size_t digits) {
    bc_assert(digits + BC_DIGITS <= size);
    uint8_t copy[1024];
    if (size <= sizeof(copy)) {
        memcpy(copy, message, size);
        memset(copy + digits, '0', BC_DIGITS);
        return XXH3_64bits(copy, size);
    }
    char blank[BC_DIGITS];
    memset(blank, '0', sizeof(blank));
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, message, digits);
    (void)XXH3_64bits_update(&state, blank, sizeof(blank));
    size_t rest = digits + BC_DIGITS;
    (void)XXH3_64bits_update(&state, message + rest, size - rest);
    return XXH3_64bits_digest(&state);
}

struct bc_content bc__checksum_content(const void *a, size_t a_size, const void *b,
                                       size_t b_size, const struct bc_iovec *iovecs,
                                       size_t n_iovecs) {
    XXH3_state_t state;
    (void)XXH3_128bits_reset(&state);
    (void)XXH3_128bits_update(&state, a, a_size);
    (void)XXH3_128bits_update(&state, b, b_size);
    for (size_t i = 0; i < n_iovecs; i++) {
        (void)XXH3_128bits_update(&state, iovecs[i].data, iovecs[i].size);
    }
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    return (struct bc_content){hash.low64, hash.high64};
}

void bc__checksum_print(char *out, uint64_t checksum) {
    for (int i = BC_DIGITS - 1; i >= 0; i--) {
        out[i] = "0123456789abcdef"[checksum & 15];
        checksum >>= 4;
    }
}

bool bc__checksum_parse(const char *digits, uint64_t *out_checksum) {
    uint64_t checksum = 0;
    for (int i = 0; i < BC_DIGITS; i++) {
        char c = digits[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10;
        } else {
            return false;
        }
        checksum = checksum << 4 | digit;
    }
    *out_checksum = checksum;
    return true;
}
