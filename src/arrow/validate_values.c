#include "arrow/validate_values.h"

#include <string.h>

#include "arrow/utf8.h"
#include "arrow/values.h"
#include "base/check.h"

/* A function that the compiler specialises for each width of its values. */
#define SPECIALISED __attribute__((always_inline)) static inline

static const struct bc_invalid_value none;

static const char not_text[] = "its text is not valid UTF-8";

static const uint8_t *node_validity(const struct bc_node *node) {
    return node->null_count == 0 ? NULL : node->buffers[0];
}

SPECIALISED struct bc_invalid_value validate_offsets(const struct bc_node *node,
                                                     int32_t bits, int64_t limit) {
    const void *offsets = node->buffers[1];
    int64_t start = bc__integer_at(offsets, bits, node->offset);
    if (start < 0)
        return (struct bc_invalid_value){"its offset is negative", node->offset};
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        int64_t end = bc__integer_at(offsets, bits, i + 1);
        if (end < start) return (struct bc_invalid_value){"its offsets decrease", i};
        if (end > limit)
            return (struct bc_invalid_value){"it reaches beyond its child", i};
        start = end;
    }
    return none;
}

struct bc_invalid_value bc__validate_offsets(const struct bc_node *node, int32_t bits,
                                             int64_t limit) {
    if (node->length == 0) return none;
    return bits == 32 ? validate_offsets(node, 32, limit)
                      : validate_offsets(node, 64, limit);
}

/* Returns whether an offset is inside a character. `end`: the last offset. */
static bool cuts_characters(const struct bc_node *node, int32_t bits, int64_t end) {
    const uint8_t *data = node->buffers[2];
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        int64_t at = bc__integer_at(node->buffers[1], bits, i);
        if (at < end && bc__utf8_continues(data[at])) return true;
    }
    return false;
}

/* It validates the text as a whole, which is faster than value by value. If this fails,
 * the cause may be the text of a null, so it validates each value. */
struct bc_invalid_value bc__validate_text(const struct bc_node *node, int32_t bits) {
    if (node->length == 0) return none;
    const void *offsets = node->buffers[1];
    const uint8_t *data = node->buffers[2];
    int64_t first = bc__integer_at(offsets, bits, node->offset);
    int64_t last = bc__integer_at(offsets, bits, bc__node_end(node));
    if (first == last || bc__utf8_is_ascii(data + first, last - first)) return none;
    if (bc__utf8_is_valid(data + first, last - first) &&
        !cuts_characters(node, bits, last)) {
        return none;
    }
    const uint8_t *validity = node_validity(node);
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        if (!bc__is_valid(validity, i)) continue;
        int64_t start = bc__integer_at(offsets, bits, i);
        int64_t end = bc__integer_at(offsets, bits, i + 1);
        if (!bc__utf8_is_valid(data + start, end - start)) {
            return (struct bc_invalid_value){not_text, i};
        }
    }
    return none;
}

/* Many views may share one text. If the views' text exceeds the buffers, the buffers are
 * validated once as a whole. If they are text, only the ends of each further view are
 * checked. If they are not, because of bytes outside all views, the views' text is
 * bounded: OVERLAP_MAX times the size of the views and buffers. */
enum { OVERLAP_MAX = 16 };

struct text {
    enum { TEXT_EACH, TEXT_WHOLE, TEXT_BOUNDED } state;
    int64_t left; /* bytes to validate before the state changes */
    int64_t bound;
};

static struct text start_text(const struct bc_node *node) {
    int64_t n_buffers = node->n_buffers - 3;
    int64_t bytes = 0;
    if (n_buffers > 0) {
        const int64_t *sizes = node->buffers[node->n_buffers - 1];
        for (int64_t i = 0; i < n_buffers; i++) bytes += sizes[i];
    }
    int64_t all = bytes + node->length * (int64_t)sizeof(struct bc_view);
    return (struct text){TEXT_EACH, bytes, all * OVERLAP_MAX};
}

static bool buffers_are_text(const struct bc_node *node) {
    const int64_t *sizes = node->buffers[node->n_buffers - 1];
    for (int64_t i = 0; i < node->n_buffers - 3; i++) {
        if (!bc__utf8_is_valid(node->buffers[2 + i], sizes[i])) return false;
    }
    return true;
}

/* Returns the reason why the text of a view is invalid, or NULL. `buffer`: the view's
 * variadic buffer, of `size` bytes. */
static const char *text_reason(struct text *text, const struct bc_node *node,
                               const struct bc_view *view, const uint8_t *buffer,
                               int64_t size) {
    if (text->state != TEXT_WHOLE) text->left -= view->length;
    if (text->state == TEXT_EACH && text->left < 0) {
        text->state = buffers_are_text(node) ? TEXT_WHOLE : TEXT_BOUNDED;
        text->left = text->bound;
    }
    int64_t end = (int64_t)view->offset + view->length;
    if (text->state == TEXT_WHOLE) {
        bool cuts = bc__utf8_continues(buffer[view->offset]) ||
                    (end < size && bc__utf8_continues(buffer[end]));
        return cuts ? not_text : NULL;
    }
    if (text->left < 0) {
        return "too many views share text in a buffer that is not all UTF-8";
    }
    return bc__utf8_is_valid(buffer + view->offset, view->length) ? NULL : not_text;
}

/* Returns the reason why the view at `at` is invalid, or NULL. `text`: NULL means that
 * the view is binary. */
static const char *view_reason(const struct bc_node *node, const uint8_t *at,
                               struct text *text) {
    struct bc_view view;
    memcpy(&view, at, sizeof(view));
    if (view.length < 0) return "its view has a negative length";
    if (view.length <= BC_VIEW_INLINE_MAX) {
        static const uint8_t zeros[BC_VIEW_INLINE_MAX];
        const uint8_t *data = at + offsetof(struct bc_view, prefix);
        if (memcmp(data + view.length, zeros,
                   (size_t)(BC_VIEW_INLINE_MAX - view.length)) != 0) {
            return "its view has something behind its text";
        }
        bool right = text == NULL || bc__utf8_is_valid(data, view.length);
        return right ? NULL : not_text;
    }
    if (view.buffer < 0 || view.buffer >= node->n_buffers - 3) {
        return "its view is into a buffer that is not there";
    }
    const int64_t *sizes = node->buffers[node->n_buffers - 1];
    const uint8_t *buffer = node->buffers[2 + view.buffer];
    if (buffer == NULL || view.offset < 0 ||
        (int64_t)view.offset + view.length > sizes[view.buffer]) {
        return "its view reaches beyond its buffer";
    }
    if (memcmp(buffer + view.offset, view.prefix, sizeof(view.prefix)) != 0) {
        return "its view has another prefix than its data";
    }
    return text == NULL ? NULL
                        : text_reason(text, node, &view, buffer, sizes[view.buffer]);
}

struct bc_invalid_value bc__validate_views(const struct bc_node *node, bool is_text) {
    const uint8_t *views = node->buffers[1];
    const uint8_t *validity = node_validity(node);
    struct text text = start_text(node);
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        if (!bc__is_valid(validity, i)) continue;
        const uint8_t *at = views + i * (int64_t)sizeof(struct bc_view);
        const char *reason = view_reason(node, at, is_text ? &text : NULL);
        if (reason != NULL) return (struct bc_invalid_value){reason, i};
    }
    return none;
}

struct bc_invalid_value bc__validate_list_views(const struct bc_node *node, int32_t bits,
                                                int64_t limit) {
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        int64_t start = bc__integer_at(node->buffers[1], bits, i);
        int64_t size = bc__integer_at(node->buffers[2], bits, i);
        if (start < 0 || size < 0) {
            return (struct bc_invalid_value){"its offset or size is negative", i};
        }
        if (start > limit || size > limit - start) {
            return (struct bc_invalid_value){"it reaches beyond its child", i};
        }
    }
    return none;
}

struct bc_invalid_value bc__validate_run_ends(const struct bc_node *node, int32_t bits) {
    int64_t last = 0;
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        int64_t end = bc__integer_at(node->buffers[1], bits, i);
        if (end <= last) return (struct bc_invalid_value){"its run has no length", i};
        last = end;
    }
    return none;
}

/* Returns an index as an unsigned integer. A negative index becomes a very large one. */
SPECIALISED uint64_t index_at(const void *indices, char format, int64_t i) {
    switch (format) {
        case 'c':
            return (uint64_t)((const int8_t *)indices)[i];
        case 'C':
            return ((const uint8_t *)indices)[i];
        case 's':
            return (uint64_t)((const int16_t *)indices)[i];
        case 'S':
            return ((const uint16_t *)indices)[i];
        case 'i':
            return (uint64_t)((const int32_t *)indices)[i];
        case 'I':
            return ((const uint32_t *)indices)[i];
        default:
            return ((const uint64_t *)indices)[i];
    }
}

SPECIALISED struct bc_invalid_value validate_indices(const struct bc_node *node,
                                                     char format, uint64_t limit) {
    const uint8_t *validity = node_validity(node);
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        if (index_at(node->buffers[1], format, i) < limit) continue;
        if (!bc__is_valid(validity, i)) continue;
        return (struct bc_invalid_value){"its index is not in its dictionary", i};
    }
    return none;
}

struct bc_invalid_value bc__validate_indices(const struct bc_node *node, char format,
                                             int64_t limit) {
    uint64_t n = limit < 0 ? 0 : (uint64_t)limit;
    switch (format) {
        case 'c':
            return validate_indices(node, 'c', n);
        case 'C':
            return validate_indices(node, 'C', n);
        case 's':
            return validate_indices(node, 's', n);
        case 'S':
            return validate_indices(node, 'S', n);
        case 'i':
            return validate_indices(node, 'i', n);
        case 'I':
            return validate_indices(node, 'I', n);
        case 'l':
        case 'L':
            return validate_indices(node, 'l', n);
        default:
            bc_assert(!"the schema has integers only as indices");
            return none;
    }
}

int64_t bc__indices_limit(const struct bc_node *node, char format) {
    const uint8_t *validity = node_validity(node);
    uint64_t limit = 0;
    for (int64_t i = node->offset; i < bc__node_end(node); i++) {
        uint64_t index = index_at(node->buffers[1], format, i);
        if (index >= limit && bc__is_valid(validity, i)) limit = index + 1;
    }
    return (int64_t)limit;
}
