#include "ipc/message_size.h"

#include <string.h>

#include "arrow/values.h"
#include "base/check.h"
#include "ipc/message.h"

/* SMALL: bytes of a body that is read without a check. SLACK: padding of a buffer. */
enum { SMALL = 1 << 20, SLACK = 64 };

/* Elements, or bytes of text, of each row that are allowed without reading the rows. */
enum { PER_ROW = 64 };

/* The encoder gathers the text of views up to this size. More is written unchanged. */
static const int64_t GATHERED_BYTES_MAX = (int64_t)60 << 30;

/* Moves past the next buffer, and returns whether it has at most `bytes` bytes. */
static bool fits_buffer(struct bc_message *message, int64_t bytes) {
    if (message->buffer >= message->wire.n_buffers) return false;
    struct bc_wire_buffer buffer = bc__wire_buffer(&message->wire, message->buffer++);
    return bc__message_contains(message, buffer) && buffer.length - SLACK <= bytes;
}

/* Returns the bytes of `elements` elements of `bits` bits, or INT64_MAX on overflow. */
static int64_t bytes_of(int64_t elements, int64_t bits) {
    int64_t all;
    return __builtin_mul_overflow(elements, bits, &all) ? INT64_MAX : bc__bit_bytes(all);
}

/* Returns the last of the `length` + 1 offsets in the next buffer. If the buffer is
 * compressed, it returns INT64_MAX. */
static int64_t last_offset(const struct bc_message *message, int64_t length,
                           int32_t bits) {
    if (message->wire.codec != BC_CODEC_NONE) return INT64_MAX;
    if (length == 0 || message->buffer >= message->wire.n_buffers) return 0;
    struct bc_wire_buffer buffer = bc__wire_buffer(&message->wire, message->buffer);
    int64_t at = length * (bits / 8);
    if (!bc__message_contains(message, buffer) || buffer.length - bits / 8 < at) return 0;
    const uint8_t *last = message->body + buffer.offset + at;
    int64_t wide;
    int32_t narrow;
    memcpy(&narrow, last, sizeof(narrow));
    if (bits == 32) return narrow;
    memcpy(&wide, last, sizeof(wide));
    return wide;
}

/* Returns the buffer `ahead` positions after the next one, or NULL if it has fewer than
 * `bytes` bytes. */
static const uint8_t *bytes_ahead(const struct bc_message *message, size_t ahead,
                                  int64_t bytes) {
    size_t index = message->buffer + ahead;
    if (index >= message->wire.n_buffers) return NULL;
    struct bc_wire_buffer buffer = bc__wire_buffer(&message->wire, index);
    bool holds = bc__message_contains(message, buffer) && buffer.length >= bytes;
    return holds ? message->body + buffer.offset : NULL;
}

/* Returns the bytes of text that `length` views have in variadic buffers. */
static int64_t view_text_bytes(const uint8_t *views, int64_t length) {
    int64_t text = 0;
    for (int64_t i = 0; i < length; i++) {
        int32_t bytes;
        memcpy(&bytes, views + i * (int64_t)sizeof(struct bc_view), sizeof(bytes));
        if (bytes > BC_VIEW_INLINE_MAX) text += bytes;
    }
    return text;
}

/* Moves past the variadic buffers of `length` views, and returns whether the views reach
 * three quarters of the text. Otherwise the encoder would have gathered the text. */
static bool fits_variadic(struct bc_message *message, const uint8_t *views,
                          int64_t length) {
    if (message->view >= message->wire.n_variadic_counts) return false;
    int64_t n = bc__wire_variadic_count(&message->wire, message->view++);
    if (n < 0 || (uint64_t)n > message->wire.n_buffers - message->buffer) return false;
    int64_t bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t more = bc__wire_buffer(&message->wire, message->buffer++).length;
        if (more > SLACK) bytes += more - SLACK;
    }
    if (message->wire.codec != BC_CODEC_NONE || bytes / PER_ROW <= length) return true;
    if (views == NULL) return false;
    int64_t text = view_text_bytes(views, length);
    return bytes - bytes / 4 <= text || text > GATHERED_BYTES_MAX;
}

/* Returns an unaligned integer of 32 or 64 bits. */
static int64_t unaligned_integer(const uint8_t *integers, int32_t bits, int64_t index) {
    int64_t wide;
    int32_t narrow;
    if (bits == 64) {
        memcpy(&wide, integers + index * 8, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, integers + index * 4, sizeof(narrow));
    return narrow;
}

/* Returns a bound of the children's length. Each row reaches from its offset up to its
 * offset and size.
 * `sizes`: NULL means size 1. */
static int64_t children_length_max(const struct bc_message *message,
                                   const uint8_t *offsets, const uint8_t *sizes,
                                   int32_t bits, int64_t length) {
    int64_t reach = 0;
    if (message->wire.codec != BC_CODEC_NONE) return INT64_MAX;
    if (offsets == NULL) return 0;
    for (int64_t i = 0; i < length; i++) {
        int64_t size = sizes == NULL ? 1 : unaligned_integer(sizes, bits, i);
        int64_t end;
        if (__builtin_add_overflow(unaligned_integer(offsets, bits, i), size, &end))
            continue;
        if (end > reach) reach = end;
    }
    return reach > length * PER_ROW ? reach : length * PER_ROW;
}

/* Moves past a field and all fields below it, and returns whether their buffers fit. It
 * must have at most `most` values. */
static bool fits_field(struct bc_message *message, const struct bc_schema *schema,
                       int32_t index, int64_t most) {
    const struct bc_field *field = &schema->fields[index];
    if (message->node >= message->wire.n_nodes) return false;
    int64_t length = bc__wire_node(&message->wire, message->node++).length;
    if (length < 0 || length > BC_LENGTH_MAX || length > most) return false;
    bool right = !field->has_validity || fits_buffer(message, bc__bit_bytes(length));
    int64_t each = length; /* bound of the children's length */
    int64_t last;
    const uint8_t *first;
    const uint8_t *second;
    switch (field->kind) {
        case BC_LAYOUT_FIXED:
            right = right && fits_buffer(message, bytes_of(length, field->bits));
            break;
        case BC_LAYOUT_BINARY:
        case BC_LAYOUT_LIST:
            last = last_offset(message, length, field->bits);
            each = last;
            right = right && fits_buffer(message, bytes_of(length + 1, field->bits));
            if (field->kind == BC_LAYOUT_BINARY)
                right = right && fits_buffer(message, last);
            break;
        case BC_LAYOUT_VIEW:
            first = bytes_ahead(message, 0, length * 16);
            right = right && fits_buffer(message, length * 16) &&
                    fits_variadic(message, first, length);
            break;
        case BC_LAYOUT_LIST_VIEW:
            first = bytes_ahead(message, 0, length * (field->bits / 8));
            second = bytes_ahead(message, 1, length * (field->bits / 8));
            if (second == NULL) first = NULL;
            each = children_length_max(message, first, second, field->bits, length);
            for (int i = 0; i < 2; i++) {
                right = right && fits_buffer(message, bytes_of(length, field->bits));
            }
            break;
        case BC_LAYOUT_FIXED_LIST:
            if (__builtin_mul_overflow(length, field->list_size, &each)) right = false;
            break;
        case BC_LAYOUT_SPARSE_UNION:
            right = right && fits_buffer(message, length);
            break;
        case BC_LAYOUT_DENSE_UNION:
            first = bytes_ahead(message, 1, length * 4);
            each = children_length_max(message, first, NULL, 32, length);
            right =
                right && fits_buffer(message, length) && fits_buffer(message, length * 4);
            break;
        default:
            break;
    }
    for (int32_t c = 0; c < field->n_children && right; c++) {
        right = fits_field(message, schema, field->first_child + c, each);
    }
    return right;
}

bool bc__message_fits_batch(const struct bc_schema *schema,
                            const struct bc_message *message) {
    if (message->wire.body_bytes <= SMALL) return true;
    struct bc_message walk = *message;
    const struct bc_field *root = &schema->fields[0];
    for (int32_t c = 0; c < root->n_children; c++) {
        if (!fits_field(&walk, schema, root->first_child + c, message->wire.rows))
            return false;
    }
    return true;
}

bool bc__message_fits_dictionary(const struct bc_schema *schema, int32_t values,
                                 const struct bc_message *message) {
    if (message->wire.body_bytes <= SMALL) return true;
    struct bc_message walk = *message;
    return fits_field(&walk, schema, values, message->wire.rows);
}
