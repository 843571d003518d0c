#include "ipc/dictionary_change.h"

#include <string.h>

#include "arrow/values.h"

/* A node of flat values. */
struct flat {
    const uint8_t *values; /* the first value; of text, the first offset */
    const uint8_t *text;   /* its first byte */
    int64_t bytes;         /* of the text */
};

/* Returns whether the values are flat. Text after the last offset is not read: its buffer
 * may end there. */
static bool is_flat(const struct bc_field *field, const struct bc_node *node,
                    struct flat *out) {
    int64_t width = field->bits / 8;
    bool is_binary = field->kind == BC_LAYOUT_BINARY;
    if (!is_binary && field->kind != BC_LAYOUT_FIXED) return false;
    if (width == 0 || field->bits % 8 != 0) return false;
    if (node->length == 0 || (node->null_count != 0 && node->buffers[0] != NULL)) {
        return false;
    }
    *out =
        (struct flat){(const uint8_t *)node->buffers[1] + node->offset * width, NULL, 0};
    if (!is_binary) return true;
    int64_t start = bc__integer_at(out->values, field->bits, 0);
    int64_t end = bc__integer_at(out->values, field->bits, node->length);
    if (start < 0 || end < start) return false;
    out->bytes = end - start;
    if (out->bytes > 0 && node->buffers[2] == NULL) return false;
    if (out->bytes > 0) out->text = (const uint8_t *)node->buffers[2] + start;
    return true;
}

/* Returns whether the bytes are equal. Bytes at the same address are not read. */
static bool same_bytes(const uint8_t *a, const uint8_t *b, int64_t n) {
    return a == b || n == 0 || memcmp(a, b, (size_t)n) == 0;
}

/* Returns whether the first `n + 1` offsets, less the first one, are equal. */
static bool same_offsets(int32_t bits, const uint8_t *a, const uint8_t *b, int64_t n) {
    int64_t shift = bc__integer_at(b, bits, 0) - bc__integer_at(a, bits, 0);
    if (shift == 0) return same_bytes(a, b, (n + 1) * (bits / 8));
    for (int64_t i = 0; i <= n; i++) {
        int64_t moved;
        if (__builtin_add_overflow(bc__integer_at(a, bits, i), shift, &moved) ||
            bc__integer_at(b, bits, i) != moved) {
            return false;
        }
    }
    return true;
}

enum bc_dictionary_change bc__dictionary_change_of(const struct bc_field *field,
                                                   const struct bc_node *before,
                                                   const struct bc_node *values) {
    struct flat old;
    struct flat new;
    if (before->length > values->length || !is_flat(field, before, &old) ||
        !is_flat(field, values, &new)) {
        return BC_CHANGE_REPLACED;
    }
    if (field->kind == BC_LAYOUT_FIXED) {
        int64_t size = before->length * (field->bits / 8);
        if (!same_bytes(old.values, new.values, size)) return BC_CHANGE_REPLACED;
    } else if (new.bytes < old.bytes ||
               !same_offsets(field->bits, old.values, new.values, before->length) ||
               !same_bytes(old.text, new.text, old.bytes)) {
        return BC_CHANGE_REPLACED;
    }
    return before->length == values->length ? BC_CHANGE_NONE : BC_CHANGE_APPENDED;
}
