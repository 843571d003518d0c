/* Appends a part to the columns of delta values, and validates it on the way. */
#include "ipc/delta_columns.h"

#include <errno.h>
#include <string.h>

#include "arrow/bits.h"
#include "arrow/validate_values.h"
#include "arrow/values.h"
#include "base/alloc.h"
#include "base/check.h"
#include "ipc/metadata.h"

enum { CAPACITY_MIN = 64, VIEW = 16, UNION_IDS = 128 };

/* Bits for omitted bitmaps may occupy the bytes of all parts, and ONES_BYTES_MAX more. A
 * type without buffers can have more values than memory has bits. */
enum { ONES_BYTES_MAX = 16 << 20 };

/* A part that is being appended. */
struct part {
    struct bc_delta_columns *columns;
    const struct bc_node *nodes;
};

static int append_run(struct part *part, int32_t index, int64_t first, int64_t n);

/* ---- growing memory ---- */

/* Grows the memory to at least `bytes` bytes. `points`: batches may point into it. */
static int reserve(struct bc_delta_columns *columns, struct bc_growable *memory,
                   int64_t bytes, bool points) {
    if (bytes <= memory->capacity) return 0;
    int64_t wanted = memory->capacity * 2 < bytes ? bytes : memory->capacity * 2;
    wanted = bc__round_up(wanted, CAPACITY_MIN);
    bool stays = points && columns->is_shared && memory->data != NULL;
    if (stays && bc__grow((void **)&columns->retired, &columns->retired_capacity,
                          columns->n_retired + 1, sizeof(columns->retired[0])) != 0) {
        return ENOMEM;
    }
    if ((uint64_t)wanted > PTRDIFF_MAX) return ENOMEM;
    uint8_t *data = bc__malloc_aligned(64, (size_t)wanted);
    if (data == NULL) return ENOMEM;
    if (memory->data != NULL) memcpy(data, memory->data, (size_t)memory->capacity);
    columns->bytes += (uint64_t)wanted;
    if (stays) {
        columns->retired[columns->n_retired++] = memory->data;
    } else {
        columns->bytes -= (uint64_t)memory->capacity;
        bc__free(memory->data);
    }
    memory->data = data;
    memory->capacity = wanted;
    return 0;
}

/* Adds `bytes` used bytes, and gives their address. */
static int extend(struct bc_delta_columns *columns, struct bc_growable *memory,
                  int64_t bytes, uint8_t **out_to) {
    int code = reserve(columns, memory, memory->used + bytes, true);
    if (code != 0) return code;
    *out_to = memory->data + memory->used;
    memory->used += bytes;
    columns->part_bytes += bytes;
    return 0;
}

static int append_bytes(struct bc_delta_columns *columns, struct bc_growable *memory,
                        const void *bytes, int64_t n) {
    if (n == 0) return 0;
    uint8_t *to;
    int code = extend(columns, memory, n, &to);
    if (code == 0) memcpy(to, bytes, (size_t)n);
    return code;
}

/* Appends `n` bits of a bitmap. Without a bitmap, it appends ones. */
static int append_bits(struct bc_delta_columns *columns, struct bc_growable *memory,
                       const uint8_t *bitmap, int64_t offset, int64_t n) {
    if (n == 0) return 0;
    int code = reserve(columns, memory, bc__bit_bytes(memory->used + n), false);
    if (code != 0) return code;
    int64_t done = 0;
    for (; done < n && (memory->used + done) % 8 != 0; done++) {
        uint8_t *byte = &memory->data[(memory->used + done) / 8];
        uint8_t bit = (uint8_t)(1U << ((memory->used + done) % 8));
        bool is_set = bc__is_valid(bitmap, offset + done);
        *byte = (uint8_t)(is_set ? *byte | bit : *byte & ~bit);
    }
    if (done < n) {
        uint8_t *to = memory->data + (memory->used + done) / 8;
        if (bitmap == NULL) {
            memset(to, 0xff, (size_t)bc__bit_bytes(n - done));
        } else {
            bc__bits_copy(to, bitmap, offset + done, n - done);
        }
    }
    memory->used += n;
    return 0;
}

/* ---- values ---- */

static const uint8_t *part_validity(const struct bc_node *node) {
    return node->null_count == 0 ? NULL : node->buffers[0];
}

/* Appends `n` ones. EINVAL: too many. */
static int append_ones(struct bc_delta_columns *columns, struct bc_growable *memory,
                       int64_t n) {
    int64_t ones = columns->ones + n;
    if (bc__bit_bytes(ones) > columns->part_bytes + ONES_BYTES_MAX) return EINVAL;
    columns->ones = ones;
    return append_bits(columns, memory, NULL, 0, n);
}

/* Appends validity bits. The column has bits for all of its values, or none. */
static int append_validity(struct part *part, struct bc_delta_column *column,
                           const struct bc_node *node, int64_t first, int64_t n) {
    const uint8_t *bitmap = part_validity(node);
    int64_t nulls = bitmap == NULL ? 0 : n - bc__bits_count(bitmap, first, n);
    if (nulls == 0 && column->null_count == 0) return 0;
    int code = 0;
    if (column->null_count == 0) {
        column->validity.used = 0;
        code = append_ones(part->columns, &column->validity, column->length);
    }
    if (code == 0) {
        code = bitmap == NULL
                   ? append_ones(part->columns, &column->validity, n)
                   : append_bits(part->columns, &column->validity, bitmap, first, n);
    }
    column->null_count += nulls;
    return code;
}

static int append_fixed(struct part *part, struct bc_delta_column *column,
                        const struct bc_node *node, int64_t first, int64_t n) {
    const struct bc_field *field = column->field;
    if (field->dictionary >= 0) {
        struct bc_node run = *node;
        run.offset = first;
        run.length = n;
        int64_t reached = bc__indices_limit(&run, field->schema->format[0]);
        if (reached > column->reached) column->reached = reached;
    }
    if (field->bits == 1) {
        return append_bits(part->columns, &column->values, node->buffers[1], first, n);
    }
    int64_t width = field->bits / 8;
    if (n == 0 || width == 0) return 0;
    const uint8_t *values = node->buffers[1];
    return append_bytes(part->columns, &column->values, values + first * width,
                        n * width);
}

/* Elements that offsets point to. */
struct range {
    int64_t first;
    int64_t n;
};

/* Appends offsets.
 * `limit`: elements of the child or the text in the part.
 * `base`: elements before this part.
 * EINVAL: the offsets decrease, exceed `limit`, or become too large. */
static int append_offsets(struct part *part, struct bc_delta_column *column,
                          const struct bc_node *node, struct range run, int64_t limit,
                          int64_t base, struct range *out_range) {
    int32_t bits = column->field->bits;
    int64_t width = bits / 8;
    uint8_t *to;
    *out_range = (struct range){0, 0};
    if (column->values.used == 0) {
        int code = extend(part->columns, &column->values, width, &to);
        if (code != 0) return code;
        memset(to, 0, (size_t)width);
    }
    if (run.n == 0) return 0;
    int code = extend(part->columns, &column->values, run.n * width, &to);
    if (code != 0) return code;
    int64_t start = bc__integer_at(node->buffers[1], bits, run.first);
    int64_t last = start;
    if (start < 0) return EINVAL;
    for (int64_t i = 0; i < run.n; i++) {
        int64_t at = bc__integer_at(node->buffers[1], bits, run.first + i + 1);
        if (at < last || at > limit) return EINVAL;
        last = at;
        bc__integer_set(to, bits, i, base + (at - start));
    }
    if (bits == 32 && base + (last - start) > INT32_MAX) return EINVAL;
    *out_range = (struct range){start, last - start};
    return 0;
}

static int append_binary(struct part *part, struct bc_delta_column *column,
                         const struct bc_node *node, int64_t first, int64_t n) {
    /* The decoder has checked that the text reaches the last offset. */
    int32_t bits = column->field->bits;
    int64_t limit =
        node->length == 0 ? 0 : bc__integer_at(node->buffers[1], bits, node->length);
    struct range range;
    int code = append_offsets(part, column, node, (struct range){first, n}, limit,
                              column->more.used, &range);
    if (code != 0 || range.n == 0) return code;
    const uint8_t *text = node->buffers[2];
    return append_bytes(part->columns, &column->more, text + range.first, range.n);
}

/* ---- views ---- */

/* The chunk of a variadic buffer of the part, and its offset in the chunk. */
struct moved {
    int32_t chunk;
    int64_t at;
};

/* Appends a variadic buffer to the last chunk, or to a new one if offsets would become
 * too large for a view. */
static int append_chunk(struct part *part, struct bc_delta_column *column,
                        const void *text, int64_t size, struct moved *out_moved) {
    size_t n = column->n_chunks;
    bool fits = n > 0 && column->chunks[n - 1].used <= INT32_MAX - size;
    if (!fits) {
        int code = bc__grow((void **)&column->chunks, &column->chunks_capacity, n + 1,
                            sizeof(column->chunks[0]));
        if (code != 0) return code;
        column->chunks[n] = (struct bc_growable){NULL, 0, 0};
        column->n_chunks = ++n;
    }
    struct bc_growable *chunk = &column->chunks[n - 1];
    *out_moved = (struct moved){(int32_t)n - 1, chunk->used};
    return append_bytes(part->columns, chunk, text, size);
}

/* Points a view to its text in the chunks. EINVAL: its text is outside its buffer. */
static int move_view(struct bc_view *view, const struct bc_node *node,
                     const struct moved *moved) {
    if (view->length < 0) return EINVAL;
    if (view->length <= BC_VIEW_INLINE_MAX) return 0;
    int64_t n_variadic = node->n_buffers - 3;
    const int64_t *sizes = node->buffers[node->n_buffers - 1];
    if (view->buffer < 0 || view->buffer >= n_variadic || view->offset < 0 ||
        (int64_t)view->offset + view->length > sizes[view->buffer]) {
        return EINVAL;
    }
    int64_t at = moved[view->buffer].at + view->offset;
    if (at > INT32_MAX) return EINVAL;
    view->buffer = moved[view->buffer].chunk;
    view->offset = (int32_t)at;
    return 0;
}

static int append_views(struct part *part, struct bc_delta_column *column,
                        const struct bc_node *node, int64_t first, int64_t n) {
    static const struct bc_view nothing;
    int64_t n_variadic = node->n_buffers - 3;
    const int64_t *sizes = node->buffers[node->n_buffers - 1];
    if (n == 0) return 0;
    struct moved *moved = bc__malloc(((size_t)n_variadic + 1) * sizeof(*moved));
    uint8_t *to = NULL;
    int code = moved == NULL ? ENOMEM : 0;
    for (int64_t i = 0; i < n_variadic && code == 0; i++) {
        code = append_chunk(part, column, node->buffers[2 + i], sizes[i], &moved[i]);
    }
    if (code == 0) code = extend(part->columns, &column->values, n * VIEW, &to);
    const uint8_t *from = (const uint8_t *)node->buffers[1] + first * VIEW;
    for (int64_t i = 0; i < n && code == 0; i++) {
        struct bc_view view = nothing;
        if (bc__is_valid(part_validity(node), first + i)) {
            memcpy(&view, from + i * VIEW, sizeof(view));
            code = move_view(&view, node, moved);
        }
        memcpy(to + i * VIEW, &view, sizeof(view));
    }
    bc__free(moved);
    return code;
}

/* ---- lists, structs, unions, run ends ---- */

static int append_list(struct part *part, int32_t index, int64_t first, int64_t n) {
    struct bc_delta_column *column = &part->columns->all[index];
    int64_t limit = part->nodes[index + 1].length;
    struct range range;
    int code = append_offsets(part, column, &part->nodes[index], (struct range){first, n},
                              limit, column[1].length, &range);
    return code != 0 ? code : append_run(part, index + 1, range.first, range.n);
}

/* Appends list views, and the whole child: the lists may have any order. */
static int append_list_views(struct part *part, int32_t index, int64_t first, int64_t n) {
    struct bc_delta_column *column = &part->columns->all[index];
    const struct bc_node *node = &part->nodes[index];
    int64_t limit = part->nodes[index + 1].length;
    int64_t base = column[1].length;
    int32_t bits = column->field->bits;
    int64_t width = bits / 8;
    if (n == 0) return 0;
    uint8_t *offsets;
    uint8_t *sizes;
    int code = extend(part->columns, &column->values, n * width, &offsets);
    if (code == 0) code = extend(part->columns, &column->more, n * width, &sizes);
    for (int64_t i = 0; i < n && code == 0; i++) {
        int64_t at = bc__integer_at(node->buffers[1], bits, first + i);
        int64_t size = bc__integer_at(node->buffers[2], bits, first + i);
        if (!bc__is_valid(part_validity(node), first + i)) at = size = 0;
        if (at < 0 || size < 0 || at > limit || size > limit - at) return EINVAL;
        if (bits == 32 && base + at > INT32_MAX) return EINVAL;
        bc__integer_set(offsets, bits, i, base + at);
        bc__integer_set(sizes, bits, i, size);
    }
    return code != 0 ? code : append_run(part, index + 1, 0, limit);
}

/* Appends the values [first, first + n) of each child. */
static int append_children(struct part *part, int32_t index, int64_t first, int64_t n) {
    const struct bc_delta_column *all = part->columns->all;
    for (int32_t c = index + 1; c < all[index].end; c = all[c].end) {
        int code = append_run(part, c, first, n);
        if (code != 0) return code;
    }
    return 0;
}

static int append_dense_union(struct part *part, int32_t index, int64_t first,
                              int64_t n) {
    struct bc_delta_column *column = &part->columns->all[index];
    const struct bc_node *node = &part->nodes[index];
    int32_t indices[UNION_IDS];
    int32_t n_children = 0;
    for (int32_t c = index + 1; c < column->end; c = part->columns->all[c].end) {
        bc_assert(n_children < UNION_IDS);
        indices[n_children++] = c;
    }
    uint8_t *to = NULL;
    int code = n == 0 ? 0 : extend(part->columns, &column->more, n * 4, &to);
    const int8_t *ids = node->buffers[0];
    for (int64_t i = 0; i < n && code == 0; i++) {
        int8_t id = ids[first + i];
        int child = id < 0 ? -1 : column->field->union_children[id];
        if (child < 0) return EINVAL;
        int64_t at = bc__integer_at(node->buffers[1], 32, first + i);
        int64_t base = part->columns->all[indices[child]].length;
        if (at < 0 || at >= part->nodes[indices[child]].length || base + at > INT32_MAX) {
            return EINVAL;
        }
        bc__integer_set(to, 32, i, base + at);
    }
    for (int32_t c = 0; c < n_children && code == 0; c++) {
        code = append_run(part, indices[c], 0, part->nodes[indices[c]].length);
    }
    return code;
}

static int append_ids(struct part *part, struct bc_delta_column *column,
                      const struct bc_node *node, int64_t first, int64_t n) {
    const int8_t *ids = node->buffers[0];
    for (int64_t i = first; i < first + n; i++) {
        if (ids[i] < 0 || column->field->union_children[ids[i]] < 0) return EINVAL;
    }
    return n == 0 ? 0 : append_bytes(part->columns, &column->values, ids + first, n);
}

/* Appends the runs that overlap [first, first + n). Their ends continue the column's. */
static int append_runs(struct part *part, int32_t index, int64_t first, int64_t n) {
    struct bc_delta_column *ends = &part->columns->all[index + 1];
    const struct bc_node *node = &part->nodes[index + 1];
    int64_t base = part->columns->all[index].length;
    int32_t bits = ends->field->bits;
    int64_t limit = bits == 16 ? INT16_MAX : bits == 32 ? INT32_MAX : INT64_MAX;
    if (node->null_count != 0 || base + n > limit) return EINVAL;
    int64_t last = 0;
    int64_t taken = 0;
    int64_t run = 0;
    for (; run < node->length && last < first + n && n > 0; run++) {
        int64_t end = bc__integer_at(node->buffers[1], bits, run);
        if (end <= last) return EINVAL;
        last = end;
        if (end <= first) continue;
        uint8_t *to;
        int code = extend(part->columns, &ends->values, bits / 8, &to);
        if (code != 0) return code;
        int64_t stop = end < first + n ? end : first + n;
        bc__integer_set(to, bits, 0, base + (stop - first));
        taken++;
    }
    if (n > 0 && last < first + n) return EINVAL;
    ends->length += taken;
    return append_run(part, ends->end, run - taken, taken);
}

static int append_values(struct part *part, int32_t index, int64_t first, int64_t n) {
    struct bc_delta_column *column = &part->columns->all[index];
    const struct bc_node *node = &part->nodes[index];
    int64_t size = column->field->list_size;
    int code;
    switch (column->field->kind) {
        case BC_LAYOUT_NULL:
            return 0;
        case BC_LAYOUT_FIXED:
            return append_fixed(part, column, node, first, n);
        case BC_LAYOUT_BINARY:
            return append_binary(part, column, node, first, n);
        case BC_LAYOUT_VIEW:
            return append_views(part, column, node, first, n);
        case BC_LAYOUT_LIST:
            return append_list(part, index, first, n);
        case BC_LAYOUT_LIST_VIEW:
            return append_list_views(part, index, first, n);
        case BC_LAYOUT_FIXED_LIST:
            /* The decoder has checked that the product does not overflow. */
            return append_run(part, index + 1, first * size, n * size);
        case BC_LAYOUT_STRUCT:
            return append_children(part, index, first, n);
        case BC_LAYOUT_SPARSE_UNION:
            code = append_ids(part, column, node, first, n);
            return code != 0 ? code : append_children(part, index, first, n);
        case BC_LAYOUT_DENSE_UNION:
            code = append_ids(part, column, node, first, n);
            return code != 0 ? code : append_dense_union(part, index, first, n);
        case BC_LAYOUT_RUN_END:
            return append_runs(part, index, first, n);
    }
    bc_assert(!"every kind is handled");
    return EINVAL;
}

/* Appends the values [first, first + n) of the node at `index`, and the values below
 * them. It is called once for each node of a part. */
static int append_run(struct part *part, int32_t index, int64_t first, int64_t n) {
    struct bc_delta_column *column = &part->columns->all[index];
    const struct bc_node *node = &part->nodes[index];
    bc_assert(node->offset == 0);
    if (first < 0 || n < 0 || first > node->length || n > node->length - first ||
        column->length > BC_LENGTH_MAX - n) {
        return EINVAL;
    }
    int code = 0;
    if (column->field->has_validity) {
        code = append_validity(part, column, node, first, n);
    }
    if (code == 0) code = append_values(part, index, first, n);
    column->length += n;
    return code;
}

/* Restores the columns after a failure. */
static void undo(struct bc_delta_columns *columns, const struct bc_delta_column *before) {
    for (int32_t i = 0; i < columns->n; i++) {
        struct bc_delta_column *column = &columns->all[i];
        const struct bc_delta_column *old = &before[i];
        column->length = old->length;
        column->null_count = old->null_count;
        column->reached = old->reached;
        column->validity.used = old->validity.used;
        column->values.used = old->values.used;
        column->more.used = old->more.used;
        while (column->n_chunks > old->n_chunks) {
            struct bc_growable *chunk = &column->chunks[--column->n_chunks];
            columns->bytes -= (uint64_t)chunk->capacity;
            bc__free(chunk->data);
        }
        if (old->n_chunks > 0) {
            column->chunks[old->n_chunks - 1].used = old->last_chunk_used;
        }
    }
}

int bc__delta_columns_append(struct bc_delta_columns *columns,
                             const struct bc_batch *part) {
    bc_assert(part->n_nodes == columns->n);
    struct bc_delta_column *before = bc__malloc((size_t)columns->n * sizeof(*before));
    if (before == NULL) return ENOMEM;
    for (int32_t i = 0; i < columns->n; i++) {
        struct bc_delta_column *column = &columns->all[i];
        size_t n = column->n_chunks;
        column->last_chunk_used = n == 0 ? 0 : column->chunks[n - 1].used;
        before[i] = *column;
    }
    const struct bc_delta_columns old = *columns;
    struct part appended = {columns, part->nodes};
    int code = append_run(&appended, 0, 0, part->nodes[0].length);
    if (code != 0) {
        undo(columns, before);
        columns->part_bytes = old.part_bytes;
        columns->ones = old.ones;
    }
    bc__free(before);
    return code;
}

void bc__delta_columns_finish(struct bc_delta_columns *columns) {
    for (int32_t i = 0; i < columns->n; i++) {
        struct bc_delta_column *column = &columns->all[i];
        bc__free(column->validity.data);
        bc__free(column->values.data);
        bc__free(column->more.data);
        for (size_t c = 0; c < column->n_chunks; c++) bc__free(column->chunks[c].data);
        bc__free(column->chunks);
    }
    for (size_t i = 0; i < columns->n_retired; i++) bc__free(columns->retired[i]);
    bc__free((void *)columns->retired);
    bc__free(columns->all);
}
