#include "record/demand.h"

#include "base/sys.h"

int bc__demand_init(struct bc_demand *demand, struct bc_mutex *lock, uint64_t ahead) {
    demand->lock = lock;
    demand->process = bc__sys_process();
    demand->ahead = ahead;
    return bc__cond_init(&demand->wanted);
}

void bc__demand_finish(struct bc_demand *demand) { bc__cond_finish(&demand->wanted); }

bool bc__demand_may_produce(const struct bc_demand *demand, uintptr_t thread) {
    return demand->ahead == 0 || atomic_load(&demand->thread) == thread ||
           atomic_load(&demand->stalled) || atomic_load(&demand->over);
}

void bc__demand_raise(struct bc_demand *demand, uint64_t number) {
    if (demand->ahead == 0) return;
    uint64_t batches = number < UINT64_MAX ? number + 1 : number;
    if (atomic_load(&demand->demand) < batches) atomic_store(&demand->demand, batches);
    bc__cond_wake_all(&demand->wanted);
}

void bc__demand_clear(struct bc_demand *demand) {
    if (demand->ahead == 0) return;
    bc__mutex_lock(demand->lock);
    atomic_store(&demand->demand, 0);
    bc__mutex_unlock(demand->lock);
}

void bc__demand_on_position(struct bc_demand *demand, uint64_t cursor, uint64_t stop) {
    if (demand->ahead == 0) return;
    /* A fork's child has no such thread, and a thread of the parent may have held the
     * lock. */
    if (demand->process != bc__sys_process()) return;
    uint64_t target;
    if (__builtin_add_overflow(cursor, demand->ahead, &target)) target = UINT64_MAX;
    if (target > stop) target = stop;
    uint64_t before = atomic_load(&demand->target);
    do {
        if (before >= target) return;
    } while (!atomic_compare_exchange_weak(&demand->target, &before, target));
    /* Both are sequentially consistent: the prefetching thread sees the new target before
     * it sleeps, or this thread sees that it is asleep. */
    if (!atomic_load(&demand->asleep)) return;
    bc__mutex_lock(demand->lock);
    bc__cond_wake_all(&demand->wanted);
    bc__mutex_unlock(demand->lock);
}

uint64_t bc__demand_batches(const struct bc_demand *demand) {
    uint64_t target = atomic_load(&demand->target);
    uint64_t wanted = atomic_load(&demand->demand);
    return target > wanted ? target : wanted;
}

void bc__demand_end_stall(struct bc_demand *demand) {
    if (!atomic_load(&demand->stalled)) return;
    atomic_store(&demand->stalled, false);
    bc__cond_wake_all(&demand->wanted);
}
