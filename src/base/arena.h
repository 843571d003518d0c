/* Scratch memory that is freed all at once. Blocks never move. */
#ifndef BC_BASE_ARENA_H
#define BC_BASE_ARENA_H

#include <stddef.h>

struct bc_arena_block;

struct bc_arena {
    struct bc_arena_block *blocks; /* the current block first */
    size_t used;                   /* bytes of the current block */
};

/* Returns `size` bytes aligned to 64, or NULL if there is no memory. */
void *bc__arena_take(struct bc_arena *arena, size_t size);
/* Frees all memory of the arena, except one block of the usual size, which is used
 * again. */
void bc__arena_reset(struct bc_arena *arena);
/* Frees all memory. The arena is empty then, and can be used again. */
void bc__arena_finish(struct bc_arena *arena);

#endif
