/* Every allocation of the core. */
#ifndef BC_BASE_ALLOC_H
#define BC_BASE_ALLOC_H

#include <stddef.h>

/* NULL when there is no memory; the caller frees with bc__free. Any thread. */
void *bc__malloc(size_t size);
void *bc__calloc(size_t count, size_t size);
void *bc__realloc(void *memory, size_t size);
/* `alignment` is a power of two and at least sizeof(void *). */
void *bc__malloc_aligned(size_t alignment, size_t size);
/* Zeroed, on cache lines of its own: for what one thread changes all the time. */
void *bc__calloc_cacheline(size_t size);
void bc__free(void *memory);
char *bc__strdup(const char *text);

/* Grows `*array` of `*capacity` elements so that it holds `needed`; 0 or ENOMEM. */
int bc__grow(void **array, size_t *capacity, size_t needed, size_t element_size);

#endif
