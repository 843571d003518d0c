#include "disk/page_refs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/refcount.h"
#include "base/sync.h"
#include "base/sys.h"

enum { PAGE = 4096, PAGES = 4096, RUN_BYTES = 1 << 18 };

/* The references to PAGES pages. Freed if all pages are holes. */
struct pages {
    int32_t holes;
    uint32_t refs[PAGES];
};

struct bc_page_refs {
    atomic_uint refs;
    _Atomic uint64_t punched_bytes;
    int64_t process;
    uint64_t forks;       /* number of forks before the creation */
    struct bc_mutex lock; /* guards the members below */
    int file;             /* descriptor, or -1 after closing */
    int64_t written;
    int64_t run_start; /* the pending run of free pages */
    int64_t run_end;
    struct pages **groups;
    size_t n_groups, groups_capacity;
};

int bc__page_refs_new(int file, struct bc_page_refs **out_page_refs) {
    bc_assert(file >= 0 && out_page_refs != NULL);
    struct bc_page_refs *page_refs = bc__calloc(1, sizeof(*page_refs));
    if (page_refs == NULL) return ENOMEM;
    if (bc__mutex_init(&page_refs->lock) != 0) {
        bc__free(page_refs);
        return ENOMEM;
    }
    atomic_init(&page_refs->refs, 1);
    page_refs->file = file;
    page_refs->process = bc__sys_process();
    page_refs->forks = bc__sys_forks();
    *out_page_refs = page_refs;
    return 0;
}

struct bc_page_refs *bc__page_refs_ref(struct bc_page_refs *page_refs) {
    if (page_refs != NULL) bc__ref(&page_refs->refs);
    return page_refs;
}

void bc__page_refs_unref(struct bc_page_refs *page_refs) {
    if (page_refs == NULL || !bc__unref(&page_refs->refs)) return;
    for (size_t i = 0; i < page_refs->n_groups; i++) bc__free(page_refs->groups[i]);
    bc__free(page_refs->groups);
    bc__mutex_finish(&page_refs->lock);
    bc__free(page_refs);
}

void bc__page_refs_close(struct bc_page_refs *page_refs) {
    if (page_refs == NULL) return;
    bc__mutex_lock(&page_refs->lock);
    page_refs->file = -1;
    bc__mutex_unlock(&page_refs->lock);
}

/* Returns whether references are not counted here. In a forked child, the file and the
 * lock are the parent's. */
static bool is_uncounted(const struct bc_page_refs *page_refs) {
    return page_refs == NULL || page_refs->process != bc__sys_process();
}

/* Allocates the groups up to that of page `page`. The lock is held. */
static int ensure_group(struct bc_page_refs *page_refs, int64_t page) {
    size_t group = (size_t)(page / PAGES);
    while (page_refs->n_groups <= group) {
        if (bc__grow((void **)&page_refs->groups, &page_refs->groups_capacity,
                     page_refs->n_groups + 1, sizeof(page_refs->groups[0])) != 0) {
            return ENOMEM;
        }
        struct pages *pages = bc__calloc(1, sizeof(*pages));
        if (pages == NULL) return ENOMEM;
        page_refs->groups[page_refs->n_groups++] = pages;
    }
    return 0;
}

static uint32_t *refs_of_page(struct bc_page_refs *page_refs, int64_t page) {
    struct pages *pages = page_refs->groups[page / PAGES];
    bc_assert(pages != NULL);
    return &pages->refs[page % PAGES];
}

int bc__page_refs_add(struct bc_page_refs *page_refs, int64_t offset, int64_t size) {
    if (is_uncounted(page_refs)) return 0;
    bc_assert(offset >= 0 && size > 0);
    int64_t last = (offset + size - 1) / PAGE;
    bc__mutex_lock(&page_refs->lock);
    int code = ensure_group(page_refs, last);
    for (int64_t page = offset / PAGE; page <= last && code == 0; page++) {
        ++*refs_of_page(page_refs, page);
    }
    bc__mutex_unlock(&page_refs->lock);
    return code;
}

/* Punches the pending run. Bytes that the file system cannot punch stay counted as used.
 * After a fork, no page is punched, because the child has its own references. The lock is
 * held. */
static void punch_run(struct bc_page_refs *page_refs) {
    int64_t start = page_refs->run_start;
    int64_t end = page_refs->run_end;
    page_refs->run_start = end;
    if (start == end || page_refs->file < 0 || page_refs->forks != bc__sys_forks())
        return;
    if (bc__sys_punch(page_refs->file, start, end - start) != 0) return;
    (void)atomic_fetch_add_explicit(&page_refs->punched_bytes, (uint64_t)(end - start),
                                    memory_order_relaxed);
    for (int64_t page = start / PAGE; page < end / PAGE; page++) {
        struct pages **pages = &page_refs->groups[page / PAGES];
        if (++(*pages)->holes < PAGES) continue;
        bc__free(*pages);
        *pages = NULL;
    }
}

/* Adds a written page without references to the run. The lock is held. */
static void add_to_run(struct bc_page_refs *page_refs, int64_t page) {
    if (page * PAGE != page_refs->run_end) {
        punch_run(page_refs);
        page_refs->run_start = page * PAGE;
    }
    page_refs->run_end = (page + 1) * PAGE;
    if (page_refs->run_end - page_refs->run_start >= RUN_BYTES) punch_run(page_refs);
}

void bc__page_refs_remove(struct bc_page_refs *page_refs, int64_t offset, int64_t size) {
    if (is_uncounted(page_refs)) return;
    bc_assert(offset >= 0 && size > 0);
    bc__mutex_lock(&page_refs->lock);
    for (int64_t page = offset / PAGE; page <= (offset + size - 1) / PAGE; page++) {
        uint32_t *refs = refs_of_page(page_refs, page);
        bc_assert(*refs > 0);
        if (--*refs == 0 && (page + 1) * PAGE <= page_refs->written)
            add_to_run(page_refs, page);
    }
    bc__mutex_unlock(&page_refs->lock);
}

void bc__page_refs_written(struct bc_page_refs *page_refs, int64_t size) {
    if (page_refs == NULL) return;
    bc__mutex_lock(&page_refs->lock);
    bc_assert(size >= page_refs->written);
    int64_t page = page_refs->written / PAGE;
    page_refs->written = size;
    /* Pages that lost their references before they were written. */
    for (; (page + 1) * PAGE <= size; page++) {
        if (*refs_of_page(page_refs, page) == 0) add_to_run(page_refs, page);
    }
    bc__mutex_unlock(&page_refs->lock);
}

void bc__page_refs_reclaim(struct bc_page_refs *page_refs) {
    if (page_refs == NULL) return;
    bc__mutex_lock(&page_refs->lock);
    punch_run(page_refs);
    bc__mutex_unlock(&page_refs->lock);
}

uint64_t bc__page_refs_punched_bytes(const struct bc_page_refs *page_refs) {
    if (page_refs == NULL) return 0;
    return atomic_load_explicit(&page_refs->punched_bytes, memory_order_relaxed);
}
