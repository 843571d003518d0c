#include "base/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/fault.h"

void *bc__malloc(size_t size) {
    if (bc__fault(BC_FAULT_ALLOC) != 0) return NULL;
    return malloc(size == 0 ? 1 : size);
}

void *bc__calloc(size_t count, size_t size) {
    if (bc__fault(BC_FAULT_ALLOC) != 0) return NULL;
    return calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
}

void *bc__realloc(void *memory, size_t size) {
    if (bc__fault(BC_FAULT_ALLOC) != 0) return NULL;
    return realloc(memory, size == 0 ? 1 : size);
}

void *bc__malloc_aligned(size_t alignment, size_t size) {
    bc_assert(alignment >= sizeof(void *) && (alignment & (alignment - 1)) == 0);
    if (bc__fault(BC_FAULT_ALLOC) != 0) return NULL;
    if (size > SIZE_MAX - alignment) return NULL;
#ifdef BC_FUZZ
    /* The size is not rounded up, so that a sanitizer sees each byte past the end. */
    void *memory;
    return posix_memalign(&memory, alignment, size == 0 ? 1 : size) == 0 ? memory : NULL;
#endif
    size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    return aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
}

void *bc__calloc_cacheline(size_t size) {
    /* Processors fetch cache lines of 64 bytes in pairs. */
    enum { LINE_PAIR_BYTES = 128 };
    if (size > SIZE_MAX - LINE_PAIR_BYTES) return NULL;
    size_t rounded = (size + LINE_PAIR_BYTES - 1) / LINE_PAIR_BYTES * LINE_PAIR_BYTES;
    void *memory = bc__malloc_aligned(LINE_PAIR_BYTES, rounded);
    if (memory != NULL) memset(memory, 0, rounded);
    return memory;
}

void bc__free(void *memory) { free(memory); }

char *bc__strdup(const char *text) {
    bc_assert(text != NULL);
    size_t size = strlen(text) + 1;
    char *copy = bc__malloc(size);
    if (copy != NULL) memcpy(copy, text, size);
    return copy;
}

int bc__grow(void **array, size_t *capacity, size_t needed, size_t element_size) {
    bc_assert(array != NULL && capacity != NULL && element_size > 0);
    if (needed <= *capacity) return 0;
    size_t wanted = *capacity < 8 ? 8 : *capacity * 2;
    if (wanted < needed) wanted = needed;
    size_t bytes;
    if (!bc__mul_size(wanted, element_size, &bytes)) return ENOMEM;
    void *grown = bc__realloc(*array, bytes);
    if (grown == NULL) return ENOMEM;
    *array = grown;
    *capacity = wanted;
    return 0;
}
