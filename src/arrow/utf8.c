#include "arrow/utf8.h"

#include <string.h>

#include "base/check.h"

enum { WORD = 8, BLOCK = 64 };

#define HIGH_BITS 0x8080808080808080U

static uint64_t word_at(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* Returns the size in bytes of the multi-byte character at `at`, or 0 if it is invalid.
 * After E0 and F0 the second byte has a narrower range, which excludes overlong forms.
 * After ED the range excludes surrogates, and after F4 characters above U+10FFFF. */
static int64_t character_size(const uint8_t *at, int64_t left) {
    uint8_t first = at[0];
    if (first < 0xC2 || first > 0xF4 || left < 2) return 0;
    if (first < 0xE0) return bc__utf8_continues(at[1]) ? 2 : 0;
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (left < 3 || at[1] < low || at[1] > high || !bc__utf8_continues(at[2])) return 0;
    if (first < 0xF0) return 3;
    return left >= 4 && bc__utf8_continues(at[3]) ? 4 : 0;
}

bool bc__utf8_is_valid(const uint8_t *text, int64_t size) {
    bc_assert(size >= 0);
    int64_t i = 0;
    while (i < size) {
        if (text[i] >= 0x80) {
            int64_t n = character_size(text + i, size - i);
            if (n == 0) return false;
            i += n;
        } else if (size - i >= WORD && (word_at(text + i) & HIGH_BITS) == 0) {
            i += WORD;
        } else {
            i++;
        }
    }
    return true;
}

bool bc__utf8_is_ascii(const uint8_t *text, int64_t size) {
    bc_assert(size >= 0);
    int64_t i = 0;
    for (; size - i >= BLOCK; i += BLOCK) {
        uint64_t all = 0;
        for (int64_t w = 0; w < BLOCK; w += WORD) all |= word_at(text + i + w);
        if ((all & HIGH_BITS) != 0) return false;
    }
    uint64_t rest = 0;
    for (; size - i >= WORD; i += WORD) rest |= word_at(text + i);
    for (; i < size; i++) rest |= text[i];
    return (rest & HIGH_BITS) == 0;
}
