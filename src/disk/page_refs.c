#include "disk/page_refs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sync.h"
#include "base/sys.h"

enum { PAGE = 4096, PAGES = 4096, RUN_BYTES = 1 << 18 };

/* The uses of PAGES pages; freed when all of them are holes. */
struct pages {
    int32_t holes;
    uint32_t uses[PAGES];
};

struct bc_space {
    atomic_uint refs;
    _Atomic uint64_t freed;
    int64_t process;
    uint64_t forks;       /* of the process when this was made */
    struct bc_mutex lock; /* guards what follows */
    int file;             /* -1: closed */
    int64_t written;
    int64_t run_start; /* the pending run of free pages */
    int64_t run_end;
    struct pages **groups;
    size_t n_groups, groups_capacity;
};

int bc__space_new(int file, struct bc_space **out_space) {
    bc_assert(file >= 0 && out_space != NULL);
    struct bc_space *space = bc__calloc(1, sizeof(*space));
    if (space == NULL) return ENOMEM;
    if (bc__mutex_init(&space->lock) != 0) {
        bc__free(space);
        return ENOMEM;
    }
    atomic_init(&space->refs, 1);
    space->file = file;
    space->process = bc__sys_process();
    space->forks = bc__sys_forks();
    *out_space = space;
    return 0;
}

struct bc_space *bc__space_ref(struct bc_space *space) {
    if (space != NULL) {
        (void)atomic_fetch_add_explicit(&space->refs, 1, memory_order_relaxed);
    }
    return space;
}

void bc__space_unref(struct bc_space *space) {
    if (space == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&space->refs, 1, memory_order_acq_rel);
    bc_assert(before > 0);
    if (before != 1) return;
    for (size_t i = 0; i < space->n_groups; i++) bc__free(space->groups[i]);
    bc__free(space->groups);
    bc__mutex_finish(&space->lock);
    bc__free(space);
}

void bc__space_close(struct bc_space *space) {
    if (space == NULL) return;
    bc__mutex_lock(&space->lock);
    space->file = -1;
    bc__mutex_unlock(&space->lock);
}

/* There is nothing to count, or it is counted by the parent: a fork's child leaves it the
 * file, and the lock. */
static bool is_elsewhere(const struct bc_space *space) {
    return space == NULL || space->process != bc__sys_process();
}

/* Sees to it that the group of page `page` is there. The lock is held. */
static int make_group(struct bc_space *space, int64_t page) {
    size_t group = (size_t)(page / PAGES);
    while (space->n_groups <= group) {
        if (bc__grow((void **)&space->groups, &space->groups_capacity,
                     space->n_groups + 1, sizeof(space->groups[0])) != 0) {
            return ENOMEM;
        }
        struct pages *pages = bc__calloc(1, sizeof(*pages));
        if (pages == NULL) return ENOMEM;
        space->groups[space->n_groups++] = pages;
    }
    return 0;
}

static uint32_t *uses_of(struct bc_space *space, int64_t page) {
    struct pages *pages = space->groups[page / PAGES];
    bc_assert(pages != NULL);
    return &pages->uses[page % PAGES];
}

int bc__space_use(struct bc_space *space, int64_t offset, int64_t size) {
    if (is_elsewhere(space)) return 0;
    bc_assert(offset >= 0 && size > 0);
    int64_t last = (offset + size - 1) / PAGE;
    bc__mutex_lock(&space->lock);
    int code = make_group(space, last);
    for (int64_t page = offset / PAGE; page <= last && code == 0; page++) {
        ++*uses_of(space, page);
    }
    bc__mutex_unlock(&space->lock);
    return code;
}

/* Punches the pending run. What the file system cannot punch stays counted, and all of it
 * after a fork, since the child has uses of its own. The lock is held. */
static void punch(struct bc_space *space) {
    int64_t start = space->run_start;
    int64_t end = space->run_end;
    space->run_start = end;
    if (start == end || space->file < 0 || space->forks != bc__sys_forks()) return;
    if (bc__sys_punch(space->file, start, end - start) != 0) return;
    (void)atomic_fetch_add_explicit(&space->freed, (uint64_t)(end - start),
                                    memory_order_relaxed);
    for (int64_t page = start / PAGE; page < end / PAGE; page++) {
        struct pages **pages = &space->groups[page / PAGES];
        if (++(*pages)->holes < PAGES) continue;
        bc__free(*pages);
        *pages = NULL;
    }
}

/* A page that has no use and is written: into the run. The lock is held. */
static void add_free(struct bc_space *space, int64_t page) {
    if (page * PAGE != space->run_end) {
        punch(space);
        space->run_start = page * PAGE;
    }
    space->run_end = (page + 1) * PAGE;
    if (space->run_end - space->run_start >= RUN_BYTES) punch(space);
}

void bc__space_unuse(struct bc_space *space, int64_t offset, int64_t size) {
    if (is_elsewhere(space)) return;
    bc_assert(offset >= 0 && size > 0);
    bc__mutex_lock(&space->lock);
    for (int64_t page = offset / PAGE; page <= (offset + size - 1) / PAGE; page++) {
        uint32_t *uses = uses_of(space, page);
        bc_assert(*uses > 0);
        if (--*uses == 0 && (page + 1) * PAGE <= space->written) add_free(space, page);
    }
    bc__mutex_unlock(&space->lock);
}

void bc__space_written(struct bc_space *space, int64_t size) {
    if (space == NULL) return;
    bc__mutex_lock(&space->lock);
    bc_assert(size >= space->written);
    int64_t page = space->written / PAGE;
    space->written = size;
    /* Those that lost their uses before they were written. */
    for (; (page + 1) * PAGE <= size; page++) {
        if (*uses_of(space, page) == 0) add_free(space, page);
    }
    bc__mutex_unlock(&space->lock);
}

void bc__space_reclaim(struct bc_space *space) {
    if (space == NULL) return;
    bc__mutex_lock(&space->lock);
    punch(space);
    bc__mutex_unlock(&space->lock);
}

uint64_t bc__space_freed(const struct bc_space *space) {
    if (space == NULL) return 0;
    return atomic_load_explicit(&space->freed, memory_order_relaxed);
}
