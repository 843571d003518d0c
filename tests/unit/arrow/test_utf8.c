/* The UTF-8 check against a slow and simple decoder. */
#include <string.h>

#include "arrow/utf8.h"
#include "tap.h"

/* Encodes a code point in the shortest form. Returns its bytes, or 0 if it is no
 * character. */
static int64_t encode(uint32_t number, uint8_t *out) {
    if (number >= 0xD800 && number <= 0xDFFF) return 0;
    if (number < 0x80) {
        out[0] = (uint8_t)number;
        return 1;
    }
    int64_t n = number < 0x800 ? 2 : number < 0x10000 ? 3 : number < 0x110000 ? 4 : 0;
    for (int64_t i = n - 1; i > 0; i--, number >>= 6) {
        out[i] = (uint8_t)(0x80 | (number & 0x3F));
    }
    if (n > 0) out[0] = (uint8_t)((0xF00 >> n & 0xFF) | number);
    return n;
}

/* Decodes each character and encodes it again: valid text gives the same bytes. */
static bool is_valid_slowly(const uint8_t *text, int64_t size) {
    for (int64_t i = 0; i < size;) {
        int64_t n = 1;
        uint32_t number = text[i];
        if (number >= 0x80) {
            n = number >> 5 == 6 ? 2 : number >> 4 == 14 ? 3 : number >> 3 == 30 ? 4 : 0;
            if (n == 0 || n > size - i) return false;
            number &= 0x7FU >> n;
            for (int64_t k = 1; k < n; k++) number = number << 6 | (text[i + k] & 0x3F);
        }
        uint8_t again[4];
        if (encode(number, again) != n || memcmp(again, text + i, (size_t)n) != 0) {
            return false;
        }
        i += n;
    }
    return true;
}

static void test_table(void) {
    static const struct {
        const char *text;
        bool valid;
    } table[] = {
        {"", true},
        {"plain", true},
        {"\x7F", true},
        {"\xC2\x80", true},
        {"\xDF\xBF", true},
        {"\xE0\xA0\x80", true},
        {"\xED\x9F\xBF", true},
        {"\xEE\x80\x80", true},
        {"\xEF\xBF\xBF", true},
        {"\xF0\x90\x80\x80", true},
        {"\xF4\x8F\xBF\xBF", true},
        {"gr\xC3\xBC\xC3\x9F", true},
        {"\x80", false},                 /* continues nothing */
        {"\xBF", false},                 /* likewise */
        {"\xC2", false},                 /* ends early */
        {"\xE2\x82", false},             /* likewise */
        {"\xF0\x9F\x98", false},         /* likewise */
        {"\xC3(", false},                /* is followed by another byte */
        {"\xE2\x28\xA1", false},         /* likewise */
        {"\xE2\x82\x28", false},         /* likewise */
        {"\xF0\x9F\x98(", false},        /* likewise */
        {"\xC0\x80", false},             /* overlong */
        {"\xC1\xBF", false},             /* likewise */
        {"\xE0\x9F\xBF", false},         /* likewise */
        {"\xF0\x8F\xBF\xBF", false},     /* likewise */
        {"\xED\xA0\x80", false},         /* a surrogate */
        {"\xED\xBF\xBF", false},         /* likewise */
        {"\xF4\x90\x80\x80", false},     /* above U+10FFFF */
        {"\xF5\x80\x80\x80", false},     /* likewise */
        {"\xF8\x88\x80\x80\x80", false}, /* five bytes */
        {"\xFE", false},
        {"\xFF", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const uint8_t *text = (const uint8_t *)table[i].text;
        int64_t size = (int64_t)strlen(table[i].text);
        CHECK(is_valid_slowly(text, size) == table[i].valid);
        CHECK(bc__utf8_is_valid(text, size) == table[i].valid);
    }
    CHECK(bc__utf8_is_valid(NULL, 0) && bc__utf8_is_ascii(NULL, 0));
}

static void compare(const uint8_t *text, int64_t size) {
    CHECK(bc__utf8_is_valid(text, size) == is_valid_slowly(text, size));
}

static void test_short_sequences(void) {
    for (unsigned a = 0; a < 256; a++) {
        uint8_t text[2] = {(uint8_t)a};
        compare(text, 1);
        for (unsigned b = 0; b < 256; b++) {
            text[1] = (uint8_t)b;
            compare(text, 2);
        }
    }
}

/* The edges of all ranges behind any two bytes. */
static void test_long_sequences(void) {
    static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F,
                                    0xA0, 0xBF, 0xC0, 0xE1, 0xFF};
    for (unsigned two = 0; two < 65536; two++) {
        uint8_t text[4] = {(uint8_t)(two >> 8), (uint8_t)two};
        for (size_t c = 0; c < sizeof(edges); c++) {
            text[2] = edges[c];
            compare(text, 3);
            if (text[0] < 0xC0) continue;
            for (size_t d = 0; d < sizeof(edges); d++) {
                text[3] = edges[d];
                compare(text, 4);
            }
        }
    }
}

static void test_every_character(void) {
    for (uint32_t number = 0; number < 0x110000; number++) {
        uint8_t text[4];
        int64_t n = encode(number, text);
        if (n == 0) continue;
        CHECK(bc__utf8_is_valid(text, n));
        CHECK(n == 1 || !bc__utf8_is_valid(text, n - 1));
        CHECK(bc__utf8_is_ascii(text, n) == (number < 0x80));
        CHECK(n == 1 || !bc__utf8_is_valid(text + 1, n - 1));
    }
}

/* A character anywhere in ASCII, in memory that ends with it. */
static void test_anywhere_in_ascii(void) {
    static const char *const parts[] = {"\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                        "\xFF",     "\xC3",         "\xED\xA0\x80"};
    for (int64_t size = 4; size < 150; size++) {
        uint8_t *text = malloc((size_t)size);
        memset(text, 'a', (size_t)size);
        CHECK(bc__utf8_is_ascii(text, size) && bc__utf8_is_valid(text, size));
        for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
            int64_t n = (int64_t)strlen(parts[p]);
            for (int64_t at = 0; at + n <= size; at++) {
                memcpy(text + at, parts[p], (size_t)n);
                CHECK(!bc__utf8_is_ascii(text, size));
                CHECK(bc__utf8_is_valid(text, size) == (p < 3));
                CHECK(!bc__utf8_is_valid(text, at + 1));
                memset(text + at, 'a', (size_t)n);
            }
        }
        free(text);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_table),
        TAP_CASE(test_short_sequences),
        TAP_CASE(test_long_sequences),
        TAP_CASE(test_every_character),
        TAP_CASE(test_anywhere_in_ascii),
    };
    return TAP_RUN(cases);
}
