#include "base/fault.h"

#ifdef BC_FAULTS
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_ulong countdown[BC_FAULT_KINDS];
static atomic_int codes[BC_FAULT_KINDS];
static atomic_int fired[BC_FAULT_KINDS];
static _Atomic int64_t stopped_at = -1;
static atomic_int poverty;
static void (*watcher)(void *context, enum bc_fault_moment moment, int file);
static void *watcher_context;

void bc__fault_arm(enum bc_fault_kind kind, unsigned long nth, int code) {
    atomic_store(&codes[kind], code);
    atomic_store(&fired[kind], 0);
    atomic_store(&countdown[kind], nth);
}

int bc__fault_fired(enum bc_fault_kind kind) { return atomic_load(&fired[kind]); }

int bc__fault(enum bc_fault_kind kind) {
    if (kind == BC_FAULT_SYS && watcher != NULL) {
        watcher(watcher_context, BC_MOMENT_CALL, -1);
    }
    unsigned long left = atomic_load(&countdown[kind]);
    if (left == 0) return 0;
    atomic_store(&countdown[kind], left - 1);
    if (left != 1) return 0;
    atomic_store(&fired[kind], 1);
    int code = atomic_load(&codes[kind]);
    if (code == BC_FAULT_KILL) bc__fault_kill();
    return code;
}

int bc__fault_call(void) {
    int code = bc__fault(BC_FAULT_SYS);
    if (code == BC_FAULT_KILL_HALF) bc__fault_kill();
    return code < 0 || code == EINTR ? 0 : code;
}

void bc__fault_point(void) { (void)bc__fault_call(); }

void bc__fault_kill(void) { (void)raise(SIGKILL); }

void bc__fault_watch(void (*watch)(void *context, enum bc_fault_moment moment, int file),
                     void *context) {
    watcher = watch;
    watcher_context = context;
}

void bc__fault_synced(int file) {
    if (watcher != NULL) watcher(watcher_context, BC_MOMENT_SYNCED, file);
}

void bc__fault_make_poor(int level) { atomic_store(&poverty, level); }

int bc__fault_poverty(void) { return atomic_load(&poverty); }

void bc__fault_clock(int64_t ms) { atomic_store(&stopped_at, ms); }

int64_t bc__fault_time(int64_t now) {
    int64_t stopped = atomic_load(&stopped_at);
    return stopped < 0 ? now : stopped;
}
#else
typedef int bc_fault_translation_unit_is_not_empty;
#endif
