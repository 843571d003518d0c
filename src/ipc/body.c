#include "ipc/body.h"

#include <errno.h>
#include <string.h>

#include "arrow/bits.h"
#include "arrow/values.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

static const uint8_t zeros[BC_BODY_ALIGNMENT];

/* A layout in progress: the current node, and the next range. */
struct layout {
    struct bc_body *body;
    const struct bc_schema *schema;
    const struct bc_batch *batch;
    const struct bc_range_node *node;
    const struct bc_range_node *parent; /* the node before it in the walk */
    const struct bc_buffer_range *range;
    struct bc_error *error;
};

static int layout_error(const struct layout *layout, const char *reason) {
    return bc__buffer_ranges_invalid(layout->schema, layout->batch, layout->node->field,
                                     reason, layout->error);
}

static int add_iovec(struct bc_body *body, const void *data, size_t size) {
    if (size == 0) return 0;
    if (bc__grow((void **)&body->iovecs, &body->iovecs_capacity, body->n_iovecs + 1,
                 sizeof(body->iovecs[0])) != 0) {
        return ENOMEM;
    }
    body->iovecs[body->n_iovecs++] = (struct bc_iovec){data, size};
    return 0;
}

int bc__body_reset(struct bc_body *body) {
    bc_assert(body != NULL);
    bc__arena_reset(&body->arena);
    body->n_nodes = 0;
    body->n_buffers = 0;
    body->n_variadic_counts = 0;
    body->n_iovecs = 0;
    body->bytes = 0;
    return add_iovec(body, zeros, 1);
}

void bc__body_finish(struct bc_body *body) {
    bc__arena_finish(&body->arena);
    bc__free(body->nodes);
    bc__free(body->buffers);
    bc__free(body->variadic_counts);
    bc__free(body->iovecs);
    bc__compressor_finish(&body->compressor);
    memset(body, 0, sizeof(*body));
}

/* Compresses a buffer, and replaces `*data` and `*bytes` by the result. */
static int compress(struct bc_body *body, const void **data, int64_t *bytes) {
    size_t capacity = bc__compress_bound(body->codec, (size_t)*bytes);
    uint8_t *out = bc__arena_take(&body->arena, capacity);
    if (out == NULL) return ENOMEM;
    size_t size;
    int code = bc__compress(&body->compressor, body->codec, *data, (size_t)*bytes, out,
                            capacity, &size);
    if (code != 0) return code;
    *data = out;
    *bytes = (int64_t)size;
    return 0;
}

/* Appends a buffer. Its bytes outlive the body's use. */
static int add_buffer(struct bc_body *body, const void *data, int64_t bytes) {
    int code = 0;
    if (body->codec != BC_CODEC_NONE && bytes > 0) code = compress(body, &data, &bytes);
    if (code != 0) return code;
    if (bc__grow((void **)&body->buffers, &body->buffers_capacity, body->n_buffers + 1,
                 sizeof(body->buffers[0])) != 0) {
        return ENOMEM;
    }
    body->buffers[body->n_buffers++] = (struct bc_wire_buffer){body->bytes, bytes};
    if (bytes == 0) return 0;
    int64_t padded = bc__round_up(bytes, BC_BODY_ALIGNMENT);
    body->bytes += padded;
    code = add_iovec(body, data, (size_t)bytes);
    return code != 0 ? code : add_iovec(body, zeros, (size_t)(padded - bytes));
}

static void *layout_bytes(const struct layout *layout, int64_t bytes) {
    return bc__arena_take(&layout->body->arena, (size_t)bytes);
}

static int lay_out_bits(const struct layout *layout,
                        const struct bc_buffer_range *range) {
    int64_t length = layout->node->length;
    if (range->bytes == 0 || (range->bit_offset == 0 && length % 8 == 0)) {
        return add_buffer(layout->body, range->data, range->bytes);
    }
    uint8_t *copy = layout_bytes(layout, range->bytes);
    if (copy == NULL) return ENOMEM;
    bc__bits_copy(copy, range->data, range->bit_offset, length);
    return add_buffer(layout->body, copy, range->bytes);
}

/* Returns whether none of `n` offsets is less than the previous one. */
static bool rise_32(const int32_t *offsets, int64_t n) {
    int falls = 0;
    for (int64_t i = 1; i < n; i++) falls |= offsets[i] < offsets[i - 1];
    return falls == 0;
}

static bool rise_64(const int64_t *offsets, int64_t n) {
    int falls = 0;
    for (int64_t i = 1; i < n; i++) falls |= offsets[i] < offsets[i - 1];
    return falls == 0;
}

static bool rise(const void *offsets, enum bc_range_kind kind, int64_t bytes) {
    return kind == BC_RANGE_OFFSETS32 ? rise_32(offsets, bytes / 4)
                                      : rise_64(offsets, bytes / 8);
}

static int add_offsets(const struct layout *layout, const struct bc_buffer_range *range) {
    if (range->bytes == 0) {
        /* An empty array has one offset too: some readers read it. */
        int32_t bits = layout->schema->fields[layout->node->field].bits;
        return add_buffer(layout->body, zeros, bits / 8);
    }
    if (!rise(range->data, range->kind, range->bytes)) {
        return layout_error(layout, "its offsets decrease");
    }
    if (range->base == 0) return add_buffer(layout->body, range->data, range->bytes);
    void *copy = layout_bytes(layout, range->bytes);
    if (copy == NULL) return ENOMEM;
    if (range->kind == BC_RANGE_OFFSETS32) {
        const int32_t *offsets = (const int32_t *)(const void *)range->data;
        /* Unsigned: a mapped file may have any bytes. */
        uint32_t base = (uint32_t)range->base;
        for (int64_t i = 0; i < range->bytes / 4; i++) {
            ((int32_t *)copy)[i] = (int32_t)((uint32_t)offsets[i] - base);
        }
    } else {
        const int64_t *offsets = (const int64_t *)(const void *)range->data;
        for (int64_t i = 0; i < range->bytes / 8; i++) {
            ((int64_t *)copy)[i] =
                (int64_t)((uint64_t)offsets[i] - (uint64_t)range->base);
        }
    }
    return add_buffer(layout->body, copy, range->bytes);
}

/* Returns the node's validity bitmap, or NULL if all values are valid. */
static const uint8_t *layout_validity(const struct layout *layout) {
    const struct bc_node *node = &layout->batch->nodes[layout->node->field];
    return node->null_count == 0 ? NULL : node->buffers[0];
}

/* Adds the offsets and sizes of list views. The offsets count from the child's range.
 * Empty and null lists get offset 0 and size 0. */
static int add_list_view(const struct layout *layout,
                         const struct bc_buffer_range *offsets,
                         const struct bc_buffer_range *sizes) {
    int32_t bits = layout->schema->fields[layout->node->field].bits;
    const uint8_t *validity = layout_validity(layout);
    void *new_offsets = layout_bytes(layout, offsets->bytes);
    void *new_sizes = layout_bytes(layout, sizes->bytes);
    if (new_offsets == NULL || new_sizes == NULL) return ENOMEM;
    for (int64_t i = 0; i < layout->node->length; i++) {
        int64_t size = bc__integer_at(sizes->data, bits, i);
        if (!bc__is_valid(validity, layout->node->offset + i)) size = 0;
        /* The offset of an empty list is arbitrary. */
        int64_t at = 0;
        if (size != 0) {
            /* Unsigned: a mapped file may have been changed. */
            at = (int64_t)((uint64_t)bc__integer_at(offsets->data, bits, i) -
                           (uint64_t)offsets->base);
        }
        bc__integer_set(new_offsets, bits, i, at);
        bc__integer_set(new_sizes, bits, i, size);
    }
    int code = add_buffer(layout->body, new_offsets, offsets->bytes);
    return code != 0 ? code : add_buffer(layout->body, new_sizes, sizes->bytes);
}

static const char not_an_id[] = "a type id is not among its type's";
static const char not_a_view[] = "a view lies outside its buffers";

/* Returns the child of a type id, or -1. */
static int child_of_id(const struct bc_field *field, uint8_t id) {
    return id < 128 ? field->union_children[id] : -1;
}

/* Adds the type ids and offsets of a dense union. The offsets count from each child's
 * range. The batch may be in a mapped file that was changed since the walk. */
static int add_dense_union(const struct layout *layout, const struct bc_buffer_range *ids,
                           const struct bc_buffer_range *offsets) {
    const struct bc_field *field = &layout->schema->fields[layout->node->field];
    const int32_t *old = (const int32_t *)(const void *)offsets->data;
    int64_t n = layout->node->length;
    int32_t low[128];
    for (int c = 0; c < 128; c++) low[c] = INT32_MAX;
    for (int64_t i = 0; i < n; i++) {
        int child = child_of_id(field, ids->data[i]);
        if (child < 0) return layout_error(layout, not_an_id);
        if (old[i] < low[child]) low[child] = old[i];
    }
    int32_t *copy = layout_bytes(layout, offsets->bytes);
    if (copy == NULL) return ENOMEM;
    for (int64_t i = 0; i < n; i++) {
        int child = child_of_id(field, ids->data[i]);
        if (child < 0) return layout_error(layout, not_an_id);
        copy[i] = (int32_t)((uint32_t)old[i] - (uint32_t)low[child]);
    }
    int code = add_buffer(layout->body, ids->data, ids->bytes);
    return code != 0 ? code : add_buffer(layout->body, copy, offsets->bytes);
}

static int add_ids(const struct layout *layout, const struct bc_buffer_range *ids) {
    const struct bc_field *field = &layout->schema->fields[layout->node->field];
    for (int64_t i = 0; i < layout->node->length; i++) {
        if (child_of_id(field, ids->data[i]) < 0) return layout_error(layout, not_an_id);
    }
    return add_buffer(layout->body, ids->data, ids->bytes);
}

/* Adds run ends that count from the slice's start. The last run ends with the slice. */
static int add_run_ends(const struct layout *layout, const struct bc_buffer_range *ends) {
    bc_assert(layout->parent != NULL);
    int32_t bits = layout->schema->fields[layout->node->field].bits;
    int64_t n = layout->node->length;
    int64_t start = layout->parent->offset;
    int64_t length = layout->parent->length;
    int64_t before = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t end = bc__integer_at(ends->data, bits, i);
        if (end <= before) return layout_error(layout, "its run has no length");
        before = end;
    }
    if (n > 0 && before - start < length) {
        return layout_error(layout, "its runs end before their parent does");
    }
    if (n == 0 || (start == 0 && bc__integer_at(ends->data, bits, n - 1) == length)) {
        return add_buffer(layout->body, ends->data, ends->bytes);
    }
    void *copy = layout_bytes(layout, ends->bytes);
    if (copy == NULL) return ENOMEM;
    for (int64_t i = 0; i < n; i++) {
        int64_t end = bc__integer_at(ends->data, bits, i) - start;
        bc__integer_set(copy, bits, i, end < length ? end : length);
    }
    return add_buffer(layout->body, copy, ends->bytes);
}

enum { GATHERED_BUFFER_MAX = 1 << 30 };

static int add_variadic_count(struct bc_body *body, int64_t count) {
    if (bc__grow((void **)&body->variadic_counts, &body->variadic_counts_capacity,
                 body->n_variadic_counts + 1, sizeof(body->variadic_counts[0])) != 0) {
        return ENOMEM;
    }
    body->variadic_counts[body->n_variadic_counts++] = count;
    return 0;
}

/* Copies of the text that views reach. A new buffer begins after one gibibyte, so that
 * 32-bit offsets are sufficient. */
struct gathered {
    uint8_t *bytes;
    int64_t starts[64];
    int32_t n; /* buffers so far, and entries of `starts` */
    int64_t used;
};

static void gather_view(struct gathered *gathered, struct bc_view *view,
                        const uint8_t *text) {
    int64_t start = gathered->n == 0 ? 0 : gathered->starts[gathered->n - 1];
    if (gathered->n == 0 || gathered->used - start > GATHERED_BUFFER_MAX) {
        start = gathered->used;
        gathered->starts[gathered->n++] = start;
    }
    memcpy(gathered->bytes + gathered->used, text, (size_t)view->length);
    view->buffer = gathered->n - 1;
    view->offset = (int32_t)(gathered->used - start);
    gathered->used += view->length;
}

/* Adds views into new buffers. These have only the text reached by a view. */
static int add_gathered_views(const struct layout *layout,
                              const struct bc_buffer_range *views,
                              const struct bc_buffer_range *variadic, int64_t used) {
    const uint8_t *validity = layout_validity(layout);
    struct gathered gathered = {.bytes = layout_bytes(layout, used)};
    struct bc_view *copies = layout_bytes(layout, views->bytes);
    if (gathered.bytes == NULL || copies == NULL) return ENOMEM;
    for (int64_t i = 0; i < layout->node->length; i++) {
        struct bc_view view = {0};
        if (bc__is_valid(validity, layout->node->offset + i)) {
            memcpy(&view, views->data + i * 16, sizeof(view));
        }
        if (view.length > BC_VIEW_INLINE_MAX) {
            /* A mapped file may have been changed since the walk. */
            if (view.buffer < 0 || view.buffer >= layout->node->n_variadic ||
                view.offset < 0 || view.length > used - gathered.used ||
                view.length > variadic[view.buffer].bytes - view.offset) {
                return layout_error(layout, not_a_view);
            }
            gather_view(&gathered, &view, variadic[view.buffer].data + view.offset);
        }
        copies[i] = view;
    }
    if (gathered.used != used) return layout_error(layout, not_a_view);
    int code = add_buffer(layout->body, copies, views->bytes);
    for (int32_t b = 0; b < gathered.n && code == 0; b++) {
        int64_t end = b + 1 < gathered.n ? gathered.starts[b + 1] : gathered.used;
        code = add_buffer(layout->body, gathered.bytes + gathered.starts[b],
                          end - gathered.starts[b]);
    }
    return code != 0 ? code : add_variadic_count(layout->body, gathered.n);
}

/* Returns whether all views are inline. Without variadic buffers, the walk does not check
 * the views. */
static bool are_inline(const struct layout *layout, const struct bc_buffer_range *views) {
    const uint8_t *validity = layout_validity(layout);
    for (int64_t i = 0; i < layout->node->length; i++) {
        int32_t length;
        memcpy(&length, views->data + i * 16, sizeof(length));
        if ((uint32_t)length > BC_VIEW_INLINE_MAX &&
            bc__is_valid(validity, layout->node->offset + i)) {
            return false;
        }
    }
    return true;
}

/* Adds views. If they reach at least three quarters of their variadic buffers, the
 * buffers are written unchanged. */
static int add_views(const struct layout *layout, const struct bc_buffer_range *views,
                     const struct bc_buffer_range *variadic) {
    int64_t used = 0;
    int64_t bytes = 0;
    int32_t n = layout->node->n_variadic;
    for (int32_t i = 0; i < n; i++) {
        used += variadic[i].used;
        bytes += variadic[i].bytes;
    }
    if (used < bytes - bytes / 4 && used <= (int64_t)GATHERED_BUFFER_MAX * 60) {
        return add_gathered_views(layout, views, variadic, used);
    }
    if (n == 0 && !are_inline(layout, views)) return layout_error(layout, not_a_view);
    int code = add_buffer(layout->body, views->data, views->bytes);
    for (int32_t i = 0; i < n && code == 0; i++) {
        code = add_buffer(layout->body, variadic[i].data, variadic[i].bytes);
    }
    return code != 0 ? code : add_variadic_count(layout->body, n);
}

/* Counts the nulls, and adds the validity bitmap. Without nulls, the buffer is empty. */
static int add_validity(const struct layout *layout,
                        const struct bc_buffer_range *validity, int64_t *out_nulls) {
    int64_t nulls = layout->node->null_count;
    if (validity->bytes == 0) {
        nulls = 0;
    } else if (nulls != 0) {
        /* The count that the producer states is not used: it may be wrong. */
        int64_t length = layout->node->length;
        nulls = length - bc__bits_count(validity->data, validity->bit_offset, length);
    }
    *out_nulls = nulls;
    if (nulls == 0) return add_buffer(layout->body, NULL, 0);
    return lay_out_bits(layout, validity);
}

static bool is_run_ends(const struct layout *layout) {
    int32_t parent = layout->schema->fields[layout->node->field].parent;
    return layout->schema->fields[parent].kind == BC_LAYOUT_RUN_END &&
           layout->schema->fields[parent].first_child == layout->node->field;
}

/* Adds the buffers after the validity bitmap, and moves past their ranges. */
static int lay_out_values(struct layout *layout) {
    const struct bc_field *field = &layout->schema->fields[layout->node->field];
    const struct bc_buffer_range *range = layout->range;
    int code = 0;
    switch (field->kind) {
        case BC_LAYOUT_NULL:
        case BC_LAYOUT_FIXED_LIST:
        case BC_LAYOUT_STRUCT:
        case BC_LAYOUT_RUN_END:
            return 0;
        case BC_LAYOUT_FIXED:
            layout->range += 1;
            if (field->bits == 1) return lay_out_bits(layout, range);
            if (is_run_ends(layout)) return add_run_ends(layout, range);
            return add_buffer(layout->body, range->data, range->bytes);
        case BC_LAYOUT_SPARSE_UNION:
            layout->range += 1;
            return add_ids(layout, range);
        case BC_LAYOUT_LIST:
            layout->range += 1;
            return add_offsets(layout, range);
        case BC_LAYOUT_BINARY:
            layout->range += 2;
            code = add_offsets(layout, &range[0]);
            if (code != 0) return code;
            return add_buffer(layout->body, range[1].data, range[1].bytes);
        case BC_LAYOUT_LIST_VIEW:
            layout->range += 2;
            return add_list_view(layout, &range[0], &range[1]);
        case BC_LAYOUT_DENSE_UNION:
            layout->range += 2;
            return add_dense_union(layout, &range[0], &range[1]);
        case BC_LAYOUT_VIEW:
            layout->range += 1 + layout->node->n_variadic;
            return add_views(layout, &range[0], &range[1]);
    }
    bc_assert(!"every kind is handled");
    return EINVAL;
}

int bc__body_lay_out(struct bc_body *body, const struct bc_schema *schema,
                     const struct bc_batch *batch, const struct bc_buffer_ranges *ranges,
                     struct bc_error *error) {
    bc_assert(body->n_iovecs == 1);
    struct layout layout = {.body = body,
                            .schema = schema,
                            .batch = batch,
                            .range = ranges->ranges,
                            .error = error};
    for (size_t i = 0; i < ranges->n_nodes; i++) {
        layout.node = &ranges->nodes[i];
        layout.parent = i == 0 ? NULL : &ranges->nodes[i - 1];
        int64_t nulls = layout.node->null_count;
        int code = 0;
        if (schema->fields[layout.node->field].has_validity) {
            code = add_validity(&layout, layout.range++, &nulls);
        }
        if (code == 0) code = lay_out_values(&layout);
        if (code == 0) {
            code = bc__grow((void **)&body->nodes, &body->nodes_capacity,
                            body->n_nodes + 1, sizeof(body->nodes[0]));
        }
        if (code == ENOMEM) return bc__error_memory(error);
        if (code != 0) return code;
        body->nodes[body->n_nodes++] = (struct bc_wire_node){layout.node->length, nulls};
    }
    bc_assert(ranges->n_ranges == 0 || layout.range == ranges->ranges + ranges->n_ranges);
    return 0;
}

int bc__body_gather(struct bc_body *body) {
    if (body->n_iovecs <= 2) return 0;
    uint8_t *bytes = bc__arena_take(&body->arena, (size_t)body->bytes);
    if (bytes == NULL) return ENOMEM;
    size_t at = 0;
    for (size_t i = 1; i < body->n_iovecs; i++) {
        memcpy(bytes + at, body->iovecs[i].data, body->iovecs[i].size);
        at += body->iovecs[i].size;
    }
    bc_assert(at == (size_t)body->bytes);
    body->n_iovecs = 1;
    return add_iovec(body, bytes, at);
}
