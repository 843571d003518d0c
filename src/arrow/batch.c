/* Batches: their memory, and the import of a producer's array with its checks. */
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

/* Schemas with more fields need an allocation during an import. */
enum { FEW_FIELDS = 64 };

struct bc_copy {
    struct bc_copy *next;
    const void **buffers; /* a node's buffer table that refers to copies, or NULL */
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

void *bc__batch_buffer(struct bc_batch *batch, uint64_t size) {
    /* A size from a file may be larger than the address space of 32 bits. */
    if (size > PTRDIFF_MAX) return NULL;
    struct bc_copy *copy = bc__calloc(1, sizeof(*copy));
    if (copy == NULL) return NULL;
    copy->data = bc__malloc_aligned(64, (size_t)size);
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
        /* A batch in a slab owns a producer's array, which has a foreign release. */
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

/* Replaces the buffer at `index`, of `bytes` bytes, by an aligned copy. */
static int realign(struct bc_batch *batch, struct bc_node *node, int index, size_t bytes,
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
    memcpy(copy->data, node->buffers[index], bytes);
    copy->buffers[index] = copy->data;
    node->buffers = copy->buffers;
    return 0;
}

/* Returns the bytes that `elements` (offset + length) occupy in the buffer at `index`. If
 * they do not follow from the layout, it returns -1. */
static int64_t bytes_reached(const struct bc_field *field, int index, int64_t elements) {
    switch (field->kind) {
        case BC_LAYOUT_FIXED:
            return index == 1 ? bc__bit_bytes(elements * field->bits) : -1;
        case BC_LAYOUT_BINARY:
        case BC_LAYOUT_LIST:
            if (elements == 0) return 0;
            return index == 1 ? (elements + 1) * (field->bits / 8) : -1;
        case BC_LAYOUT_VIEW:
            return index == 1 ? elements * 16 : -1;
        case BC_LAYOUT_LIST_VIEW:
            return index == 1 || index == 2 ? elements * (field->bits / 8) : -1;
        case BC_LAYOUT_SPARSE_UNION:
            return index == 0 ? elements : -1;
        case BC_LAYOUT_DENSE_UNION:
            return index == 0 ? elements : elements * 4;
        default:
            return -1;
    }
}

static size_t alignment_of(const struct bc_field *field, int index) {
    if (field->kind == BC_LAYOUT_DENSE_UNION && index == 1) return 4;
    bool has_width = index == 1 || (index == 2 && field->kind == BC_LAYOUT_LIST_VIEW);
    return has_width ? field->alignment : 1;
}

/* Returns whether the array has a validity bitmap that its layout does not have. Polars
 * writes one for null columns, and Arrow C++ up to 1.0 also for unions. */
static bool has_old_bitmap(const struct bc_field *field, const struct ArrowArray *node) {
    return !field->has_validity && node->n_buffers == field->n_buffers + 1;
}

/* Returns the buffers of the layout, after such a bitmap. */
static const void **buffers_of(const struct bc_field *field,
                               const struct ArrowArray *node) {
    bool skips = field->n_buffers > 0 && has_old_bitmap(field, node);
    return skips ? node->buffers + 1 : node->buffers;
}

/* Returns whether such a bitmap has a null, which the layout cannot represent. */
static bool has_unsupported_nulls(const struct ArrowArray *node) {
    const uint8_t *validity = node->buffers[0];
    if (validity == NULL || node->null_count == 0) return false;
    return bc__bits_count(validity, node->offset, node->length) != node->length;
}

/* Returns the reason why an array does not fit its field, or NULL. Afterwards no product
 * of its length, offset and width overflows. */
static const char *check_node_shape(const struct bc_field *field,
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
    if (buffers != node->buffers && has_unsupported_nulls(node)) {
        return "it is a union with nulls of its own, which no consumer takes";
    }
    int64_t elements = node->offset + node->length;
    for (int index = field->has_validity ? 1 : 0; index < field->n_buffers; index++) {
        if (node->length > 0 && bytes_reached(field, index, elements) > 0 &&
            buffers[index] == NULL) {
            return "a buffer is missing";
        }
    }
    return NULL;
}

/* Returns the least length of a child that has values for its whole parent. */
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

static int batch_error(const struct bc_schema *schema, int32_t field, uint64_t number,
                       const char *reason, struct bc_error *error) {
    char path[256];
    bc__schema_field_path(schema, field, path, sizeof(path));
    return bc__error_set(error, EINVAL,
                         "Batch %llu does not fit the stream's schema: %s%s%s%s",
                         (unsigned long long)number, field == 0 ? "" : "field '",
                         field == 0 ? "" : path, field == 0 ? "" : "': ", reason);
}

/* Returns whether the first `end` values need bytes after the array's last offset. The
 * text is known to reach up to this offset only. */
static bool leaves_text(const struct bc_field *field, const struct bc_node *whole,
                        int64_t end) {
    if (field->kind != BC_LAYOUT_BINARY || end == 0) return false;
    const void *offsets = whole->buffers[1];
    return bc__integer_at(offsets, field->bits, end) >
           bc__integer_at(offsets, field->bits, whole->offset + whole->length);
}

/* Adds the root struct's offset to its children, and checks that its bitmap has no null.
 * It returns the reason why it fails, or NULL. `*out_field`: the field of the reason. */
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
    /* A bitmap without a null has no use, and it is not valid for the new offset. */
    static const void *no_bitmap[1] = {NULL};
    root->buffers = no_bitmap;
    root->offset = 0;
    root->null_count = 0;
    return NULL;
}

/* Copies those buffers of the node that are not aligned for their type. */
static int realign_node(struct bc_batch *batch, struct bc_node *node,
                        const struct bc_field *field) {
    if (node->length == 0) return 0;
    for (int index = 0; index < field->n_buffers; index++) {
        size_t alignment = alignment_of(field, index);
        uintptr_t address = (uintptr_t)node->buffers[index];
        if ((address & (alignment - 1)) == 0) continue;
        int64_t bytes = bytes_reached(field, index, node->offset + node->length);
        if (bytes <= 0) continue;
        int code = realign(batch, node, index, (size_t)bytes, alignment);
        if (code != 0) return code;
    }
    return 0;
}

/* Counts the nulls if the producer did not. Consumers refuse maps whose keys may have
 * nulls. */
static int64_t count_node_nulls(const struct ArrowArray *array) {
    const uint8_t *validity = array->buffers[0];
    if (validity == NULL) return 0;
    return array->length - bc__bits_count(validity, array->offset, array->length);
}

/* Fills the node at `index` from the array at the same index, and adds the array's
 * children to `arrays`. It returns the reason why it fails, or NULL. */
static const char *import_node(const struct bc_schema *schema, struct bc_batch *batch,
                               const struct ArrowArray **arrays, int32_t index) {
    const struct bc_field *field = &schema->fields[index];
    const struct ArrowArray *array = arrays[index];
    const char *reason = check_node_shape(field, array);
    if (reason != NULL) return reason;
    struct bc_node *node = &batch->nodes[index];
    int64_t nulls = bc__null_count(field, array->length, array->null_count);
    if (nulls < 0 && field->is_required) nulls = count_node_nulls(array);
    if (nulls > 0 && field->is_required) return "a map's entries or keys have nulls";
    int64_t n_buffers = field->has_validity ? array->n_buffers : field->n_buffers;
    *node = (struct bc_node){array->length, nulls, array->offset, n_buffers,
                             buffers_of(field, array)};
    /* An empty array gets offset 0: some consumers compute values + offset even then. */
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

static int import_nodes(const struct bc_schema *schema, struct bc_batch *batch,
                        const struct ArrowArray **arrays, uint64_t number,
                        struct bc_error *error) {
    for (int32_t i = 0; i < schema->n_fields; i++) {
        const char *reason = import_node(schema, batch, arrays, i);
        if (reason != NULL) return batch_error(schema, i, number, reason, error);
        if (realign_node(batch, &batch->nodes[i], &schema->fields[i]) != 0) {
            return bc__error_memory(error);
        }
    }
    int32_t field = 0;
    const char *reason = fold_root(schema, batch, &field);
    return reason == NULL ? 0 : batch_error(schema, field, number, reason, error);
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
        code = import_nodes(schema, batch, arrays, number, error);
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
