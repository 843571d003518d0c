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

/* ---- text and bytes ----
 *
 * The head of a text is an integer of 128 bits, in two words. It has the first 15 bytes
 * of the text, or a shorter text and zeros, and then the size, at most 16. Heads are
 * ordered as the texts are. Only texts of more than 15 bytes may differ and have equal
 * heads. So the head decides for almost all texts, without a branch that depends on the
 * data. */

#define INLINE static inline __attribute__((always_inline))

struct head {
    uint64_t high, low;
};

struct text {
    const uint8_t *bytes;
    int64_t size;
    struct head head;
};

enum { WORD = 8, HEAD_BYTES = 15, LONG = HEAD_BYTES + 1 };

/* The bytes of texts without any, whose buffer may be NULL. */
static const uint8_t no_bytes[1] = {0};

#define FIRST(n) (UINT64_MAX << (64 - 8 * (n)))
#define ALL UINT64_MAX
/* By the size of a text: the bytes of the head that belong to it. */
static const struct head head_masks[LONG + 1] = {
    {0, 0},          {FIRST(1), 0},   {FIRST(2), 0},   {FIRST(3), 0},   {FIRST(4), 0},
    {FIRST(5), 0},   {FIRST(6), 0},   {FIRST(7), 0},   {ALL, 0},        {ALL, FIRST(1)},
    {ALL, FIRST(2)}, {ALL, FIRST(3)}, {ALL, FIRST(4)}, {ALL, FIRST(5)}, {ALL, FIRST(6)},
    {ALL, FIRST(7)}, {ALL, FIRST(7)}};

/* Without a branch. */
INLINE bool is_head_less(struct head one, struct head other) {
    return (one.high < other.high) | ((one.high == other.high) & (one.low < other.low));
}

/* Returns eight bytes as an integer that is ordered as they are. */
INLINE uint64_t word_at(const uint8_t *bytes) {
    return (uint64_t)bytes[0] << 56 | (uint64_t)bytes[1] << 48 |
           (uint64_t)bytes[2] << 40 | (uint64_t)bytes[3] << 32 |
           (uint64_t)bytes[4] << 24 | (uint64_t)bytes[5] << 16 | (uint64_t)bytes[6] << 8 |
           (uint64_t)bytes[7];
}

/* Returns the head of a text. `left`: the bytes from `bytes` on that can be read. */
INLINE struct head head_of(const uint8_t *bytes, int64_t size, int64_t left) {
    bc_assert(bytes != NULL && size >= 0 && size <= left);
    uint8_t copy[2 * WORD];
    if (left < 2 * WORD) {
        memset(copy, 0, sizeof(copy));
        memcpy(copy, bytes, (size_t)left);
        bytes = copy;
    }
    unsigned counted = size < LONG ? (unsigned)size : LONG;
    struct head mask = head_masks[counted];
    return (struct head){word_at(bytes) & mask.high,
                         (word_at(bytes + WORD) & mask.low) | counted};
}

/* Compares two texts that are longer than a head, by their bytes after the head. */
static bool is_rest_less(const struct text *one, const struct text *other) {
    int64_t shared = one->size < other->size ? one->size : other->size;
    bc_assert(shared >= LONG);
    for (int64_t at = HEAD_BYTES; at < shared; at += WORD) {
        /* The last word begins earlier, with bytes that are equal. */
        int64_t start = at < shared - WORD ? at : shared - WORD;
        uint64_t words[2] = {word_at(one->bytes + start), word_at(other->bytes + start)};
        if (words[0] != words[1]) return words[0] < words[1];
    }
    return one->size < other->size;
}

static bool is_less(const struct text *one, const struct text *other) {
    if (is_head_less(one->head, other->head)) return true;
    if (is_head_less(other->head, one->head)) return false;
    return one->size > HEAD_BYTES && is_rest_less(one, other);
}

/* The least and the greatest text so far. A text replaces neither unless its head is less
 * than `below` or greater than `above`. */
struct texts {
    struct text low, high; /* without bytes until there is a text */
    struct head below, above;
};

static void replace(struct texts *texts, const struct text *text) {
    bool is_first = texts->low.bytes == NULL;
    if (is_first || is_less(text, &texts->low)) texts->low = *text;
    if (is_first || is_less(&texts->high, text)) texts->high = *text;
    /* A long text may be less than another one with the same head. The size is the last
     * byte of the head, so it carries into no other. */
    texts->below = texts->low.head;
    texts->above = texts->high.head;
    texts->below.low += texts->low.size > HEAD_BYTES;
    texts->above.low -= texts->high.size > HEAD_BYTES;
}

INLINE void add_text(struct texts *texts, const uint8_t *bytes, int64_t size,
                     int64_t left, bool valid) {
    struct head head = head_of(bytes, size, left);
    if (valid & (is_head_less(head, texts->below) | is_head_less(texts->above, head))) {
        replace(texts, &(const struct text){bytes, size, head});
    }
}

static bool is_valid(const struct bc_values *values, int64_t i) {
    return bc__is_valid(values->valid, values->valid_start + i);
}

INLINE int add_offset_texts(const struct bc_values *values, int32_t bits,
                            struct texts *texts) {
    const void *offsets = values->node->buffers[1];
    /* The batch's reader has checked the last offset of the array. */
    int64_t end = bc__integer_at(offsets, bits, values->start + values->length);
    int64_t at = bc__integer_at(offsets, bits, values->start);
    if (at < 0 || at > end) return EINVAL;
    const uint8_t *bytes = end == 0 ? no_bytes : values->node->buffers[2];
    for (int64_t i = 0; i < values->length; i++) {
        int64_t next = bc__integer_at(offsets, bits, values->start + i + 1);
        /* A lower offset has a difference of more than INT64_MAX. */
        if ((uint64_t)next - (uint64_t)at > (uint64_t)(end - at)) return EINVAL;
        add_text(texts, bytes + at, next - at, end - at, is_valid(values, i));
        at = next;
    }
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
        int64_t left = (const uint8_t *)(views + values->length) - bytes;
        if (view->length > BC_VIEW_INLINE_MAX) {
            if (view->buffer < 0 || view->buffer >= n_variadic || view->offset < 0 ||
                sizes[view->buffer] - view->length < view->offset) {
                return EINVAL;
            }
            bytes = (const uint8_t *)node->buffers[2 + view->buffer] + view->offset;
            left = sizes[view->buffer] - view->offset;
        }
        add_text(texts, bytes, view->length, left, true);
    }
    return 0;
}

static int add_fixed_texts(const struct bc_values *values, struct texts *texts) {
    int64_t size = values->field->bits / 8;
    const uint8_t *bytes = size == 0 ? no_bytes : values->node->buffers[1];
    for (int64_t i = 0; i < values->length; i++) {
        add_text(texts, bytes + (values->start + i) * size, size,
                 (values->length - i) * size, is_valid(values, i));
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
    const struct text none = {NULL, 0, {0, 0}};
    struct texts texts = {none, none, {ALL, ALL}, {0, 0}};
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
    if (code != 0 || texts.low.bytes == NULL) return code;
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
