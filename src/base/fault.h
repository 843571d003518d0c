/* Fault injection: a test makes the nth allocation or system call fail.
 *
 * Only test builds (BC_FAULTS) carry it; elsewhere the check is the constant 0. The
 * counters are per process: a fault test runs its campaign on one thread. */
#ifndef BC_BASE_FAULT_H
#define BC_BASE_FAULT_H

#include <stdint.h>

enum bc_fault_kind { BC_FAULT_ALLOC, BC_FAULT_SYS, BC_FAULT_KINDS };

#ifdef BC_FAULTS
/* The call number `nth` (from 1) of `kind` fails with `code`; nth 0 turns it off. For
 * system calls that transfer bytes, code -1 means a transfer of one byte. */
void bc__fault_arm(enum bc_fault_kind kind, unsigned long nth, int code);
/* True when the armed fault has fired. */
int bc__fault_fired(enum bc_fault_kind kind);
int bc__fault(enum bc_fault_kind kind);
/* Makes the clock stand still at `ms`; -1: it goes again. */
void bc__fault_clock(int64_t ms);
/* What the clock shows that shows `now`. */
int64_t bc__fault_time(int64_t now);
#else
#define bc__fault(kind) 0
#define bc__fault_time(now) (now)
#endif

#endif
