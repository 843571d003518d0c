/* Extremes of random numbers of each type, compared with a plain loop. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "arrow/extremes.h"
#include "tap.h"

enum { MOST = 300 };

static uint64_t state = 1;

static uint64_t next_random(void) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return state >> 20;
}

static bool is_valid(const uint8_t *valid, int64_t i) {
    return valid == NULL || (valid[i / 8] >> (i % 8) & 1) != 0;
}

/* Returns number `i` as a double, which all numbers of these tests fit into. */
static double number_at(enum bc_number kind, int32_t bits, const void *values,
                        int64_t i) {
    bool is_signed = kind == BC_NUMBER_SIGNED;
    switch (bits) {
        case 8:
            return is_signed ? ((const int8_t *)values)[i] : ((const uint8_t *)values)[i];
        case 16:
            return is_signed ? ((const int16_t *)values)[i]
                             : ((const uint16_t *)values)[i];
        case 32:
            if (kind == BC_NUMBER_FLOAT) return (double)((const float *)values)[i];
            return is_signed ? (double)((const int32_t *)values)[i]
                             : (double)((const uint32_t *)values)[i];
        default:
            if (kind == BC_NUMBER_FLOAT) return ((const double *)values)[i];
            return is_signed ? (double)((const int64_t *)values)[i]
                             : (double)((const uint64_t *)values)[i];
    }
}

static void set_number(enum bc_number kind, int32_t bits, void *values, int64_t i) {
    uint64_t random = next_random();
    if (kind == BC_NUMBER_FLOAT) {
        static const double odd[] = {NAN, INFINITY, -INFINITY, -0.0, 0.0};
        double value = random % 8 == 0 ? odd[random / 8 % 5]
                                       : (double)(int64_t)(random % 2001) - 1000;
        if (bits == 32) {
            ((float *)values)[i] = (float)value;
        } else {
            ((double *)values)[i] = value;
        }
        return;
    }
    /* Also numbers in which only the sign or the upper half differs. */
    int64_t number = (int64_t)(random % 4096) - (kind == BC_NUMBER_SIGNED ? 2048 : 0);
    if (random % 16 == 0) number = (int64_t)((uint64_t)number << (bits > 52 ? 40 : 0));
    memcpy((uint8_t *)values + i * (bits / 8), &number, (size_t)bits / 8);
}

static void check_one(enum bc_number kind, int32_t bits, int64_t start, int64_t length,
                      const uint8_t *valid, int64_t valid_start) {
    _Alignas(64) uint8_t values[(MOST + 80) * 8];
    for (int64_t i = 0; i < MOST + 80; i++) set_number(kind, bits, values, i);
    double low = INFINITY;
    double high = -INFINITY;
    int64_t nans = 0;
    bool found = false;
    for (int64_t i = 0; i < length; i++) {
        if (!is_valid(valid, valid_start + i)) continue;
        double value = number_at(kind, bits, values, start + i);
        if (isnan(value)) {
            nans++;
            continue;
        }
        found = true;
        if (value < low) low = value;
        if (value > high) high = value;
    }
    const struct bc_numbers numbers = {kind,   bits,  values,     start,
                                       length, valid, valid_start};
    _Alignas(8) uint8_t ends[2][8];
    int64_t counted;
    CHECK(bc__extremes(&numbers, ends[0], ends[1], &counted) == found);
    CHECK(counted == nans);
    if (!found) return;
    CHECK(number_at(kind, bits, ends[0], 0) == low);
    CHECK(number_at(kind, bits, ends[1], 0) == high);
    if (kind != BC_NUMBER_FLOAT) return;
    if (low == 0) CHECK(signbit(number_at(kind, bits, ends[0], 0)));
    if (high == 0) CHECK(!signbit(number_at(kind, bits, ends[1], 0)));
}

static void check_kind(enum bc_number kind, int32_t bits) {
    uint8_t valid[MOST / 8 + 20];
    for (int64_t length = 0; length <= MOST; length += length < 70 ? 1 : 23) {
        int64_t start = (int64_t)(next_random() % 70);
        int64_t valid_start = (int64_t)(next_random() % 9);
        check_one(kind, bits, start, length, NULL, 0);
        static const uint8_t patterns[] = {0, 0xff, 0x80, 0x55};
        for (size_t p = 0; p < sizeof(patterns); p++) {
            memset(valid, patterns[p], sizeof(valid));
            check_one(kind, bits, start, length, valid, valid_start);
        }
        for (size_t i = 0; i < sizeof(valid); i++) valid[i] = (uint8_t)next_random();
        check_one(kind, bits, start, length, valid, valid_start);
    }
}

static void test_integers(void) {
    for (int32_t bits = 8; bits <= 64; bits *= 2) {
        check_kind(BC_NUMBER_SIGNED, bits);
        check_kind(BC_NUMBER_UNSIGNED, bits);
    }
}

static void test_floats(void) {
    check_kind(BC_NUMBER_FLOAT, 32);
    check_kind(BC_NUMBER_FLOAT, 64);
}

static void test_halves(void) {
    /* 1, NaN, -2, -0, infinity, a negative NaN */
    static const uint16_t values[] = {0x3c00, 0x7e00, 0xc000, 0x8000, 0x7c00, 0xfe00};
    uint16_t low;
    uint16_t high;
    int64_t nans;
    struct bc_numbers numbers = {
        .kind = BC_NUMBER_FLOAT, .bits = 16, .values = values, .length = 6};
    CHECK(bc__extremes(&numbers, (uint8_t *)&low, (uint8_t *)&high, &nans));
    CHECK(low == 0xc000 && high == 0x7c00 && nans == 2);
    numbers.start = 3;
    numbers.length = 1;
    CHECK(bc__extremes(&numbers, (uint8_t *)&low, (uint8_t *)&high, &nans));
    CHECK(low == 0x8000 && high == 0 && nans == 0);
    numbers.start = 1;
    CHECK(!bc__extremes(&numbers, (uint8_t *)&low, (uint8_t *)&high, &nans) && nans == 1);
}

static void test_long_integers(void) {
    for (int words = 2; words <= 4; words += 2) {
        uint64_t values[4][4] = {{5, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 0}, {7, 0, 0, 0}};
        uint64_t flat[16] = {0};
        values[2][words - 1] = UINT64_MAX; /* negative */
        for (int i = 0; i < 4; i++) {
            memcpy(flat + (ptrdiff_t)i * words, values[i], (size_t)words * 8);
        }
        uint64_t low[4];
        uint64_t high[4];
        int64_t nans;
        const uint8_t valid = 0x0d; /* not the second */
        struct bc_numbers numbers = {
            .kind = BC_NUMBER_SIGNED, .bits = words * 64, .values = flat, .length = 4};
        CHECK(bc__extremes(&numbers, (uint8_t *)low, (uint8_t *)high, &nans));
        CHECK(memcmp(low, values[2], (size_t)words * 8) == 0);
        CHECK(memcmp(high, values[1], (size_t)words * 8) == 0);
        numbers.valid = &valid;
        CHECK(bc__extremes(&numbers, (uint8_t *)low, (uint8_t *)high, &nans));
        CHECK(memcmp(high, values[3], (size_t)words * 8) == 0);
    }
}

static void test_bools(void) {
    uint8_t values[20];
    for (int64_t at = 0; at < 130; at++) {
        memset(values, 0, sizeof(values));
        values[at / 8] = (uint8_t)(1U << (at % 8));
        uint8_t low = 9;
        uint8_t high = 9;
        int64_t nans;
        struct bc_numbers numbers = {
            .kind = BC_NUMBER_BOOL, .bits = 1, .values = values, .length = 130};
        CHECK(bc__extremes(&numbers, &low, &high, &nans) && low == 0 && high == 1);
        numbers.valid = values;
        CHECK(bc__extremes(&numbers, &low, &high, &nans) && low == 1 && high == 1);
        numbers.start = numbers.valid_start = at + 1;
        numbers.length = 130 - at - 1;
        CHECK(!bc__extremes(&numbers, &low, &high, &nans));
        numbers.valid = NULL;
        CHECK(bc__extremes(&numbers, &low, &high, &nans) == (numbers.length > 0));
        CHECK(numbers.length == 0 || (low == 0 && high == 0));
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_integers),      TAP_CASE(test_floats), TAP_CASE(test_halves),
        TAP_CASE(test_long_integers), TAP_CASE(test_bools),
    };
    return TAP_RUN(cases);
}
