// A test program's few words of TAP (the Test Anything Protocol), which meson counts.
#ifndef BC_TESTS_LIB_TAP_H
#define BC_TESTS_LIB_TAP_H

#include <stdio.h>
#include <stdlib.h>

typedef void (*tap_function)(void);

struct tap_case {
    const char *name;
    tap_function run;
};

#define TAP_CASE(function) {#function, function}

// Ends the program if the condition is false: the rest of a case relies on it.
#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            printf("Bail out! %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            fflush(stdout);                                                  \
            abort();                                                         \
        }                                                                    \
    } while (0)

static inline int tap_run(const struct tap_case *cases, size_t n) {
    printf("1..%zu\n", n);
    for (size_t i = 0; i < n; i++) {
        cases[i].run();
        printf("ok %zu - %s\n", i + 1, cases[i].name);
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}

#define TAP_RUN(cases) tap_run(cases, sizeof(cases) / sizeof(cases[0]))

#endif  // BC_TESTS_LIB_TAP_H
