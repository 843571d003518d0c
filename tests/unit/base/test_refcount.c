/* Reference counts: one thread alone has the last reference, and 0 stays 0. */
#include <pthread.h>

#include "base/refcount.h"
#include "tap.h"

static void test_one_thread(void) {
    atomic_uint refs;
    atomic_init(&refs, 1);
    bc__ref(&refs);
    CHECK(bc__try_ref(&refs) && atomic_load(&refs) == 3);
    CHECK(!bc__unref(&refs) && !bc__unref(&refs) && bc__unref(&refs));
    CHECK(!bc__try_ref(&refs) && atomic_load(&refs) == 0);
}

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    atomic_uint refs;
    _Atomic int last; /* times that a thread released the last reference */
};

/* Takes and releases references, and at last releases the thread's own. */
static void *take_and_release(void *context) {
    struct shared *shared = context;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 2 == 0) bc__ref(&shared->refs);
        if (i % 2 == 1) CHECK(bc__try_ref(&shared->refs));
        if (bc__unref(&shared->refs)) atomic_fetch_add(&shared->last, 1);
    }
    if (bc__unref(&shared->refs)) atomic_fetch_add(&shared->last, 1);
    return NULL;
}

static void test_many_threads(void) {
    struct shared shared = {.last = 0};
    atomic_init(&shared.refs, THREADS);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, take_and_release, &shared) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(atomic_load(&shared.last) == 1 && atomic_load(&shared.refs) == 0);
    CHECK(!bc__try_ref(&shared.refs));
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_one_thread),
        TAP_CASE(test_many_threads),
    };
    return TAP_RUN(cases);
}
