#include "record/waits.h"

#include <pthread.h>
#include <stddef.h>

#include "base/check.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bc_wait *waits;

/* Follows who brings what is waited for, and what that thread waits for, and so on. The
 * list has no cycle: whoever would close one is not let in. */
static bool leads_to(uintptr_t thread, const _Atomic uintptr_t *owner) {
    while (owner != NULL) {
        uintptr_t next = atomic_load(owner);
        if (next == thread) return true;
        owner = NULL;
        for (const struct bc_wait *wait = waits; wait != NULL; wait = wait->next) {
            if (wait->thread == next) owner = wait->owner;
        }
    }
    return false;
}

bool bc__wait_begin(struct bc_wait *wait, uintptr_t thread,
                    const _Atomic uintptr_t *owner) {
    bc_assert(wait != NULL && thread != 0 && owner != NULL);
    (void)pthread_mutex_lock(&lock);
    bool cycle = leads_to(thread, owner);
    if (!cycle) {
        *wait = (struct bc_wait){.thread = thread, .owner = owner, .next = waits};
        if (waits != NULL) waits->previous = wait;
        waits = wait;
    }
    (void)pthread_mutex_unlock(&lock);
    return !cycle;
}

void bc__wait_end(struct bc_wait *wait) {
    (void)pthread_mutex_lock(&lock);
    if (wait->next != NULL) wait->next->previous = wait->previous;
    if (wait->previous != NULL) {
        wait->previous->next = wait->next;
    } else {
        bc_assert(waits == wait);
        waits = wait->next;
    }
    (void)pthread_mutex_unlock(&lock);
}
