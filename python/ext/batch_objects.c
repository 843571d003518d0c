#include "batch_objects.h"

#include <string.h>

#include "critical_section.h"

enum { BYTES_A_BATCH = 1024, BYTES_A_COLUMN = 768, RESERVED_AT_ONCE = 16 };

uint64_t batch_object_size(Py_ssize_t columns) {
    return BYTES_A_BATCH + BYTES_A_COLUMN * (uint64_t)columns;
}

PyObject *batch_object_of(struct cache_object *self, uint64_t number) {
    PyObject *object = NULL;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    if (number < self->n_batch_objects) object = self->batch_objects[number];
    Py_XINCREF(object);
    CRITICAL_SECTION_END();
    return object;
}

static int grow(struct cache_object *self, uint64_t number) {
    if (number < self->n_batch_objects) return 0;
    size_t n = self->n_batch_objects < 64 ? 64 : self->n_batch_objects * 2;
    while (n <= number) n *= 2;
    PyObject **grown = PyMem_Realloc(self->batch_objects, n * sizeof(*grown));
    if (grown == NULL) return -1;
    memset(grown + self->n_batch_objects, 0,
           (n - self->n_batch_objects) * sizeof(*grown));
    self->batch_objects = grown;
    self->n_batch_objects = n;
    return 0;
}

/* Reserves budget for several more objects, or for one. */
static int reserve(struct cache_object *self) {
    uint64_t bytes = self->batch_object_bytes * RESERVED_AT_ONCE;
    if (!bc_cache_reserve(self->cache, bytes)) {
        bytes = self->batch_object_bytes;
        if (!bc_cache_reserve(self->cache, bytes)) return 0;
    }
    self->reserved_bytes += bytes;
    self->reserved_bytes_free += bytes;
    return 1;
}

/* Keeps the object if it is the batch's first and the budget has room. Runs inside the
 * cache's critical section. */
static void keep(struct cache_object *self, uint64_t number, PyObject *batch) {
    if (grow(self, number) != 0 || self->batch_objects[number] != NULL) return;
    if (self->reserved_bytes_free < self->batch_object_bytes && !reserve(self)) return;
    self->reserved_bytes_free -= self->batch_object_bytes;
    Py_INCREF(batch);
    self->batch_objects[number] = batch;
}

void batch_object_keep(struct cache_object *self, const struct bc_batch_info *info,
                       PyObject *batch) {
    if (!info->in_memory || self->max_readers != 0) return;
    int full = 0;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    keep(self, info->number, batch);
    full = self->reserved_bytes_free < self->batch_object_bytes;
    CRITICAL_SECTION_END();
    if (full) batch_objects_make_room(self);
}

void batch_objects_clear(struct cache_object *self) {
    PyObject **objects;
    size_t n;
    CRITICAL_SECTION_BEGIN((PyObject *)self);
    objects = self->batch_objects;
    n = self->n_batch_objects;
    uint64_t bytes = self->reserved_bytes;
    self->batch_objects = NULL;
    self->n_batch_objects = 0;
    self->reserved_bytes = 0;
    self->reserved_bytes_free = 0;
    if (self->cache != NULL) bc_cache_unreserve(self->cache, bytes);
    CRITICAL_SECTION_END();
    for (size_t i = 0; i < n; i++) Py_XDECREF(objects[i]);
    PyMem_Free(objects);
}

void batch_objects_make_room(struct cache_object *self) {
    if (self->reserved_bytes > 0 && bc_cache_is_overcommitted(self->cache))
        batch_objects_clear(self);
}
