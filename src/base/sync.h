/* Mutexes, condition variables, events and threads. The code calls no foreign code while
 * it holds a lock. Debug builds count the locks of each thread to check this. */
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

/* Initialises a static mutex, which is never destroyed. */
#define BC_MUTEX_INITIALIZER {PTHREAD_MUTEX_INITIALIZER}

/* Runs a function once. Static: `struct bc_once once = BC_ONCE_INITIALIZER`. */
struct bc_once {
    pthread_once_t handle;
};
#define BC_ONCE_INITIALIZER {PTHREAD_ONCE_INIT}
static inline void bc__once(struct bc_once *once, void (*run)(void)) {
    (void)pthread_once(&once->handle, run);
}

/* Initialises the mutex. Returns 0 or an errno. */
int bc__mutex_init(struct bc_mutex *mutex);
void bc__mutex_finish(struct bc_mutex *mutex);
void bc__mutex_lock(struct bc_mutex *mutex);
void bc__mutex_unlock(struct bc_mutex *mutex);
/* Locks the mutex. Returns false if another thread has it. */
bool bc__mutex_try_lock(struct bc_mutex *mutex);

/* Initialises the condition variable. Returns 0 or an errno. */
int bc__cond_init(struct bc_cond *cond);
void bc__cond_finish(struct bc_cond *cond);
/* Initialises the condition variable again, in a fork's child. The threads that waited
 * are not in the child. */
void bc__cond_forked(struct bc_cond *cond);
void bc__cond_wake_all(struct bc_cond *cond);
/* Waits. Returns false if the time ran out. `timeout_ms`: above 0; milliseconds. */
bool bc__cond_wait_ms(struct bc_cond *cond, struct bc_mutex *mutex, int64_t timeout_ms);

/* A thread's event. The thread sleeps until another thread sets the event, once. */
struct bc_event {
    struct bc_mutex lock;
    struct bc_cond cond;
    bool set;
};

/* Initialises the event. Returns 0 or an errno. */
int bc__event_init(struct bc_event *event);
/* Waits until the event is set. Returns false if the time ran out. Once it is set, no
 * other thread uses the event any more. `timeout_ms`: above 0; milliseconds. */
bool bc__event_wait_ms(struct bc_event *event, int64_t timeout_ms);
void bc__event_set(struct bc_event *event);
void bc__event_finish(struct bc_event *event);

/* Runs `run` on a new thread, which is detached and blocks all signals. Returns 0 or an
 * errno. */
int bc__thread_start(void (*run)(void *context), void *context);

/* Asserts that this thread holds no lock. To be called before foreign code: a callback of
 * the source, or a hook. */
#ifdef NDEBUG
#define bc__assert_no_lock() ((void)0)
#else
void bc__assert_no_lock(void);
#endif

#endif
