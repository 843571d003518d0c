#include "ipc/column_ranges.h"

#include "base/alloc.h"
#include "base/check.h"
#include "ipc/checksum.h"

enum { ALIGNMENT = 64 };

struct ranges {
    struct bc_range *all;
    size_t n;
};

/* Adds [offset, offset + size), to the last range if they touch or overlap. */
static void add_range(struct ranges *ranges, int64_t offset, int64_t size) {
    if (ranges->n > 0) {
        struct bc_range *last = &ranges->all[ranges->n - 1];
        if (offset >= last->offset && offset <= last->offset + last->size) {
            int64_t end = offset + size;
            if (end > last->offset + last->size) last->size = end - last->offset;
            return;
        }
    }
    ranges->all[ranges->n++] = (struct bc_range){offset, size};
}

/* Adds the buffers [first, end), each with the padding that its checksum includes.
 * Decoding finds buffers that are not inside the body. */
static void add_buffers(struct ranges *ranges, const struct bc_message *message,
                        size_t first, size_t end) {
    const struct bc_wire_batch *wire = &message->wire;
    for (size_t i = first; i < end && i < wire->n_buffers; i++) {
        struct bc_wire_buffer buffer = bc__wire_buffer(wire, i);
        if (buffer.length == 0 || !bc__message_contains(message, buffer)) continue;
        int64_t left = wire->body_bytes - buffer.offset;
        int64_t padded = bc__round_up(buffer.length, ALIGNMENT);
        add_range(ranges, (int64_t)message->framed + buffer.offset,
                  padded < left ? padded : left);
    }
}

static int add_columns(struct ranges *ranges, const struct bc_schema *schema,
                       const struct bc_projection *projection,
                       const struct bc_message *message) {
    struct bc_message walk;
    int code = bc__message_walk_columns(message, schema, &walk);
    const struct bc_field *root = &schema->fields[0];
    for (int32_t c = 0; c < root->n_children && code == 0; c++) {
        size_t first = walk.buffer;
        code = bc__message_skip_field(&walk, schema, root->first_child + c);
        if (code == 0 && bc__projection_has(projection, c)) {
            add_buffers(ranges, message, first, walk.buffer);
        }
    }
    return code;
}

int bc__column_ranges(const struct bc_schema *schema,
                      const struct bc_projection *projection,
                      const struct bc_message *message, struct bc_range **out_ranges,
                      size_t *out_n) {
    const struct bc_wire_batch *wire = &message->wire;
    *out_ranges = NULL;
    *out_n = 0;
    if (wire->body_bytes == 0) return 0;
    struct ranges ranges = {bc__calloc(wire->n_buffers + 1, sizeof(*ranges.all)), 0};
    if (ranges.all == NULL) return ENOMEM;
    int code = 0;
    if (wire->body_bytes <= BC_SMALL_BODY_BYTES) {
        add_range(&ranges, (int64_t)message->framed, wire->body_bytes);
    } else {
        code = add_columns(&ranges, schema, projection, message);
    }
    if (code != 0 || ranges.n == 0) {
        bc__free(ranges.all);
        return code;
    }
    *out_ranges = ranges.all;
    *out_n = ranges.n;
    return 0;
}
