/* Checksums of data, padded data and messages, and their digits. */
#include <string.h>

#include "base/iovec.h"
#include "ipc/checksum.h"
#include "tap.h"

enum { SIZE = 300 };

static void make_data(uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * 7 + 1);
}

/* The values are part of the file format: XXH3 of 64 bits, seed 0. */
static void test_known_values(void) {
    CHECK(bc__checksum("", 0) == 0x2d06800538d394c2U);
    CHECK(bc__checksum_seeded("", 0, 0) == bc__checksum("", 0));
    CHECK(bc__checksum_seeded("abc", 3, 1) != bc__checksum_seeded("abc", 3, 2));
}

static void test_padding_counts_as_zeros(void) {
    uint8_t data[SIZE + 64] = {0};
    for (size_t size = 0; size <= SIZE; size += 37) {
        memset(data, 0, sizeof(data));
        make_data(data, size);
        for (size_t padding = 0; padding <= 64; padding += 8) {
            CHECK(bc__checksum_padded(data, size, padding) ==
                  bc__checksum(data, size + padding));
        }
    }
}

/* The digits in a message count as '0', and every other byte counts. */
static void check_message(uint8_t *message, size_t size) {
    enum { AT = 40 };
    make_data(message, size);
    memset(message + AT, '0', BC_DIGITS);
    uint64_t expected = bc__checksum(message, size);
    CHECK(bc__checksum_message(message, size, AT) == expected);
    bc__checksum_print((char *)message + AT, expected);
    CHECK(bc__checksum_message(message, size, AT) == expected);
    for (size_t i = 0; i < size; i++) {
        message[i] ^= 1;
        bool is_digit = i >= AT && i < AT + BC_DIGITS;
        CHECK((bc__checksum_message(message, size, AT) == expected) == is_digit);
        message[i] ^= 1;
    }
}

static void test_messages(void) {
    static uint8_t message[3000];
    check_message(message, 120);
    check_message(message, sizeof(message));
}

static void test_digits(void) {
    static const uint64_t values[] = {0, 1, UINT64_MAX, 0x0123456789abcdefU};
    char digits[BC_DIGITS + 1];
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint64_t value = ~values[i];
        memset(digits, '!', sizeof(digits));
        bc__checksum_print(digits, values[i]);
        CHECK(digits[BC_DIGITS] == '!');
        CHECK(bc__checksum_parse(digits, &value) && value == values[i]);
    }
    for (int i = 0; i < BC_DIGITS; i++) {
        uint64_t value;
        memset(digits, 'a', sizeof(digits));
        digits[i] = 'g';
        CHECK(!bc__checksum_parse(digits, &value));
        digits[i] = ' ';
        CHECK(!bc__checksum_parse(digits, &value));
    }
}

/* A digest depends on the bytes, not on their division into buffers. */
static void test_content(void) {
    uint8_t data[SIZE];
    make_data(data, SIZE);
    const struct bc_iovec whole[] = {{data, SIZE}};
    const struct bc_iovec divided[] = {{data, 100}, {data + 100, 1}, {data + 101, 199}};
    struct bc_content a = bc__checksum_content("ab", 2, "c", 1, whole, 1);
    struct bc_content b = bc__checksum_content("ab", 2, "c", 1, divided, 3);
    CHECK(a.low == b.low && a.high == b.high);
    data[200] ^= 1;
    b = bc__checksum_content("ab", 2, "c", 1, divided, 3);
    CHECK(a.low != b.low && a.high != b.high);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_known_values), TAP_CASE(test_padding_counts_as_zeros),
        TAP_CASE(test_messages),     TAP_CASE(test_digits),
        TAP_CASE(test_content),
    };
    return TAP_RUN(cases);
}
