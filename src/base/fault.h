/* Fault injection: a test makes the nth allocation or system call fail, or kills the
 * process there.
 *
 * Only test builds (BC_FAULTS) carry it; elsewhere the check is the constant 0. The
 * counters are per process: a fault test runs its campaign on one thread. */
#ifndef BC_BASE_FAULT_H
#define BC_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum bc_fault_kind { BC_FAULT_ALLOC, BC_FAULT_SYS, BC_FAULT_KINDS };

/* Besides an errno, what becomes of a system call. Killed before each call is also killed
 * after each: all that changes a file passes here. */
enum {
    BC_FAULT_SHORT = -1,    /* it transfers one byte, where it transfers any */
    BC_FAULT_KILL = -2,     /* SIGKILL before it */
    BC_FAULT_KILL_HALF = -3 /* SIGKILL when it has written half of its bytes */
};

/* What a test that watches is told. */
enum bc_fault_moment {
    BC_MOMENT_CALL,  /* before every system call */
    BC_MOMENT_SYNCED /* after a file was synchronised */
};

#ifdef BC_FAULTS
/* The call number `nth` (from 1) of `kind` fails with `code`; nth 0 turns it off. */
void bc__fault_arm(enum bc_fault_kind kind, unsigned long nth, int code);
/* True when the armed fault has fired. */
int bc__fault_fired(enum bc_fault_kind kind);
int bc__fault(enum bc_fault_kind kind);
/* The errno that a call gets which transfers no bytes, or 0. Such calls are never short,
 * and where they can be interrupted they are made again. */
int bc__fault_call(void);
/* The same for a call whose failure nobody would hear of: it only may be killed. */
void bc__fault_point(void);
/* Ends the process as SIGKILL does. */
void bc__fault_kill(void);
/* Calls `watch`, or nobody (NULL); `file` is -1 where it is not known. */
void bc__fault_watch(void (*watch)(void *context, enum bc_fault_moment moment, int file),
                     void *context);
void bc__fault_synced(int file);
/* How poor file systems are. 1: names are not taken by RENAME_NOREPLACE; 2: nor by links.
 */
void bc__fault_make_poor(int level);
int bc__fault_poverty(void);
/* Makes the clock stand still at `ms`; -1: it goes again. */
void bc__fault_clock(int64_t ms);
/* What the clock shows that shows `now`. */
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
