#include "disk/grown.h"

#include <errno.h>
#include <string.h>

#include "arrow/values.h"
#include "base/alloc.h"
#include "base/check.h"

struct bc_grown {
    atomic_uint refs;
    int64_t length;
    int64_t length_max;
    uint8_t *values; /* or offsets, one more than values */
    int64_t bytes;   /* of text */
    int64_t bytes_max;
    uint8_t *text;
};

/* Flat values, a node of which looks like this. */
struct flat {
    const uint8_t *values; /* from the first value on; or its offset */
    const uint8_t *text;   /* from the first byte on */
    int64_t bytes;         /* of it; -1: the offsets are wrong */
};

static bool is_flat(const struct bc_field *field, const struct bc_node *node,
                    struct flat *out) {
    int64_t width = field->bits / 8;
    bool is_binary = field->kind == BC_KIND_BINARY;
    if (!is_binary && field->kind != BC_KIND_FIXED) return false;
    if (width == 0 || field->bits % 8 != 0) return false;
    if (node->length == 0 || (node->null_count != 0 && node->buffers[0] != NULL)) {
        return false;
    }
    *out =
        (struct flat){(const uint8_t *)node->buffers[1] + node->offset * width, NULL, 0};
    if (!is_binary) return true;
    int64_t start = bc__integer_at(out->values, field->bits, 0);
    int64_t end = bc__integer_at(out->values, field->bits, node->length);
    out->bytes = start < 0 || end < start ? -1 : end - start;
    if (out->bytes > 0) out->text = (const uint8_t *)node->buffers[2] + start;
    return true;
}

/* The first `n` offsets (and the one behind), counted from the first, are the same. */
static bool same_offsets(int32_t bits, const uint8_t *a, const uint8_t *b, int64_t n) {
    int64_t shift = bc__integer_at(b, bits, 0) - bc__integer_at(a, bits, 0);
    if (shift == 0) return memcmp(a, b, (size_t)(n + 1) * (size_t)(bits / 8)) == 0;
    for (int64_t i = 0; i <= n; i++) {
        if (bc__integer_at(b, bits, i) - bc__integer_at(a, bits, i) != shift) {
            return false;
        }
    }
    return true;
}

enum bc_growth bc__grown_compare(const struct bc_field *field,
                                 const struct bc_node *before,
                                 const struct bc_node *values) {
    struct flat old;
    struct flat new;
    if (before->length > values->length || !is_flat(field, before, &old) ||
        !is_flat(field, values, &new)) {
        return BC_GROWTH_NONE;
    }
    if (field->kind == BC_KIND_FIXED) {
        size_t size = (size_t)before->length * (size_t)(field->bits / 8);
        if (memcmp(old.values, new.values, size) != 0) return BC_GROWTH_NONE;
    } else if (old.bytes < 0 || new.bytes < 0 ||
               !same_offsets(field->bits, old.values, new.values, before->length) ||
               (old.bytes > 0 && memcmp(old.text, new.text, (size_t)old.bytes) != 0)) {
        return BC_GROWTH_NONE;
    }
    return before->length == values->length ? BC_GROWTH_SAME : BC_GROWTH_MORE;
}

void bc__grown_unref(struct bc_grown *grown) {
    if (grown == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&grown->refs, 1, memory_order_acq_rel);
    bc_assert(before > 0);
    if (before != 1) return;
    bc__free(grown->values);
    bc__free(grown->text);
    bc__free(grown);
}

/* A copy with room for `length` values and `bytes` of text, and as much again. */
static struct bc_grown *enlarge(const struct bc_grown *old, int64_t width, int64_t length,
                                int64_t bytes) {
    struct bc_grown *grown = bc__calloc(1, sizeof(*grown));
    if (grown == NULL) return NULL;
    atomic_init(&grown->refs, 1);
    grown->length_max = 2 * length;
    grown->bytes_max = 2 * bytes;
    grown->values =
        bc__malloc_aligned(64, (size_t)(grown->length_max + 1) * (size_t)width);
    grown->text = bc__malloc_aligned(64, (size_t)grown->bytes_max);
    if (grown->values == NULL || grown->text == NULL) {
        bc__grown_unref(grown);
        return NULL;
    }
    /* The first offset. */
    memset(grown->values, 0, (size_t)width);
    if (old == NULL) return grown;
    grown->length = old->length;
    grown->bytes = old->bytes;
    memcpy(grown->values, old->values, (size_t)(old->length + 1) * (size_t)width);
    memcpy(grown->text, old->text, (size_t)old->bytes);
    return grown;
}

int bc__grown_append(struct bc_grown **grown, const struct bc_field *field,
                     const struct bc_node *part) {
    struct flat flat;
    if (!is_flat(field, part, &flat)) return ENOTSUP;
    int64_t width = field->bits / 8;
    struct bc_grown *old = *grown;
    int64_t length = part->length + (old == NULL ? 0 : old->length);
    int64_t bytes = flat.bytes + (old == NULL ? 0 : old->bytes);
    if (flat.bytes < 0 || length > INT64_MAX / 4 / width) return EINVAL;
    if (field->bits == 32 && bytes > INT32_MAX) return EINVAL;
    if (old == NULL || length > old->length_max || bytes > old->bytes_max) {
        struct bc_grown *larger = enlarge(old, width, length, bytes);
        if (larger == NULL) return ENOMEM;
        *grown = larger;
        bc__grown_unref(old);
    }
    struct bc_grown *to = *grown;
    if (field->kind == BC_KIND_FIXED) {
        memcpy(to->values + to->length * width, flat.values,
               (size_t)part->length * (size_t)width);
    } else {
        int64_t shift = to->bytes - bc__integer_at(flat.values, field->bits, 0);
        for (int64_t i = 1; i <= part->length; i++) {
            int64_t at;
            if (__builtin_add_overflow(bc__integer_at(flat.values, field->bits, i), shift,
                                       &at)) {
                return EINVAL;
            }
            bc__integer_set(to->values, field->bits, to->length + i, at);
        }
        if (flat.bytes > 0) {
            memcpy(to->text + to->bytes, flat.text, (size_t)flat.bytes);
        }
    }
    to->length = length;
    to->bytes = bytes;
    return 0;
}

static void release_grown(struct ArrowArray *owner) {
    bc__grown_unref(owner->private_data);
    owner->release = NULL;
}

int bc__grown_batch(struct bc_grown *grown, const struct bc_field *field, int64_t length,
                    struct bc_batch **out_batch) {
    /* Of a file that others wrote. */
    if (length > grown->length) return EINVAL;
    int32_t n_buffers = field->n_buffers;
    struct bc_batch *batch = bc__batch_alloc(1, (size_t)n_buffers * sizeof(void *));
    if (batch == NULL) return ENOMEM;
    const void **buffers = bc__batch_tail(batch);
    buffers[1] = grown->values;
    if (n_buffers > 2) buffers[2] = grown->text;
    batch->nodes[0] =
        (struct bc_node){.length = length, .n_buffers = n_buffers, .buffers = buffers};
    batch->held_bytes =
        (uint64_t)(grown->length_max * (field->bits / 8) + grown->bytes_max);
    (void)atomic_fetch_add_explicit(&grown->refs, 1, memory_order_relaxed);
    batch->owner.release = release_grown;
    batch->owner.private_data = grown;
    *out_batch = batch;
    return 0;
}
