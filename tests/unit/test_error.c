#include <string.h>

#include "base/error.h"
#include "tap.h"

static void test_version(void) { CHECK(strcmp(bc_version(), "0.1.3") == 0); }

static void test_set(void) {
    struct bc_error error = {0, ""};
    CHECK(bc__error_set(&error, EINVAL, "%s %d", "batch", 7) == EINVAL);
    CHECK(error.code == EINVAL);
    CHECK(strcmp(error.message, "batch 7") == 0);
    CHECK(bc__error_set(NULL, EIO, "nobody listens") == EIO);
}

static void test_long_message_is_cut(void) {
    struct bc_error error = {0, ""};
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK(bc__error_set(&error, EINVAL, "%s", text) == EINVAL);
    CHECK(strlen(error.message) == sizeof(error.message) - 1);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_version), TAP_CASE(test_set),
                                            TAP_CASE(test_long_message_is_cut)};
    return TAP_RUN(cases);
}
