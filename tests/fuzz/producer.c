#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consume.h"
#include "producer_plan.h"

static void release_array(struct ArrowArray *array) {
    FUZZ_CHECK(array->release == release_array);
    struct held *held = array->private_data;
    for (int64_t i = 0; i < held->n_children; i++) {
        struct ArrowArray *child = array->children[i];
        if (child != NULL && child->release != NULL) child->release(child);
    }
    if (array->dictionary != NULL && array->dictionary->release != NULL) {
        array->dictionary->release(array->dictionary);
    }
    array->release = NULL;
    fuzz_let_go(held);
}

/* Allocates exactly this size, sometimes unaligned. */
static void *make_buffer(struct producer *producer, struct held *held, int64_t size) {
    FUZZ_CHECK(size >= 0 && size < (1 << 24));
    size_t odd = size > 0 && fuzz_lies(producer->choices) ? 1 : 0;
    return (uint8_t *)fuzz_make(held, (size_t)size + odd) + odd;
}

static void put(void *buffer, int bits, int64_t i, int64_t value) {
    size_t width = (size_t)bits / 8;
    memcpy((uint8_t *)buffer + (size_t)i * width, &value, width);
}

/* Fills a buffer with any bytes for a few choices. */
static void scatter(struct choices *choices, uint8_t *bytes, int64_t size) {
    uint8_t seed = fuzz_choose(choices);
    for (int64_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(seed == 0 ? 'a' + i % 26 : (i * 7 + seed) * seed >> 3);
    }
}

/* Makes `n` + 1 offsets that rise to at most `limit`. One of them may be any number. The
 * last offset of a text gives its size, so a large one is true. */
static int64_t make_offsets(struct producer *producer, void *buffer, int bits, int64_t n,
                            int64_t limit, bool is_text) {
    struct choices *choices = producer->choices;
    int64_t at = fuzz_lies(choices) ? 3 : 0;
    for (int64_t i = 0; i <= n; i++) {
        put(buffer, bits, i, at);
        if (i < n) at += fuzz_choose(choices) % 5;
        if (at > limit && fuzz_choose(choices) % 8 != 0) at = limit;
    }
    int64_t last = at;
    if (fuzz_lies(choices)) {
        int64_t where = fuzz_below(choices, n + 1);
        int64_t value = fuzz_number(choices);
        if (where == n && is_text && (value > TEXT_MAX || bits == 32)) {
            value = value > 0 ? TEXT_MAX : value;
        }
        if (bits == 32) value = (int32_t)value;
        put(buffer, bits, where, value);
        if (where == n) last = value;
    }
    return last;
}

static int64_t text_size(int64_t last) {
    FUZZ_CHECK(last <= 1 << 20);
    return last < 0 ? 0 : last;
}

static void make_array(struct producer *producer, int number, int64_t length,
                       struct ArrowArray *out);

static struct ArrowArray *make_child(struct producer *producer, struct held *held,
                                     int number, int64_t length) {
    struct ArrowArray *child = fuzz_make(held, sizeof(*child));
    if (fuzz_lies(producer->choices)) {
        length = fuzz_below(producer->choices, ROWS_MAX);
    }
    make_array(producer, number, length, child);
    return child;
}

struct view {
    int32_t length;
    char prefix[4];
    int32_t buffer;
    int32_t offset;
};

static void make_views(struct producer *producer, struct ArrowArray *out,
                       struct held *held, int64_t end) {
    struct choices *choices = producer->choices;
    int64_t n = fuzz_below(choices, 3);
    out->n_buffers = 3 + n;
    out->buffers = fuzz_make(held, (size_t)out->n_buffers * sizeof(void *));
    int64_t *sizes = make_buffer(producer, held, n * 8);
    /* The sizes must be aligned: they are not values. */
    if (((uintptr_t)sizes & 7) != 0) sizes = fuzz_make(held, (size_t)n * 8 + 1);
    for (int64_t i = 0; i < n; i++) {
        sizes[i] = 32 + fuzz_choose(choices);
        uint8_t *text = make_buffer(producer, held, sizes[i]);
        memset(text, 'x', (size_t)sizes[i]);
        out->buffers[2 + i] = text;
        if (fuzz_lies(choices)) sizes[i] = -sizes[i];
    }
    out->buffers[2 + n] = n == 0 && fuzz_lies(choices) ? NULL : sizes;
    uint8_t *views = make_buffer(producer, held, end * 16);
    for (int64_t i = 0; i < end; i++) {
        struct view view = {.length = fuzz_choose(choices) % 24};
        if (view.length > 12) {
            memcpy(view.prefix, "xxxx", 4);
            view.buffer = (int32_t)(n == 0 ? 0 : i % n);
            view.offset = fuzz_choose(choices) % 16;
        }
        if (fuzz_lies(choices)) {
            int32_t value = (int32_t)fuzz_number(choices);
            int64_t which = fuzz_below(choices, 3);
            if (which == 0) view.length = value;
            if (which == 1) view.buffer = value;
            if (which == 2) view.offset = value;
        }
        memcpy(views + i * 16, &view, sizeof(view));
    }
    out->buffers[1] = views;
}

static void make_union(struct producer *producer, const struct field *field,
                       struct ArrowArray *out, struct held *held, int64_t end) {
    struct choices *choices = producer->choices;
    int8_t *ids = make_buffer(producer, held, end);
    uint8_t *offsets = NULL;
    if (field->kind->shape == DENSE) offsets = make_buffer(producer, held, end * 4);
    int64_t n[2] = {0, 0};
    for (int64_t i = 0; i < end; i++) {
        int which = fuzz_choose(choices) % 2;
        ids[i] = which == 0 ? 0 : 5;
        if (offsets != NULL) put(offsets, 32, i, n[which]++);
        if (fuzz_lies(choices)) ids[i] = (int8_t)fuzz_choose(choices);
        if (offsets != NULL && fuzz_lies(choices))
            put(offsets, 32, i, fuzz_number(choices));
    }
    out->buffers[0] = ids;
    if (offsets != NULL) out->buffers[1] = offsets;
    for (int c = 0; c < 2; c++) {
        int64_t length = offsets == NULL ? end : n[c];
        out->children[c] = make_child(producer, held, field->children[c], length);
    }
}

static void make_runs(struct producer *producer, const struct field *field,
                      struct ArrowArray *out, struct held *held, int64_t end) {
    int64_t n = end == 0 ? 0 : 1 + fuzz_below(producer->choices, end);
    out->children[0] = make_child(producer, held, field->children[0], n);
    out->children[1] = make_child(producer, held, field->children[1], n);
    const struct ArrowArray *ends = out->children[0];
    int bits = producer->plan.fields[field->children[0]].kind->bits;
    bool is_absurd = ends->length < 0 || ends->length > 2 * ROWS_MAX ||
                     ends->offset < 0 || ends->offset > 2 * ROWS_MAX;
    if (is_absurd || ends->buffers == NULL || ends->n_buffers < 2 ||
        ends->buffers[1] == NULL) {
        return;
    }
    int64_t all = ends->offset + ends->length;
    for (int64_t i = 0; i < all; i++) {
        if (fuzz_lies(producer->choices)) continue;
        int64_t value = i + 1 >= n ? end : i + 1;
        put((void *)(uintptr_t)ends->buffers[1], bits, i, value);
    }
}

static void make_list_views(struct producer *producer, struct ArrowArray *out,
                            struct held *held, int bits, int64_t end) {
    for (int which = 1; which <= 2; which++) {
        void *buffer = make_buffer(producer, held, end * bits / 8);
        for (int64_t i = 0; i < end; i++) {
            int64_t value = fuzz_choose(producer->choices) % 12;
            bool lies = fuzz_lies(producer->choices);
            put(buffer, bits, i, lies ? fuzz_number(producer->choices) : value);
        }
        out->buffers[which] = buffer;
    }
}

/* Makes the buffers after the validity, and the children, for values up to `end`. */
static void make_values(struct producer *producer, const struct field *field,
                        struct ArrowArray *out, struct held *held, int64_t end) {
    struct choices *choices = producer->choices;
    int bits = field->kind->bits;
    int64_t reach = 0;
    void *buffer;
    switch (field->kind->shape) {
        case NOTHING:
            return;
        case FLAT:
        case BITS:
            buffer = make_buffer(producer, held, (end * bits + 7) / 8);
            scatter(choices, buffer, (end * bits + 7) / 8);
            out->buffers[1] = buffer;
            return;
        case BINARY:
            buffer = make_buffer(producer, held, (end + 1) * bits / 8);
            reach = text_size(make_offsets(producer, buffer, bits, end, TEXT_MAX, true));
            out->buffers[1] = buffer;
            buffer = make_buffer(producer, held, reach);
            scatter(choices, buffer, reach);
            out->buffers[2] = buffer;
            return;
        case VIEWS:
            make_views(producer, out, held, end);
            return;
        case LIST:
            buffer = make_buffer(producer, held, (end + 1) * bits / 8);
            reach = make_offsets(producer, buffer, bits, end, ROWS_MAX, false);
            out->buffers[1] = buffer;
            reach = reach < 0 || reach > ROWS_MAX ? ROWS_MAX : reach;
            out->children[0] = make_child(producer, held, field->children[0], reach);
            return;
        case LIST_VIEW:
            make_list_views(producer, out, held, bits, end);
            out->children[0] = make_child(producer, held, field->children[0], 24);
            return;
        case FIXED_LIST:
            out->children[0] = make_child(producer, held, field->children[0], end * bits);
            return;
        case STRUCT:
            for (int c = 0; c < field->n_children; c++) {
                out->children[c] = make_child(producer, held, field->children[c], end);
            }
            return;
        case SPARSE:
        case DENSE:
            make_union(producer, field, out, held, end);
            return;
        case RUNS:
            make_runs(producer, field, out, held, end);
            return;
    }
}

/* Makes the counts of an array lie. */
static void lie(struct producer *producer, enum shape shape, struct ArrowArray *array) {
    struct choices *choices = producer->choices;
    int64_t *const counts[] = {&array->length, &array->offset, &array->null_count};
    int64_t which = fuzz_below(choices, 8);
    int64_t value = fuzz_number(choices);
    int64_t right = which < 3 ? *counts[which] : 0;
    /* It has fewer values than there are, or absurdly many. The last offset of a text
     * says how much there is, and the last buffer of views too: these stay the last. */
    bool is_absurd = value < 0 || value > INT64_MAX / 4096;
    if (shape == BINARY && !is_absurd) return;
    if (shape == VIEWS && which == 3) return;
    if (which == 0 && (is_absurd || value < right)) array->length = value;
    if (which == 1 && (is_absurd || value < right)) array->offset = value;
    if (which == 2) array->null_count = value;
    if (which == 3 && array->n_buffers > 0) array->n_buffers--;
    if (which == 4 && array->n_children > 0) array->buffers = NULL;
    if (which == 5 && array->n_buffers > 0) {
        array->buffers[fuzz_below(choices, array->n_buffers)] = NULL;
    }
    if (which == 6 && array->n_children > 0) {
        struct ArrowArray *child = array->children[0];
        if (child != NULL) child->release(child);
        array->children[0] = NULL;
    }
    if (which == 7 && array->dictionary != NULL) {
        array->dictionary->release(array->dictionary);
        array->dictionary = NULL;
    }
}

static int buffers_of(enum shape shape) {
    switch (shape) {
        case NOTHING:
        case RUNS:
            return 0;
        case STRUCT:
        case FIXED_LIST:
        case SPARSE:
            return 1;
        case BINARY:
        case LIST_VIEW:
            return 3;
        default:
            return 2;
    }
}

static void make_array(struct producer *producer, int number, int64_t length,
                       struct ArrowArray *out) {
    struct choices *choices = producer->choices;
    const struct field *field = &producer->plan.fields[number];
    struct held *held = fuzz_hold(producer->alive);
    int64_t offset = fuzz_lies(choices) ? 1 + fuzz_below(choices, 9) : 0;
    int64_t end = offset + length;
    *out = (struct ArrowArray){.length = length,
                               .offset = offset,
                               .n_children = field->n_children,
                               .n_buffers = buffers_of(field->kind->shape),
                               .private_data = held};
    out->release = release_array;
    if (out->n_buffers > 0) {
        out->buffers = fuzz_make(held, (size_t)out->n_buffers * sizeof(void *));
    }
    held->n_children = field->n_children;
    if (out->n_children > 0) {
        out->children = fuzz_make(held, (size_t)out->n_children * sizeof(void *));
    }
    make_values(producer, field, out, held, end);
    bool has_validity =
        out->n_buffers > 0 && field->kind->shape != SPARSE && field->kind->shape != DENSE;
    if (has_validity && fuzz_choose(choices) % 3 == 1) {
        uint8_t *bits = make_buffer(producer, held, (end + 7) / 8);
        scatter(choices, bits, (end + 7) / 8);
        out->buffers[0] = bits;
        out->null_count = -1;
    }
    if (field->dictionary >= 0) {
        int64_t values = 1 + fuzz_below(choices, 12);
        out->dictionary = make_child(producer, held, field->dictionary, values);
    }
    if (fuzz_lies(choices)) lie(producer, field->kind->shape, out);
}

/* ---- the stream ---- */

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    struct producer *producer = stream->private_data;
    if (fuzz_lies(producer->choices)) return EIO;
    fuzz_make_schema(producer, 0, out);
    return 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct producer *producer = stream->private_data;
    int64_t what = fuzz_below(producer->choices, 64);
    if (what == 63) return (int)fuzz_below(producer->choices, 120) + 1;
    if (what >= 60 || producer->batches == 0) {
        out->release = NULL;
        return 0;
    }
    producer->batches--;
    make_array(producer, 0, fuzz_below(producer->choices, ROWS_MAX), out);
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream) {
    static const char *const words[] = {NULL, "", "words", "\xc3\x28 not text"};
    static char many[4000];
    struct producer *producer = stream->private_data;
    int64_t which = fuzz_below(producer->choices, 5);
    if (which < 4) return words[which];
    /* Two bytes each, from an odd place on. */
    for (size_t i = 1; i + 2 < sizeof(many); i += 2) memcpy(many + i, "\xc3\xa9", 2);
    many[0] = 'e';
    return many;
}

static void release_stream(struct ArrowArrayStream *stream) {
    struct producer *producer = stream->private_data;
    FUZZ_CHECK(stream->release == release_stream);
    (*producer->alive)--;
    free(producer);
    stream->release = NULL;
}

void fuzz_producer(struct choices *choices, struct ArrowArrayStream *out_stream,
                   int64_t *out_alive) {
    struct producer *producer = calloc(1, sizeof(*producer));
    FUZZ_CHECK(producer != NULL);
    producer->choices = choices;
    producer->alive = out_alive;
    producer->batches = 1 + fuzz_below(choices, 5);
    fuzz_plan(&producer->plan, choices);
    *out_alive = 1;
    *out_stream = (struct ArrowArrayStream){get_schema, get_next, get_last_error,
                                            release_stream, producer};
}
