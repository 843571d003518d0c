#include "arrow/bits.h"

#include <string.h>

#include "base/check.h"

static int64_t count_bytes(const uint8_t *bytes, int64_t n) {
    int64_t count = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof(word));
        count += __builtin_popcountll(word);
    }
    for (; i < n; i++) count += __builtin_popcount(bytes[i]);
    return count;
}

int64_t bc__bits_count(const uint8_t *bitmap, int64_t offset, int64_t length) {
    bc_assert(offset >= 0 && length >= 0);
    if (length == 0) return 0;
    int64_t end = offset + length;
    int64_t first = offset / 8;
    int64_t last = end / 8;
    unsigned head = 0xffU << (offset % 8) & 0xffU;
    unsigned tail = (1U << (end % 8)) - 1U;
    if (first == last) return __builtin_popcount(bitmap[first] & head & tail);
    int64_t count = __builtin_popcount(bitmap[first] & head);
    count += count_bytes(bitmap + first + 1, last - first - 1);
    if (tail != 0) count += __builtin_popcount(bitmap[last] & tail);
    return count;
}

void bc__bits_copy(uint8_t *out, const uint8_t *bitmap, int64_t offset, int64_t length) {
    bc_assert(offset >= 0 && length >= 0);
    if (length == 0) return;
    int64_t bytes = bc__bit_bytes(length);
    const uint8_t *in = bitmap + offset / 8;
    unsigned shift = (unsigned)(offset % 8);
    if (shift == 0) {
        memcpy(out, in, (size_t)bytes);
    } else {
        /* The input's last byte is read only if it has bits of the range. */
        int64_t in_bytes = bc__bit_bytes((int64_t)shift + length);
        int64_t i = 0;
        for (; i + 9 <= in_bytes; i += 8) {
            uint64_t word;
            memcpy(&word, in + i, sizeof(word));
            word = word >> shift | (uint64_t)in[i + 8] << (64 - shift);
            memcpy(out + i, &word, sizeof(word));
        }
        for (; i < bytes; i++) {
            unsigned low = in[i];
            unsigned high = i + 1 < in_bytes ? in[i + 1] : 0;
            out[i] = (uint8_t)((low | high << 8) >> shift);
        }
    }
    if (length % 8 != 0) out[bytes - 1] &= (uint8_t)((1U << (length % 8)) - 1U);
}

uint64_t bc__bits_load(const uint8_t *bitmap, int64_t offset, int length) {
    bc_assert(offset >= 0 && length > 0 && length <= 64);
    const uint8_t *in = bitmap + offset / 8;
    unsigned shift = (unsigned)(offset % 8);
    size_t bytes = (size_t)(shift + (unsigned)length + 7) / 8;
    uint64_t word = 0;
    memcpy(&word, in, bytes < 8 ? bytes : 8);
    word >>= shift;
    if (bytes > 8) word |= (uint64_t)in[8] << (64 - shift);
    return length == 64 ? word : word & ((UINT64_C(1) << length) - 1);
}
