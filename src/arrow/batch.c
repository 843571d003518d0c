#include "arrow/batch.h"

#include <string.h>

#include "arrow/bits.h"
#include "arrow/values.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/refcount.h"
#include "base/slab.h"
#include "base/sync.h"

enum { FEW_FIELDS = 64 };

struct bc_copy {
    struct bc_copy *next;
    const void **buffers; /* a node's table, in which the copies stand, or NULL */
    void *data;
};

struct bc_batch *bc__batch_alloc(int32_t n_nodes, size_t tail_bytes) {
    bc_assert(n_nodes > 0);
    size_t size = sizeof(struct bc_batch) + (size_t)n_nodes * sizeof(struct bc_node);
    struct bc_batch *batch = bc__calloc(1, size + tail_bytes);
    if (batch == NULL) return NULL;
    atomic_init(&batch->refs, 1);
    batch->n_nodes = n_nodes;
    batch->tail_bytes = tail_bytes;
    return batch;
}

void *bc__batch_tail(struct bc_batch *batch) { return &batch->nodes[batch->n_nodes]; }

uint64_t bc__batch_bytes(const struct bc_batch *batch) {
    return sizeof(*batch) + (size_t)batch->n_nodes * sizeof(struct bc_node) +
           batch->tail_bytes + batch->held_bytes;
}

void *bc__batch_buffer(struct bc_batch *batch, size_t size) {
    struct bc_copy *copy = bc__calloc(1, sizeof(*copy));
    if (copy == NULL) return NULL;
    copy->data = bc__malloc_aligned(64, size);
    if (copy->data == NULL) {
        bc__free(copy);
        return NULL;
    }
    copy->next = batch->copies;
    batch->copies = copy;
    batch->held_bytes += size;
    return copy->data;
}

struct bc_batch *bc__batch_ref(struct bc_batch *batch) {
    bc__ref(&batch->refs);
    return batch;
}

void bc__batch_unref(struct bc_batch *batch) {
    if (batch == NULL || !bc__unref(&batch->refs)) return;
    if (batch->owner.release != NULL) {
        /* In a slab are those made of a producer's array, whose release is foreign. */
        if (batch->slab != NULL) bc__assert_no_lock();
        batch->owner.release(&batch->owner);
    }
    while (batch->copies != NULL) {
        struct bc_copy *copy = batch->copies;
        batch->copies = copy->next;
        bc__free(copy->buffers);
        bc__free(copy->data);
        bc__free(copy);
    }
    if (batch->slab != NULL) {
        bc__slab_give_back(batch->slab);
    } else {
        bc__free(batch);
    }
}

/* Copies buffer `which` of a node, `bytes` long, to where it is aligned. */
static int realign(struct bc_batch *batch, struct bc_node *node, int which, size_t bytes,
                   size_t alignment) {
    struct bc_copy *copy = bc__calloc(1, sizeof(*copy));
    if (copy == NULL) return ENOMEM;
    copy->next = batch->copies;
    batch->copies = copy;
    size_t table_bytes = (size_t)node->n_buffers * sizeof(void *);
    copy->buffers = bc__malloc(table_bytes);
    copy->data = bc__malloc_aligned(alignment < 64 ? 64 : alignment, bytes);
    if (copy->buffers == NULL || copy->data == NULL) return ENOMEM;
    memcpy(copy->buffers, node->buffers, table_bytes);
    memcpy(copy->data, node->buffers[which], bytes);
    copy->buffers[which] = copy->data;
    node->buffers = copy->buffers;
    return 0;
}

/* Bytes of buffer `which` that offset + length elements reach, or -1 if unknown. */
static int64_t reach(const struct bc_field *field, int which, int64_t elements) {
    switch (field->kind) {
        case BC_LAYOUT_FIXED:
            return which == 1 ? bc__bit_bytes(elements * field->bits) : -1;
        case BC_LAYOUT_BINARY:
        case BC_LAYOUT_LIST:
            if (elements == 0) return 0;
            return which == 1 ? (elements + 1) * (field->bits / 8) : -1;
        case BC_LAYOUT_VIEW:
            return which == 1 ? elements * 16 : -1;
        case BC_LAYOUT_LIST_VIEW:
            return which == 1 || which == 2 ? elements * (field->bits / 8) : -1;
        case BC_LAYOUT_SPARSE_UNION:
            return which == 0 ? elements : -1;
        case BC_LAYOUT_DENSE_UNION:
            return which == 0 ? elements : elements * 4;
        default:
            return -1;
    }
}

static size_t alignment_of(const struct bc_field *field, int which) {
    if (field->kind == BC_LAYOUT_DENSE_UNION && which == 1) return 4;
    bool has_width = which == 1 || (which == 2 && field->kind == BC_LAYOUT_LIST_VIEW);
    return has_width ? field->alignment : 1;
}

/* Whether a bitmap stands in front of the buffers of a kind that has none. Polars gives
 * one to null columns; Arrow C++ up to 1.0 also to unions. */
static bool has_old_bitmap(const struct bc_field *field, const struct ArrowArray *node) {
    return !field->has_validity && node->n_buffers == field->n_buffers + 1;
}

/* The buffers that the kind has. */
static const void **buffers_of(const struct bc_field *field,
                               const struct ArrowArray *node) {
    bool skips = field->n_buffers > 0 && has_old_bitmap(field, node);
    return skips ? node->buffers + 1 : node->buffers;
}

/* Whether an old bitmap says more than the types that lost it can. */
static bool has_nulls_of_its_own(const struct ArrowArray *node) {
    const uint8_t *validity = node->buffers[0];
    if (validity == NULL || node->null_count == 0) return false;
    return bc__bits_count(validity, node->offset, node->length) != node->length;
}

/* What is wrong with a node, or NULL. Bounds every product that comes later. */
static const char *check_shape(const struct bc_field *field,
                               const struct ArrowArray *node) {
    if (node->length < 0) return "its length is negative";
    if (node->offset < 0) return "its offset is negative";
    if (node->length > INT64_MAX / 4096 || node->offset > INT64_MAX / 4096 ||
        (field->bits > 1024 &&
         node->length + node->offset > INT64_MAX / 2 / field->bits)) {
        return "it is longer than memory";
    }
    if (node->null_count < -1 || node->null_count > node->length) {
        return "its null count is impossible";
    }
    if (field->kind == BC_LAYOUT_VIEW
            ? node->n_buffers < field->n_buffers
            : node->n_buffers != field->n_buffers && !has_old_bitmap(field, node)) {
        return "it has another number of buffers than its type";
    }
    if (node->n_children != field->n_children) {
        return "it has another number of children than its type";
    }
    if ((node->dictionary != NULL) != (field->dictionary >= 0)) {
        return field->dictionary >= 0 ? "its dictionary is missing"
                                      : "it has a dictionary that its type has not";
    }
    if ((field->n_buffers > 0 && node->buffers == NULL) ||
        (node->n_children > 0 && node->children == NULL)) {
        return "its pointers are missing";
    }
    if (field->has_validity && node->null_count > 0 && node->buffers[0] == NULL) {
        return "it has nulls but no validity bitmap";
    }
    const void **buffers = buffers_of(field, node);
    if (buffers != node->buffers && has_nulls_of_its_own(node)) {
        return "it is a union with nulls of its own, which no consumer takes";
    }
    int64_t elements = node->offset + node->length;
    for (int which = field->has_validity ? 1 : 0; which < field->n_buffers; which++) {
        if (node->length > 0 && reach(field, which, elements) > 0 &&
            buffers[which] == NULL) {
            return "a buffer is missing";
        }
    }
    return NULL;
}

/* How many values a child must have for its parent. */
static int64_t child_length_min(const struct bc_field *parent,
                                const struct bc_node *node) {
    if (parent->kind == BC_LAYOUT_STRUCT || parent->kind == BC_LAYOUT_SPARSE_UNION) {
        return node->offset + node->length;
    }
    if (parent->kind == BC_LAYOUT_FIXED_LIST) {
        int64_t needed;
        if (__builtin_mul_overflow(node->offset + node->length,
                                   (int64_t)parent->list_size, &needed)) {
            return INT64_MAX;
        }
        return needed;
    }
    return 0;
}

static int refuse(const struct bc_schema *schema, int32_t field, uint64_t number,
                  const char *reason, struct bc_error *error) {
    char path[256];
    bc__schema_field_path(schema, field, path, sizeof(path));
    return bc__error_set(error, EINVAL,
                         "Batch %llu does not fit the stream's schema: %s%s%s%s",
                         (unsigned long long)number, field == 0 ? "" : "field '",
                         field == 0 ? "" : path, field == 0 ? "" : "': ", reason);
}

/* Whether the first `end` values of a whole array need bytes behind its last offset, the
 * only one that its text is known to have. */
static bool leaves_text(const struct bc_field *field, const struct bc_node *whole,
                        int64_t end) {
    if (field->kind != BC_LAYOUT_BINARY || end == 0) return false;
    const void *offsets = whole->buffers[1];
    return bc__integer_at(offsets, field->bits, end) >
           bc__integer_at(offsets, field->bits, whole->offset + whole->length);
}

/* The root struct's offset goes into its children, and its bitmap must mark no null.
 * `*out_field`: which field is wrong. */
static const char *fold_root(const struct bc_schema *schema, struct bc_batch *batch,
                             int32_t *out_field) {
    struct bc_node *root = &batch->nodes[0];
    const uint8_t *validity = root->buffers[0];
    if (root->null_count != 0 && validity != NULL &&
        bc__bits_count(validity, root->offset, root->length) != root->length) {
        return "the rows themselves have nulls (a struct with a validity bitmap), which "
               "a "
               "record batch cannot hold";
    }
    for (int32_t c = 0; c < schema->fields[0].n_children; c++) {
        struct bc_node *child = &batch->nodes[schema->fields[0].first_child + c];
        const struct bc_field *field = &schema->fields[schema->fields[0].first_child + c];
        if (child->length == root->length && root->offset == 0) continue;
        int64_t start = root->length == 0 ? 0 : child->offset + root->offset;
        if (root->length > 0 && leaves_text(field, child, start + root->length)) {
            *out_field = schema->fields[0].first_child + c;
            return "its offsets decrease";
        }
        child->offset = start;
        child->length = root->length;
        if (child->null_count > 0) child->null_count = -1;
        if (field->kind == BC_LAYOUT_NULL) child->null_count = root->length;
    }
    /* A bitmap without a null says nothing, and would be read from the folded offset. */
    static const void *no_bitmap[1] = {NULL};
    root->buffers = no_bitmap;
    root->offset = 0;
    root->null_count = 0;
    return NULL;
}

/* Copies the buffers of a node that are not aligned for their type. */
static int realign_node(struct bc_batch *batch, struct bc_node *node,
                        const struct bc_field *field) {
    if (node->length == 0) return 0;
    for (int which = 0; which < field->n_buffers; which++) {
        size_t alignment = alignment_of(field, which);
        uintptr_t address = (uintptr_t)node->buffers[which];
        if ((address & (alignment - 1)) == 0) continue;
        int64_t bytes = reach(field, which, node->offset + node->length);
        if (bytes <= 0) continue;
        int code = realign(batch, node, which, (size_t)bytes, alignment);
        if (code != 0) return code;
    }
    return 0;
}

/* Nulls that nobody counted. Consumers refuse maps whose keys may have some. */
static int64_t count_nulls(const struct ArrowArray *array) {
    const uint8_t *validity = array->buffers[0];
    if (validity == NULL) return 0;
    return array->length - bc__bits_count(validity, array->offset, array->length);
}

/* Takes over node `number`, which stands in `arrays`, and lists its children there. What
 * is wrong with it, or NULL. */
static const char *take_node(const struct bc_schema *schema, struct bc_batch *batch,
                             const struct ArrowArray **arrays, int32_t number) {
    const struct bc_field *field = &schema->fields[number];
    const struct ArrowArray *array = arrays[number];
    const char *reason = check_shape(field, array);
    if (reason != NULL) return reason;
    struct bc_node *node = &batch->nodes[number];
    int64_t nulls = bc__null_count(field, array->length, array->null_count);
    if (nulls < 0 && field->is_required) nulls = count_nulls(array);
    if (nulls > 0 && field->is_required) return "a map's entries or keys have nulls";
    int64_t n_buffers = field->has_validity ? array->n_buffers : field->n_buffers;
    *node = (struct bc_node){array->length, nulls, array->offset, n_buffers,
                             buffers_of(field, array)};
    /* Nothing is nowhere: some consumers look for the values before an offset. */
    if (node->length == 0) node->offset = 0;
    int64_t child_min = child_length_min(field, node);
    for (int32_t c = 0; c < field->n_children; c++) {
        const struct ArrowArray *child = array->children[c];
        if (child == NULL) return "a child is missing";
        if (child->length < child_min) return "a child is shorter than its parent";
        arrays[field->first_child + c] = child;
    }
    if (array->dictionary != NULL) arrays[field->dictionary] = array->dictionary;
    return NULL;
}

static int take_nodes(const struct bc_schema *schema, struct bc_batch *batch,
                      const struct ArrowArray **arrays, uint64_t number,
                      struct bc_error *error) {
    for (int32_t i = 0; i < schema->n_fields; i++) {
        const char *reason = take_node(schema, batch, arrays, i);
        if (reason != NULL) return refuse(schema, i, number, reason, error);
        if (realign_node(batch, &batch->nodes[i], &schema->fields[i]) != 0) {
            return bc__error_memory(error);
        }
    }
    int32_t field = 0;
    const char *reason = fold_root(schema, batch, &field);
    return reason == NULL ? 0 : refuse(schema, field, number, reason, error);
}

int bc__batch_new(const struct bc_schema *schema, struct ArrowArray *array,
                  uint64_t number, struct bc_slab **slab, struct bc_batch **out_batch,
                  struct bc_error *error) {
    bc_assert(schema != NULL && array != NULL && array->release != NULL);
    size_t n = (size_t)schema->n_fields;
    struct bc_slab *home;
    struct bc_batch *batch =
        bc__slab_take(slab, sizeof(*batch) + n * sizeof(struct bc_node), &home);
    if (batch == NULL) return bc__error_memory(error);
    atomic_init(&batch->refs, 1);
    batch->n_nodes = schema->n_fields;
    batch->tail_bytes = 0;
    batch->number = number;
    batch->slab = home;
    batch->copies = NULL;
    batch->owner.release = NULL;
    const struct ArrowArray *few[FEW_FIELDS];
    const struct ArrowArray **arrays = few;
    int code = 0;
    if (n > FEW_FIELDS) arrays = bc__malloc(n * sizeof(*arrays));
    if (arrays == NULL) {
        code = bc__error_memory(error);
    } else {
        arrays[0] = array;
        code = take_nodes(schema, batch, arrays, number, error);
    }
    if (arrays != few) bc__free((void *)(uintptr_t)arrays);
    if (code != 0) {
        bc__batch_unref(batch);
        return code;
    }
    batch->owner = *array;
    array->release = NULL;
    *out_batch = batch;
    return 0;
}
