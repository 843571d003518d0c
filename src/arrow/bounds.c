#include "arrow/bounds.h"

#include <errno.h>
#include <string.h>

#include "arrow/extremes.h"
#include "arrow/utf8.h"
#include "arrow/values.h"
#include "base/check.h"

enum bc_order bc__order_of(const struct bc_field *field) {
    const char *format = field->schema->format;
    switch (format[0]) {
        case 'b':
            return BC_ORDER_BOOL;
        case 'c':
        case 's':
        case 'i':
        case 'l':
        case 'd': /* decimals */
            return BC_ORDER_SIGNED;
        case 'C':
        case 'S':
        case 'I':
        case 'L':
            return BC_ORDER_UNSIGNED;
        case 'e':
        case 'f':
        case 'g':
            return BC_ORDER_FLOAT;
        case 't': /* dates, times, timestamps and durations, but no intervals */
            return format[1] == 'i' ? BC_ORDER_NONE : BC_ORDER_SIGNED;
        case 'u':
        case 'U':
            return BC_ORDER_TEXT;
        case 'z':
        case 'Z':
        case 'w':
            return BC_ORDER_BYTES;
        case 'v':
            return format[1] == 'u' ? BC_ORDER_TEXT : BC_ORDER_BYTES;
        default:
            return BC_ORDER_NONE;
    }
}

/* ---- text and bytes ---- */

#define INLINE static inline __attribute__((always_inline))

/* The first 16 bytes of a text as integers that are ordered as the bytes are, with zeros
 * after a shorter text. */
struct head {
    uint64_t first, second;
};

struct text {
    const uint8_t *bytes;
    int64_t size;
    struct head head;
};

enum { HEAD_BYTES = 16 };

/* The bytes of texts without any, whose buffer may be NULL. */
static const uint8_t no_bytes[1] = {0};

#define FIRST(n) (UINT64_MAX << (64 - 8 * (n)))
/* By the size of a text: the bytes of the head that belong to it. */
static const uint64_t head_masks[HEAD_BYTES + 1][2] = {
    {0, 0},
    {FIRST(1), 0},
    {FIRST(2), 0},
    {FIRST(3), 0},
    {FIRST(4), 0},
    {FIRST(5), 0},
    {FIRST(6), 0},
    {FIRST(7), 0},
    {UINT64_MAX, 0},
    {UINT64_MAX, FIRST(1)},
    {UINT64_MAX, FIRST(2)},
    {UINT64_MAX, FIRST(3)},
    {UINT64_MAX, FIRST(4)},
    {UINT64_MAX, FIRST(5)},
    {UINT64_MAX, FIRST(6)},
    {UINT64_MAX, FIRST(7)},
    {UINT64_MAX, UINT64_MAX},
};

/* Returns a text. `left`: the bytes from `bytes` on that can be read. */
INLINE struct text text_at(const uint8_t *bytes, int64_t size, int64_t left) {
    bc_assert(bytes != NULL && size >= 0);
    uint64_t words[2] = {0, 0};
    if (left >= HEAD_BYTES) {
        memcpy(&words[0], bytes, 8);
        memcpy(&words[1], bytes + 8, 8);
    } else if (size > 0) {
        memcpy(words, bytes, (size_t)size);
    }
    const uint64_t *masks = head_masks[size < HEAD_BYTES ? size : HEAD_BYTES];
    return (struct text){
        bytes,
        size,
        {__builtin_bswap64(words[0]) & masks[0], __builtin_bswap64(words[1]) & masks[1]}};
}

/* Most comparisons of texts end here, so it has no branch that depends on the data. */
INLINE bool is_head_less(const struct text *one, const struct text *other) {
    return (one->head.first < other->head.first) |
           ((one->head.first == other->head.first) &
            (one->head.second < other->head.second));
}

/* Compares two texts that have the same head. */
static bool is_rest_less(const struct text *one, const struct text *other) {
    int64_t shared = one->size < other->size ? one->size : other->size;
    if (shared > HEAD_BYTES) {
        int order = memcmp(one->bytes + HEAD_BYTES, other->bytes + HEAD_BYTES,
                           (size_t)(shared - HEAD_BYTES));
        if (order != 0) return order < 0;
    }
    return one->size < other->size;
}

/* The least and the greatest text so far. */
struct texts {
    bool found;
    struct text low, high;
};

INLINE void add_text(struct texts *texts, struct text text) {
    if (!texts->found) {
        *texts = (struct texts){true, text, text};
        return;
    }
    if (!is_head_less(&texts->low, &text) &&
        (is_head_less(&text, &texts->low) || is_rest_less(&text, &texts->low))) {
        texts->low = text;
    }
    if (!is_head_less(&text, &texts->high) &&
        (is_head_less(&texts->high, &text) || is_rest_less(&texts->high, &text))) {
        texts->high = text;
    }
}

static bool is_valid(const struct bc_values *values, int64_t i) {
    return bc__is_valid(values->valid, values->valid_start + i);
}

INLINE int add_offset_texts(const struct bc_values *values, int32_t bits,
                            struct texts *texts) {
    const void *offsets = values->node->buffers[1];
    const uint8_t *bytes = values->node->buffers[2];
    /* The batch's reader has checked the last offset of the array. */
    int64_t end = bc__integer_at(offsets, bits, values->start + values->length);
    int64_t at = bc__integer_at(offsets, bits, values->start);
    struct texts found = *texts;
    for (int64_t i = 0; i < values->length; i++) {
        int64_t next = bc__integer_at(offsets, bits, values->start + i + 1);
        if (at < 0 || next < at || next > end) return EINVAL;
        if (is_valid(values, i)) {
            add_text(&found,
                     text_at(end == 0 ? no_bytes : bytes + at, next - at, end - at));
        }
        at = next;
    }
    *texts = found;
    return 0;
}

static int add_view_texts(const struct bc_values *values, struct texts *texts) {
    const struct bc_node *node = values->node;
    const struct bc_view *views =
        (const struct bc_view *)node->buffers[1] + values->start;
    int64_t n_variadic = node->n_buffers - values->field->n_buffers;
    const int64_t *sizes = node->buffers[node->n_buffers - 1];
    for (int64_t i = 0; i < values->length; i++) {
        if (!is_valid(values, i)) continue;
        const struct bc_view *view = &views[i];
        if (view->length < 0) return EINVAL;
        const uint8_t *bytes = (const uint8_t *)view + sizeof(view->length);
        if (view->length > BC_VIEW_INLINE_MAX) {
            if (view->buffer < 0 || view->buffer >= n_variadic || view->offset < 0 ||
                sizes[view->buffer] - view->length < view->offset) {
                return EINVAL;
            }
            bytes = (const uint8_t *)node->buffers[2 + view->buffer] + view->offset;
        }
        add_text(texts, text_at(bytes, view->length, view->length));
    }
    return 0;
}

static int add_fixed_texts(const struct bc_values *values, struct texts *texts) {
    int64_t size = values->field->bits / 8;
    const uint8_t *bytes = values->node->buffers[1];
    for (int64_t i = 0; i < values->length; i++) {
        if (!is_valid(values, i)) continue;
        int64_t at = (values->start + i) * size;
        add_text(texts, text_at(size == 0 ? no_bytes : bytes + at, size, size));
    }
    return 0;
}

/* ---- cutting ---- */

/* Raises the last byte that can be raised, and drops the bytes after it. Returns the new
 * size, or -1 if all bytes are 0xff. */
static int raise_bytes(uint8_t *bytes, int size) {
    while (size > 0 && bytes[size - 1] == 0xff) size--;
    if (size == 0) return -1;
    bytes[size - 1]++;
    return size;
}

/* Returns the size of the text's first whole characters, at most `most` bytes of it. */
static int whole_characters(const uint8_t *text, int most) {
    while (most > 0 && bc__utf8_continues(text[most])) most--;
    return most;
}

/* Returns the character at `text`, of `size` bytes, which is valid UTF-8. */
static uint32_t character_at(const uint8_t *text, int size) {
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t character = text[0] & masks[size];
    for (int i = 1; i < size; i++) character = character << 6 | (text[i] & 0x3fU);
    return character;
}

/* Encodes a character, and returns its size. */
static int put_character(uint8_t *out, uint32_t character) {
    int size = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = size - 1; i > 0; i--, character >>= 6) {
        out[i] = (uint8_t)(0x80 | (character & 0x3f));
    }
    out[0] = (uint8_t)(leads[size] | character);
    return size;
}

/* Raises the last character that can be raised within BC_BOUND_BYTES, and drops the
 * characters after it. The text is valid UTF-8. Returns the new size, or -1 if there is
 * none. */
static int raise_text(uint8_t *text, int size) {
    while (size > 0) {
        int start = size - 1;
        while (bc__utf8_continues(text[start])) start--;
        uint32_t next = character_at(text + start, size - start) + 1;
        if (next == 0xd800) next = 0xe000; /* past the surrogates */
        uint8_t bytes[4];
        if (next <= 0x10ffff) {
            int raised = put_character(bytes, next);
            if (start + raised <= BC_BOUND_BYTES) {
                memcpy(text + start, bytes, (size_t)raised);
                return start + raised;
            }
        }
        size = start;
    }
    return -1;
}

/* Writes a bound of one text, which is cut if it is long. Invalid UTF-8 has no bound. */
static void set_text(struct bc_bound *out, struct text text, enum bc_order order,
                     bool is_high) {
    bool is_cut = text.size > BC_BOUND_BYTES;
    int size = is_cut ? BC_BOUND_BYTES : (int)text.size;
    if (is_cut && order == BC_ORDER_TEXT) size = whole_characters(text.bytes, size);
    if (order == BC_ORDER_TEXT && !bc__utf8_is_valid(text.bytes, size)) return;
    if (size > 0) memcpy(out->bytes, text.bytes, (size_t)size);
    if (is_cut && is_high) {
        size = order == BC_ORDER_TEXT ? raise_text(out->bytes, size)
                                      : raise_bytes(out->bytes, size);
    }
    if (size < 0) return;
    out->is_known = true;
    out->is_exact = !is_cut;
    out->size = (uint8_t)size;
}

static int text_bounds(const struct bc_values *values, enum bc_order order,
                       struct bc_bounds *out) {
    struct texts texts = {.found = false};
    int code = 0;
    switch (values->field->kind) {
        case BC_LAYOUT_BINARY:
            code = values->field->bits == 32 ? add_offset_texts(values, 32, &texts)
                                             : add_offset_texts(values, 64, &texts);
            break;
        case BC_LAYOUT_VIEW:
            code = add_view_texts(values, &texts);
            break;
        default:
            bc_assert(values->field->kind == BC_LAYOUT_FIXED);
            code = add_fixed_texts(values, &texts);
    }
    if (code != 0 || !texts.found) return code;
    set_text(&out->low, texts.low, order, false);
    set_text(&out->high, texts.high, order, true);
    return 0;
}

/* ---- all types ---- */

static enum bc_number number_of(enum bc_order order) {
    switch (order) {
        case BC_ORDER_BOOL:
            return BC_NUMBER_BOOL;
        case BC_ORDER_SIGNED:
            return BC_NUMBER_SIGNED;
        case BC_ORDER_UNSIGNED:
            return BC_NUMBER_UNSIGNED;
        default:
            return BC_NUMBER_FLOAT;
    }
}

int bc__bounds(const struct bc_values *values, enum bc_order order,
               struct bc_bounds *out_bounds) {
    bc_assert(order != BC_ORDER_NONE && values->start >= 0);
    memset(out_bounds, 0, sizeof(*out_bounds));
    /* The buffers of an empty array may be NULL. */
    if (values->length == 0) return 0;
    if (order == BC_ORDER_TEXT || order == BC_ORDER_BYTES) {
        return text_bounds(values, order, out_bounds);
    }
    const struct bc_numbers numbers = {
        .kind = number_of(order),
        .bits = values->field->bits,
        .values = values->node->buffers[1],
        .start = values->start,
        .length = values->length,
        .valid = values->valid,
        .valid_start = values->valid_start,
    };
    struct bc_bound *low = &out_bounds->low;
    struct bc_bound *high = &out_bounds->high;
    if (!bc__extremes(&numbers, low->bytes, high->bytes, &out_bounds->nans)) return 0;
    int32_t bits = values->field->bits;
    low->size = high->size = (uint8_t)(bits == 1 ? 1 : bits / 8);
    low->is_known = high->is_known = low->is_exact = high->is_exact = true;
    return 0;
}
