#include <string.h>

#include "base/error.h"
#include "tap.h"

static void test_version(void) { CHECK(strcmp(bc_version(), "0.9.0") == 0); }

static void test_set(void) {
    struct bc_error error = {0};
    CHECK(bc__error_set(&error, EINVAL, "%s %d", "batch", 7) == EINVAL);
    CHECK(error.code == EINVAL);
    CHECK(strcmp(error.message, "batch 7") == 0);
    CHECK(bc__error_set(NULL, EIO, "nobody listens") == EIO);
}

static void test_long_message_is_cut(void) {
    struct bc_error error = {0};
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK(bc__error_set(&error, EINVAL, "%s", text) == EINVAL);
    CHECK(strlen(error.message) == sizeof(error.message) - 1);
}

/* A cut at any byte leaves whole characters. */
static void test_cut_is_between_characters(void) {
    static const char *const characters[] = {"x", "\u00e9", "\u20ac", "\U0001F600"};
    for (size_t c = 0; c < 4; c++) {
        size_t width = strlen(characters[c]);
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2001];
            memset(text, 'a', shift);
            size_t used = shift;
            for (; used + width < sizeof(text); used += width) {
                memcpy(text + used, characters[c], width);
            }
            text[used] = '\0';
            struct bc_error error = {0};
            (void)bc__error_set(&error, EIO, "%s", text);
            size_t kept = strlen(error.message);
            CHECK((kept - shift) % width == 0 && kept + width >= sizeof(error.message));
        }
    }
}

/* A long name in the middle of a message is cut. */
static void test_parts_are_cut_between_characters(void) {
    for (size_t size = 2; size < 20; size++) {
        char text[20] = "";
        for (int i = 0; i < 8; i++) bc__text_append(text, size, "%s", "a\u20ac");
        size_t end = strlen(text);
        CHECK(end < size && end + 4 > size);
        CHECK(end % 4 == 0 || text[end - 1] == 'a');
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_version), TAP_CASE(test_set), TAP_CASE(test_long_message_is_cut),
        TAP_CASE(test_cut_is_between_characters),
        TAP_CASE(test_parts_are_cut_between_characters)};
    return TAP_RUN(cases);
}
