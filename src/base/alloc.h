/* Allocation. Every allocation of the core passes here, so that a test can make it
 * fail. */
#ifndef BC_BASE_ALLOC_H
#define BC_BASE_ALLOC_H

#include <stddef.h>

/* The functions below return NULL if there is no memory. The caller frees the memory with
 * bc__free. Any thread. */
void *bc__malloc(size_t size);
void *bc__calloc(size_t count, size_t size);
void *bc__realloc(void *memory, size_t size);
/* `alignment`: a power of two; bytes; at least sizeof(void *). */
void *bc__malloc_aligned(size_t alignment, size_t size);
/* Returns zeroed memory that shares no cache line with another allocation. For data that
 * a single thread changes often. */
void *bc__calloc_cacheline(size_t size);
void bc__free(void *memory);
char *bc__strdup(const char *text);

/* Grows `*array` to at least `needed` elements, and updates `*capacity`.
 * ENOMEM: no memory; the array is unchanged. */
int bc__grow(void **array, size_t *capacity, size_t needed, size_t element_size);

#endif
