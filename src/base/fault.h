/* Fault injection. A test makes the nth allocation or system call fail, or kills the
 * process at that call.
 *
 * Only test builds (BC_FAULTS) have this code. In other builds the check is the constant
 * 0. The counters are per process, so a fault test runs on one thread. */
#ifndef BC_BASE_FAULT_H
#define BC_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum bc_fault_kind { BC_FAULT_ALLOC, BC_FAULT_SYS, BC_FAULT_KINDS };

/* Codes of bc__fault_arm besides an errno. Every call that changes a file passes here. A
 * kill before each call therefore also tests a kill after each call. */
enum {
    BC_FAULT_SHORT = -1,    /* the call transfers one byte, if it transfers bytes */
    BC_FAULT_KILL = -2,     /* SIGKILL before the call */
    BC_FAULT_KILL_HALF = -3 /* SIGKILL after the call wrote half of its bytes */
};

/* The events that a test can watch. */
enum bc_fault_moment {
    BC_MOMENT_CALL,  /* before every system call */
    BC_MOMENT_SYNCED /* after a file was synchronised */
};

#ifdef BC_FAULTS
/* Makes call `nth` of `kind` fail with `code`. `nth`: counted from 1; 0 disarms. */
void bc__fault_arm(enum bc_fault_kind kind, unsigned long nth, int code);
/* Returns true if the armed fault has fired. */
int bc__fault_fired(enum bc_fault_kind kind);
/* Counts a call of `kind`. Returns its errno, a negative code, or 0 for no fault. */
int bc__fault(enum bc_fault_kind kind);
/* Counts a system call that transfers no bytes. Returns its errno, or 0. Such a call is
 * never short. It never fails with EINTR, because its caller would repeat it. */
int bc__fault_call(void);
/* Counts a call whose result is ignored. The call may be killed, but does not fail. */
void bc__fault_point(void);
/* Kills the process by SIGKILL. */
void bc__fault_kill(void);
/* Sets the function to call at each event. `watch`: NULL means none; its `file` is -1 if
 * the file is not known. */
void bc__fault_watch(void (*watch)(void *context, enum bc_fault_moment moment, int file),
                     void *context);
/* Reports that `file` was synchronised. */
void bc__fault_synced(int file);
/* Makes file systems lack features. `level`: 1 means no RENAME_NOREPLACE; 2 means no
 * links either. */
void bc__fault_make_poor(int level);
/* Returns the level that a test has set. */
int bc__fault_poverty(void);
/* Stops the coarse clock at `ms`; -1 makes it run again. */
void bc__fault_clock(int64_t ms);
/* Returns the time of the coarse clock: `now`, or the time at which a test stopped it. */
int64_t bc__fault_time(int64_t now);
#else
#define bc__fault(kind) 0
#define bc__fault_call() 0
#define bc__fault_point() ((void)0)
#define bc__fault_kill() ((void)0)
#define bc__fault_synced(file) ((void)(file))
#define bc__fault_poverty() 0
#define bc__fault_time(now) (now)
#endif

#endif
