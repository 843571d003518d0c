/* Values of the other byte order are swapped. */
#include "arrow/values.h"
#include "base/check.h"
#include "counting_source.h"
#include "ipc/endian.h"

static struct bc_field field_of(enum bc_layout kind, int32_t bits, size_t alignment) {
    return (struct bc_field){.kind = kind, .bits = bits, .alignment = alignment};
}

static void test_units(void) {
    static const struct {
        enum bc_layout kind;
        int32_t bits;
        size_t alignment;
        enum bc_unit unit;
    } cases[] = {
        {BC_LAYOUT_FIXED, 1, 1, BC_UNIT_BYTE},   {BC_LAYOUT_FIXED, 8, 1, BC_UNIT_BYTE},
        {BC_LAYOUT_FIXED, 16, 2, BC_UNIT_2},     {BC_LAYOUT_FIXED, 32, 4, BC_UNIT_4},
        {BC_LAYOUT_FIXED, 64, 8, BC_UNIT_8},     {BC_LAYOUT_FIXED, 64, 4, BC_UNIT_4},
        {BC_LAYOUT_FIXED, 128, 16, BC_UNIT_16},  {BC_LAYOUT_FIXED, 256, 16, BC_UNIT_32},
        {BC_LAYOUT_FIXED, 64, 1, BC_UNIT_BYTE},  {BC_LAYOUT_FIXED, 128, 1, BC_UNIT_BYTE},
        {BC_LAYOUT_LIST_VIEW, 32, 4, BC_UNIT_4}, {BC_LAYOUT_LIST_VIEW, 64, 8, BC_UNIT_8},
        {BC_LAYOUT_VIEW, 128, 16, BC_UNIT_VIEW}, {BC_LAYOUT_FIXED, 0, 1, BC_UNIT_BYTE},
    };
    for (size_t i = 0; i < BC_ARRAY_LENGTH(cases); i++) {
        struct bc_field field =
            field_of(cases[i].kind, cases[i].bits, cases[i].alignment);
        CHECK(bc__unit_of_values(&field) == cases[i].unit);
    }
    struct bc_field interval = field_of(BC_LAYOUT_FIXED, 128, 8);
    CHECK(bc__unit_of_values(&interval) == BC_UNIT_MONTH_DAY_NANO);
}

/* Swaps from an unaligned address and in place. A partial unit at the end is not
 * written. */
static void check(enum bc_unit unit, const uint8_t *turned, int64_t size) {
    uint8_t in[65];
    uint8_t out[64];
    uint8_t *place = in + 1;
    for (int i = 0; i < 64; i++) place[i] = (uint8_t)i;
    memset(out, 0xee, sizeof(out));
    bc__swap_bytes(unit, out, place, size + size / 2);
    CHECK(memcmp(out, turned, (size_t)size) == 0);
    if (size > 1) CHECK(out[size] == 0xee);
    bc__swap_bytes(unit, place, place, size);
    CHECK(memcmp(place, turned, (size_t)size) == 0 && place[size] == size);
}

static void test_numbers(void) {
    static const enum bc_unit units[] = {BC_UNIT_BYTE, BC_UNIT_2,  BC_UNIT_4,
                                         BC_UNIT_8,    BC_UNIT_16, BC_UNIT_32};
    uint8_t turned[32];
    for (int which = 0; which < 6; which++) {
        int size = 1 << which;
        for (int i = 0; i < size; i++) turned[i] = (uint8_t)(size - 1 - i);
        check(units[which], turned, size);
    }
}

static void test_intervals(void) {
    static const uint8_t turned[16] = {3,  2,  1,  0,  7,  6,  5, 4,
                                       15, 14, 13, 12, 11, 10, 9, 8};
    check(BC_UNIT_MONTH_DAY_NANO, turned, 16);
}

/* The inline text and the prefix of a view have no byte order. */
static void test_views(void) {
    static const int32_t lengths[] = {0, 12, 13, -1};
    for (size_t i = 0; i < BC_ARRAY_LENGTH(lengths); i++) {
        struct bc_view view = {(int32_t)__builtin_bswap32((uint32_t)lengths[i]), "abcd",
                               (int32_t)__builtin_bswap32(7),
                               (int32_t)__builtin_bswap32(9)};
        struct bc_view out;
        bc__swap_bytes(BC_UNIT_VIEW, &out, &view, sizeof(view));
        bool refers = lengths[i] == 13;
        CHECK(out.length == lengths[i] && memcmp(out.prefix, "abcd", 4) == 0);
        CHECK(out.buffer == (refers ? 7 : view.buffer));
        CHECK(out.offset == (refers ? 9 : view.offset));
    }
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_units), TAP_CASE(test_numbers),
                                            TAP_CASE(test_intervals),
                                            TAP_CASE(test_views)};
    return TAP_RUN(cases);
}
