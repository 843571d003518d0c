#include "base/arena.h"

#include <stdint.h>

#include "base/alloc.h"
#include "base/check.h"

enum { BLOCK_BYTES = 1 << 16, UNIT = 64 };

struct bc_arena_block {
    struct bc_arena_block *next;
    size_t size;
    _Alignas(UNIT) uint8_t bytes[];
};

void *bc__arena_take(struct bc_arena *arena, size_t size) {
    bc_assert(arena != NULL);
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + UNIT - 1) / UNIT * UNIT;
    struct bc_arena_block *block = arena->blocks;
    if (block == NULL || size > block->size - arena->used) {
        size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = bc__malloc_aligned(UNIT, sizeof(*block) + bytes);
        if (block == NULL) return NULL;
        block->next = arena->blocks;
        block->size = bytes;
        arena->blocks = block;
        arena->used = 0;
    }
    void *memory = block->bytes + arena->used;
    arena->used += size;
    return memory;
}

void bc__arena_reset(struct bc_arena *arena) {
    bc_assert(arena != NULL);
    struct bc_arena_block *kept = NULL;
    while (arena->blocks != NULL) {
        struct bc_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        if (kept == NULL && block->size == BLOCK_BYTES) {
            block->next = NULL;
            kept = block;
        } else {
            bc__free(block);
        }
    }
    arena->blocks = kept;
    arena->used = 0;
}

void bc__arena_finish(struct bc_arena *arena) {
    bc__arena_reset(arena);
    bc__free(arena->blocks);
    arena->blocks = NULL;
}
