/* Mutexes and condition variables, with the house's rule built in: no foreign code is
 * called while a lock is held. Debug builds count the locks of each thread. */
#ifndef BC_BASE_SYNC_H
#define BC_BASE_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bc_mutex {
    pthread_mutex_t handle;
};

struct bc_cond {
    pthread_cond_t handle;
};

/* For static mutexes, which are never destroyed. */
#define BC_MUTEX_INITIALIZER {PTHREAD_MUTEX_INITIALIZER}

/* Runs a function once. Static: `struct bc_once once = BC_ONCE_INITIALIZER`. */
struct bc_once {
    pthread_once_t handle;
};
#define BC_ONCE_INITIALIZER {PTHREAD_ONCE_INIT}
static inline void bc__once(struct bc_once *once, void (*run)(void)) {
    (void)pthread_once(&once->handle, run);
}

int bc__mutex_init(struct bc_mutex *mutex);
void bc__mutex_finish(struct bc_mutex *mutex);
void bc__mutex_lock(struct bc_mutex *mutex);
void bc__mutex_unlock(struct bc_mutex *mutex);
/* False where another thread has it. */
bool bc__mutex_try_lock(struct bc_mutex *mutex);

int bc__cond_init(struct bc_cond *cond);
void bc__cond_finish(struct bc_cond *cond);
/* In a fork's child: there is none of the threads that waited. */
void bc__cond_forked(struct bc_cond *cond);
void bc__cond_wake_all(struct bc_cond *cond);
/* Waits at most `timeout_ms` milliseconds; false when the time ran out. */
bool bc__cond_wait_ms(struct bc_cond *cond, struct bc_mutex *mutex, int64_t timeout_ms);

/* A thread's event: it sleeps until another one calls it, once. */
struct bc_event {
    struct bc_mutex lock;
    struct bc_cond cond;
    bool set;
};

int bc__event_init(struct bc_event *event);
/* Was it called? Then nobody looks at the event any more. */
bool bc__event_wait_ms(struct bc_event *event, int64_t timeout_ms);
void bc__event_set(struct bc_event *event);
void bc__event_finish(struct bc_event *event);

/* Runs `run` on a thread of its own, which nobody joins and no signal goes to. 0 or an
 * errno. */
int bc__thread_start(void (*run)(void *context), void *context);

/* Call before foreign code (a producer's callback, a consumer's hook). */
#ifdef NDEBUG
#define bc__assert_no_lock() ((void)0)
#else
void bc__assert_no_lock(void);
#endif

#endif
