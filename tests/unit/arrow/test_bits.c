#include <string.h>

#include "arrow/bits.h"
#include "tap.h"

enum { BYTES = 40 };

static int bit(const uint8_t *bitmap, int64_t i) { return bitmap[i / 8] >> (i % 8) & 1; }

static void fill(uint8_t *bitmap) {
    uint32_t state = 12345;
    for (int i = 0; i < BYTES; i++) {
        state = state * 1664525 + 1013904223;
        bitmap[i] = (uint8_t)(state >> 24);
    }
}

static void test_count_at_every_offset(void) {
    uint8_t bitmap[BYTES];
    fill(bitmap);
    for (int64_t offset = 0; offset < 20; offset++) {
        for (int64_t length = 0; length + offset <= BYTES * 8; length++) {
            int64_t expected = 0;
            for (int64_t i = 0; i < length; i++) expected += bit(bitmap, offset + i);
            CHECK(bc__bits_count(bitmap, offset, length) == expected);
        }
    }
}

static void test_copy_at_every_offset(void) {
    for (int64_t offset = 0; offset < 20; offset++) {
        for (int64_t length = 0; length + offset <= BYTES * 8; length++) {
            /* The buffer has the exact size, so that a sanitizer reports a read beyond
             * it. */
            size_t in_bytes = (size_t)(offset + length + 7) / 8;
            size_t out_bytes = (size_t)(length + 7) / 8;
            uint8_t whole[BYTES];
            fill(whole);
            uint8_t *in = malloc(in_bytes + 1);
            uint8_t *out = malloc(out_bytes + 1);
            memcpy(in, whole, in_bytes);
            in = realloc(in, in_bytes == 0 ? 1 : in_bytes);
            out[out_bytes] = 0xAB;
            bc__bits_copy(out, in, offset, length);
            for (int64_t i = 0; i < length; i++)
                CHECK(bit(out, i) == bit(in, offset + i));
            for (int64_t i = length; i < (int64_t)out_bytes * 8; i++) CHECK(!bit(out, i));
            CHECK(out[out_bytes] == 0xAB);
            free(in);
            free(out);
        }
    }
}

static void test_load_at_every_offset(void) {
    for (int64_t offset = 0; offset < 20; offset++) {
        for (int length = 1; length <= 64; length++) {
            size_t bytes = (size_t)(offset + length + 7) / 8;
            uint8_t whole[BYTES];
            fill(whole);
            uint8_t *in = malloc(bytes); /* of the exact size, as above */
            memcpy(in, whole, bytes);
            uint64_t word = bc__bits_load(in, offset, length);
            for (int i = 0; i < 64; i++) {
                uint64_t expected = i < length ? (uint64_t)bit(in, offset + i) : 0;
                CHECK((word >> i & 1) == expected);
            }
            free(in);
        }
    }
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_count_at_every_offset),
                                            TAP_CASE(test_copy_at_every_offset),
                                            TAP_CASE(test_load_at_every_offset)};
    return TAP_RUN(cases);
}
