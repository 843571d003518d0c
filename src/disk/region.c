#include "disk/region.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sys.h"

/* What goes before a block's bytes, so that these start at a multiple of 64. */
enum { HEAD = 64 };
_Static_assert(sizeof(struct bc_window) <= HEAD, "a block's bytes are aligned");

int bc__window_map(int file, const char *path, size_t size,
                   struct bc_window **out_window) {
    bc_assert(size > 0 && out_window != NULL);
    struct bc_window *window = bc__calloc(1, sizeof(*window));
    if (window == NULL) return ENOMEM;
    int code = bc__sys_map(file, path, size, &window->memory);
    if (code != 0) {
        bc__free(window);
        return code;
    }
    atomic_init(&window->refs, 1);
    window->is_mapping = true;
    window->size = size;
    *out_window = window;
    return 0;
}

struct bc_window *bc__window_block(size_t size) {
    bc_assert(size > 0);
    struct bc_window *window = bc__malloc_aligned(HEAD, HEAD + size);
    if (window == NULL) return NULL;
    *window = (struct bc_window){
        .size = size, .memory = (const uint8_t *)window + HEAD, .allocation = window};
    atomic_init(&window->refs, 1);
    return window;
}

struct bc_window *bc__window_zeros(size_t size) {
    bc_assert(size > 0);
    if (size > SIZE_MAX - 2 * (size_t)HEAD) return NULL;
    uint8_t *allocation = bc__calloc(1, size + 2 * (size_t)HEAD);
    if (allocation == NULL) return NULL;
    uint8_t *start = allocation + (HEAD - (uintptr_t)allocation % HEAD) % HEAD;
    struct bc_window *window = (struct bc_window *)(void *)start;
    window->size = size;
    window->memory = start + HEAD;
    window->allocation = allocation;
    atomic_init(&window->refs, 1);
    return window;
}

uint8_t *bc__window_bytes(struct bc_window *block) {
    bc_assert(!block->is_mapping);
    return (uint8_t *)block + HEAD;
}

struct bc_window *bc__window_ref(struct bc_window *window) {
    (void)atomic_fetch_add_explicit(&window->refs, 1, memory_order_relaxed);
    return window;
}

void bc__window_unref(struct bc_window *window) {
    if (window == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&window->refs, 1, memory_order_acq_rel);
    bc_assert(before > 0);
    if (before != 1) return;
    if (window->is_mapping) {
        bc__sys_unmap(window->memory, window->size);
        bc__free(window);
    } else {
        bc__free(window->allocation);
    }
}

const uint8_t *bc__window_at(const struct bc_window *window, int64_t offset) {
    bc_assert(offset >= window->offset &&
              (uint64_t)(offset - window->offset) < window->size);
    return window->memory + (offset - window->offset);
}
