/* Scratch memory that is given up all at once. Blocks never move. */
#ifndef BC_BASE_ARENA_H
#define BC_BASE_ARENA_H

#include <stddef.h>

struct bc_arena_block;

struct bc_arena {
    struct bc_arena_block *blocks; /* the current one first */
    size_t used;                   /* of the current one */
};

/* `size` bytes aligned to 64, or NULL without memory. */
void *bc__arena_take(struct bc_arena *arena, size_t size);
/* Forgets what was taken; keeps one block of a usual size. */
void bc__arena_reset(struct bc_arena *arena);
void bc__arena_finish(struct bc_arena *arena);

#endif
