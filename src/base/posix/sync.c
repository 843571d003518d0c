#define _POSIX_C_SOURCE 200809L
#include "base/sync.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/fault.h"

#ifdef NDEBUG
#define count_lock(step) ((void)0)
#else
static _Thread_local int locks_held;
#define count_lock(step) ((void)(locks_held += (step)))

void bc__assert_no_lock(void) { bc_assert(locks_held == 0); }
#endif

int bc__mutex_init(struct bc_mutex *mutex) {
    bc_assert(mutex != NULL);
    return pthread_mutex_init(&mutex->handle, NULL);
}

void bc__mutex_finish(struct bc_mutex *mutex) {
    int failed = pthread_mutex_destroy(&mutex->handle);
    bc_assert(failed == 0);
    (void)failed;
}

void bc__mutex_lock(struct bc_mutex *mutex) {
    int failed = pthread_mutex_lock(&mutex->handle);
    bc_assert(failed == 0);
    (void)failed;
    count_lock(1);
}

bool bc__mutex_try_lock(struct bc_mutex *mutex) {
    if (pthread_mutex_trylock(&mutex->handle) != 0) return false;
    count_lock(1);
    return true;
}

void bc__mutex_unlock(struct bc_mutex *mutex) {
    count_lock(-1);
    int failed = pthread_mutex_unlock(&mutex->handle);
    bc_assert(failed == 0);
    (void)failed;
}

int bc__cond_init(struct bc_cond *cond) {
    bc_assert(cond != NULL);
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);
    if (failed != 0) return failed;
    failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (failed == 0) failed = pthread_cond_init(&cond->handle, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return failed;
}

void bc__cond_finish(struct bc_cond *cond) { (void)pthread_cond_destroy(&cond->handle); }

void bc__cond_forked(struct bc_cond *cond) {
    /* It is not destroyed first: threads of the parent may wait in it. */
    int failed = bc__cond_init(cond);
    bc_assert(failed == 0);
    (void)failed;
}

void bc__cond_wake_all(struct bc_cond *cond) {
    (void)pthread_cond_broadcast(&cond->handle);
}

bool bc__cond_wait_ms(struct bc_cond *cond, struct bc_mutex *mutex, int64_t timeout_ms) {
    bc_assert(timeout_ms > 0);
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec += 1;
        until.tv_nsec -= 1000000000L;
    }
    count_lock(-1);
    int failed = pthread_cond_timedwait(&cond->handle, &mutex->handle, &until);
    count_lock(1);
    bc_assert(failed == 0 || failed == ETIMEDOUT);
    return failed == 0;
}

struct thread_start {
    void (*run)(void *context);
    void *context;
};

static void *run_thread(void *argument) {
    struct thread_start start = *(struct thread_start *)argument;
    bc__free(argument);
    start.run(start.context);
    return NULL;
}

int bc__thread_start(void (*run)(void *context), void *context) {
    bc_assert(run != NULL);
    struct thread_start *start = bc__malloc(sizeof(*start));
    if (start == NULL) return ENOMEM;
    *start = (struct thread_start){run, context};
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    /* The new thread inherits the signal mask of this one. */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int code = bc__fault(BC_FAULT_SYS) > 0 ? EAGAIN : 0;
    if (code == 0) code = pthread_create(&thread, NULL, run_thread, start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) {
        (void)pthread_detach(thread);
    } else {
        bc__free(start);
    }
    return code;
}
