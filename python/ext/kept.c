#include "kept.h"

#include <string.h>

#include "guard.h"

enum { KEPT_BATCH_BYTES = 1024, KEPT_COLUMN_BYTES = 768, KEPT_AT_ONCE = 16 };

uint64_t cache_kept_bytes(Py_ssize_t columns) {
    return KEPT_BATCH_BYTES + KEPT_COLUMN_BYTES * (uint64_t)columns;
}

PyObject *cache_kept(struct cache_object *self, uint64_t number) {
    PyObject *kept = NULL;
    GUARD_BEGIN((PyObject *)self);
    if (number < self->n_kept) kept = self->kept[number];
    Py_XINCREF(kept);
    GUARD_END();
    return kept;
}

static int grow_kept(struct cache_object *self, uint64_t number) {
    if (number < self->n_kept) return 0;
    size_t n = self->n_kept < 64 ? 64 : self->n_kept * 2;
    while (n <= number) n *= 2;
    PyObject **grown = PyMem_Realloc(self->kept, n * sizeof(*grown));
    if (grown == NULL) return -1;
    memset(grown + self->n_kept, 0, (n - self->n_kept) * sizeof(*grown));
    self->kept = grown;
    self->n_kept = n;
    return 0;
}

/* Reserves room for some more batches, or at least for one. */
static int reserve_kept(struct cache_object *self) {
    uint64_t bytes = self->kept_bytes_each * KEPT_AT_ONCE;
    if (!bc_cache_reserve(self->cache, bytes)) {
        bytes = self->kept_bytes_each;
        if (!bc_cache_reserve(self->cache, bytes)) return 0;
    }
    self->kept_bytes += bytes;
    self->kept_bytes_free += bytes;
    return 1;
}

/* Keeps the object if it is the first and there is room. The cache is guarded. */
static void keep(struct cache_object *self, uint64_t number, PyObject *batch) {
    if (grow_kept(self, number) != 0 || self->kept[number] != NULL) return;
    if (self->kept_bytes_free < self->kept_bytes_each && !reserve_kept(self)) return;
    self->kept_bytes_free -= self->kept_bytes_each;
    Py_INCREF(batch);
    self->kept[number] = batch;
}

void cache_keep(struct cache_object *self, const struct bc_batch_info *info,
                PyObject *batch) {
    if (!info->in_memory || self->max_readers != 0) return;
    int full = 0;
    GUARD_BEGIN((PyObject *)self);
    keep(self, info->number, batch);
    full = self->kept_bytes_free < self->kept_bytes_each;
    GUARD_END();
    if (full) cache_make_room(self);
}

void cache_drop_kept(struct cache_object *self) {
    PyObject **kept;
    size_t n;
    GUARD_BEGIN((PyObject *)self);
    kept = self->kept;
    n = self->n_kept;
    uint64_t bytes = self->kept_bytes;
    self->kept = NULL;
    self->n_kept = 0;
    self->kept_bytes = 0;
    self->kept_bytes_free = 0;
    if (self->cache != NULL) bc_cache_unreserve(self->cache, bytes);
    GUARD_END();
    for (size_t i = 0; i < n; i++) Py_XDECREF(kept[i]);
    PyMem_Free(kept);
}

void cache_make_room(struct cache_object *self) {
    if (self->kept_bytes > 0 && bc_cache_is_overcommitted(self->cache))
        cache_drop_kept(self);
}
