/* The queue of waiting threads. A thread is removed exactly when its batch is recorded,
 * however other threads come and leave. */
#include <string.h>

#include "record/wait_queue.h"
#include "tap.h"

enum { THREADS = 64, BATCHES = 40, RUNS = 200 };

struct crowd {
    struct bc_wait_queue queue;
    struct bc_waiter waiter[THREADS];
    bool waits[THREADS];
    unsigned state;
};

static unsigned draw(struct crowd *crowd, unsigned n) {
    crowd->state = crowd->state * 1103515245 + 12345;
    return (crowd->state >> 16) % n;
}

static bool may(void *context, uintptr_t thread) {
    const uintptr_t *wanted = context;
    return *wanted == thread;
}

static void come(struct crowd *crowd, uint64_t published) {
    unsigned i = draw(crowd, THREADS);
    if (crowd->waits[i]) return;
    uint64_t number = published + draw(crowd, 8);
    CHECK(bc__waiter_init(&crowd->waiter[i], number, i + 1) == 0);
    bc__wait_queue_add(&crowd->queue, &crowd->waiter[i]);
    crowd->waits[i] = true;
}

/* Removes the threads of the chain from the model. */
static void leave(struct crowd *crowd, struct bc_waiter *chain) {
    while (chain != NULL) {
        struct bc_waiter *next = chain->next;
        CHECK(crowd->waits[chain->thread - 1] && !chain->listed);
        crowd->waits[chain->thread - 1] = false;
        bc__waiter_finish(chain);
        chain = next;
    }
}

static void give_up(struct crowd *crowd) {
    uintptr_t thread = draw(crowd, THREADS) + 1;
    struct bc_waiter *chain = bc__wait_queue_take_one(&crowd->queue, NULL, may, &thread);
    CHECK((chain != NULL) == crowd->waits[thread - 1]);
    leave(crowd, chain);
}

static void test_each_is_taken_when_its_batch_is_there(void) {
    struct crowd crowd;
    memset(&crowd, 0, sizeof(crowd));
    for (int run = 0; run < RUNS; run++) {
        for (uint64_t published = 0; published < BATCHES; published++) {
            for (unsigned n = draw(&crowd, 5); n > 0; n--) come(&crowd, published);
            if (draw(&crowd, 3) == 0) give_up(&crowd);
            struct bc_waiter *chain = bc__wait_queue_take(&crowd.queue, published);
            for (const struct bc_waiter *q = chain; q != NULL; q = q->next) {
                CHECK(q->number < published);
            }
            leave(&crowd, chain);
            for (int i = 0; i < THREADS; i++) {
                CHECK(!crowd.waits[i] || crowd.waiter[i].number >= published);
            }
        }
        leave(&crowd, bc__wait_queue_take(&crowd.queue, UINT64_MAX));
        CHECK(bc__wait_queue_is_empty(&crowd.queue));
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_each_is_taken_when_its_batch_is_there),
    };
    return TAP_RUN(cases);
}
