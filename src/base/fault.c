#include "base/fault.h"

#ifdef BC_FAULTS
#include <stdatomic.h>

static atomic_ulong countdown[BC_FAULT_KINDS];
static atomic_int codes[BC_FAULT_KINDS];
static atomic_int fired[BC_FAULT_KINDS];
static _Atomic int64_t stopped_at = -1;

void bc__fault_arm(enum bc_fault_kind kind, unsigned long nth, int code) {
    atomic_store(&codes[kind], code);
    atomic_store(&fired[kind], 0);
    atomic_store(&countdown[kind], nth);
}

int bc__fault_fired(enum bc_fault_kind kind) { return atomic_load(&fired[kind]); }

int bc__fault(enum bc_fault_kind kind) {
    unsigned long left = atomic_load(&countdown[kind]);
    if (left == 0) return 0;
    atomic_store(&countdown[kind], left - 1);
    if (left != 1) return 0;
    atomic_store(&fired[kind], 1);
    return atomic_load(&codes[kind]);
}

void bc__fault_clock(int64_t ms) { atomic_store(&stopped_at, ms); }

int64_t bc__fault_time(int64_t now) {
    int64_t stopped = atomic_load(&stopped_at);
    return stopped < 0 ? now : stopped;
}
#else
typedef int bc_fault_translation_unit_is_not_empty;
#endif
