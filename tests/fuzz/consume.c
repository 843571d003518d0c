#include "consume.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many bytes of each overlapping view are checked. */
enum { VIEW_BYTES_MAX = 1 << 20 };

struct view {
    int32_t length;
    uint8_t prefix[4];
    int32_t buffer;
    int32_t offset;
};

/* A sink for the values, so that the compiler keeps the reads. */
static volatile uint8_t sink;

_Noreturn void fuzz_fail(const char *file, int line, const char *words) {
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, words);
    abort();
}

/* Every eighth byte, and the last: closer than the zones that a sanitizer puts around
 * memory are wide. */
static void touch(const void *data, int64_t start, int64_t size) {
    const uint8_t *bytes = data;
    FUZZ_CHECK(start >= 0 && size >= 0 && (bytes != NULL || size == 0));
    uint8_t sum = 0;
    for (int64_t i = 0; i < size; i += 8) sum = (uint8_t)(sum + bytes[start + i]);
    if (size > 0) sum = (uint8_t)(sum + bytes[start + size - 1]);
    sink = sum;
}

static void touch_values(const struct ArrowArray *array, int which, int64_t width,
                         size_t alignment) {
    const void *values = array->buffers[which];
    FUZZ_CHECK(((uintptr_t)values & (alignment - 1)) == 0);
    touch(values, array->offset * width, array->length * width);
}

static int64_t end_of(const struct ArrowArray *array) {
    return array->offset + array->length;
}

static bool bit_at(const uint8_t *bits, int64_t i) {
    return (bits[i / 8] >> (i % 8) & 1) != 0;
}

static bool is_valid(const struct ArrowArray *array, int64_t i) {
    if (array->null_count == 0) return true;
    return array->buffers[0] == NULL || bit_at(array->buffers[0], i);
}

static void check_validity(const struct ArrowArray *array) {
    const uint8_t *bits = array->buffers[0];
    if (bits == NULL) {
        FUZZ_CHECK(array->null_count <= 0);
        return;
    }
    int64_t nulls = 0;
    for (int64_t i = array->offset; i < end_of(array); i++) nulls += !bit_at(bits, i);
    FUZZ_CHECK(array->null_count == -1 || array->null_count == nulls);
}

/* Decodes UTF-8, and checks that each character is allowed. */
static bool is_text(const uint8_t *text, int64_t size) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (int64_t i = 0; i < size;) {
        uint8_t first = text[i++];
        int more = first < 0x80 ? 0 : first < 0xC0 ? -1 : first < 0xE0 ? 1 : 2;
        if (first >= 0xF0) more = first < 0xF8 ? 3 : -1;
        if (more < 0 || size - i < more) return false;
        uint32_t character = more == 0 ? first : first & (0x3FU >> more);
        for (int n = 0; n < more; n++, i++) {
            if ((text[i] & 0xC0) != 0x80) return false;
            character = character << 6 | (text[i] & 0x3F);
        }
        if (character < least[more] || character > 0x10FFFF) return false;
        if (character >= 0xD800 && character < 0xE000) return false;
    }
    return true;
}

static int64_t integer_at(const void *values, int bits, int64_t i) {
    switch (bits) {
        case 8:
            return ((const int8_t *)values)[i];
        case 16:
            return ((const int16_t *)values)[i];
        case 32:
            return ((const int32_t *)values)[i];
        default:
            return ((const int64_t *)values)[i];
    }
}

/* Checks that all offsets are from 0 to `limit`. Returns the first and the last one. */
static void check_offsets(const struct ArrowArray *array, int bits, int64_t limit,
                          int64_t *out_first, int64_t *out_last) {
    const void *offsets = array->buffers[1];
    *out_first = 0;
    *out_last = 0;
    FUZZ_CHECK(((uintptr_t)offsets & (size_t)(bits / 8 - 1)) == 0);
    if (array->length == 0) {
        /* Some consumers read the first offset of an empty array. */
        FUZZ_CHECK(offsets != NULL && integer_at(offsets, bits, array->offset) == 0);
        return;
    }
    int64_t before = integer_at(offsets, bits, array->offset);
    *out_first = before;
    FUZZ_CHECK(before >= 0);
    for (int64_t i = array->offset + 1; i <= end_of(array); i++) {
        int64_t at = integer_at(offsets, bits, i);
        FUZZ_CHECK(at >= before && at <= limit);
        before = at;
    }
    *out_last = before;
}

static void consume_binary(const struct ArrowArray *array, int bits, bool text) {
    int64_t first;
    int64_t last;
    check_offsets(array, bits, INT64_MAX, &first, &last);
    touch(array->buffers[2], first, last - first);
    if (!text) return;
    const uint8_t *data = array->buffers[2];
    for (int64_t i = array->offset; i < end_of(array); i++) {
        if (!is_valid(array, i)) continue;
        int64_t start = integer_at(array->buffers[1], bits, i);
        int64_t size = integer_at(array->buffers[1], bits, i + 1) - start;
        FUZZ_CHECK(size == 0 || is_text(data + start, size));
    }
}

static void consume_views(const struct ArrowArray *array, bool text) {
    FUZZ_CHECK(array->n_buffers >= 3);
    touch_values(array, 1, sizeof(struct view), 8);
    const struct view *views = array->buffers[1];
    int64_t n_buffers = array->n_buffers - 3;
    const int64_t *sizes = array->buffers[array->n_buffers - 1];
    for (int64_t i = 0; i < n_buffers; i++) touch(array->buffers[2 + i], 0, sizes[i]);
    int64_t looked_at = 0;
    for (int64_t i = array->offset; i < end_of(array); i++) {
        if (!is_valid(array, i)) continue;
        const struct view *view = &views[i];
        FUZZ_CHECK(view->length >= 0);
        const uint8_t *data = view->prefix;
        if (view->length > 12) {
            FUZZ_CHECK(view->buffer >= 0 && view->buffer < n_buffers);
            FUZZ_CHECK(view->offset >= 0 &&
                       view->length <= sizes[view->buffer] - view->offset);
            data = (const uint8_t *)array->buffers[2 + view->buffer] + view->offset;
            FUZZ_CHECK(memcmp(data, view->prefix, sizeof(view->prefix)) == 0);
        }
        looked_at += view->length;
        if (text && looked_at < VIEW_BYTES_MAX) FUZZ_CHECK(is_text(data, view->length));
    }
}

static void consume_list_views(const struct ArrowArray *array, int bits) {
    int64_t limit = array->children[0]->length;
    touch_values(array, 1, bits / 8, (size_t)bits / 8);
    touch_values(array, 2, bits / 8, (size_t)bits / 8);
    for (int64_t i = array->offset; i < end_of(array); i++) {
        int64_t start = integer_at(array->buffers[1], bits, i);
        int64_t size = integer_at(array->buffers[2], bits, i);
        FUZZ_CHECK(start >= 0 && size >= 0 && start <= limit && size <= limit - start);
    }
}

static void consume_union(const struct ArrowSchema *schema,
                          const struct ArrowArray *array) {
    int children[128];
    for (int i = 0; i < 128; i++) children[i] = -1;
    const char *at = schema->format + 4;
    for (int child = 0; child < schema->n_children; child++) {
        char *end;
        children[strtol(at, &end, 10) & 127] = child;
        at = end + (*end == ',');
    }
    bool dense = schema->format[2] == 'd';
    const int8_t *ids = array->buffers[0];
    if (dense) touch_values(array, 1, 4, 4);
    for (int64_t i = array->offset; i < end_of(array); i++) {
        FUZZ_CHECK(ids[i] >= 0 && children[ids[i]] >= 0);
        int64_t length = array->children[children[ids[i]]]->length;
        int64_t place = dense ? ((const int32_t *)array->buffers[1])[i] : i;
        FUZZ_CHECK(place >= 0 && place < length);
    }
}

static int bits_of(char format) {
    switch (format) {
        case 'c':
        case 'C':
            return 8;
        case 's':
        case 'S':
        case 'e':
            return 16;
        case 'i':
        case 'I':
        case 'f':
            return 32;
        default:
            return 64;
    }
}

static void consume_runs(const struct ArrowSchema *schema,
                         const struct ArrowArray *array) {
    const struct ArrowArray *ends = array->children[0];
    int bits = bits_of(schema->children[0]->format[0]);
    FUZZ_CHECK(ends->null_count == 0 && array->children[1]->length >= ends->length);
    int64_t before = 0;
    for (int64_t i = ends->offset; i < end_of(ends); i++) {
        int64_t end = integer_at(ends->buffers[1], bits, i);
        FUZZ_CHECK(end > before);
        before = end;
    }
    FUZZ_CHECK(array->length == 0 || before >= end_of(array));
}

static void check_children(const struct ArrowArray *array, int64_t each) {
    int64_t needed;
    FUZZ_CHECK(!__builtin_mul_overflow(end_of(array), each, &needed));
    for (int64_t i = 0; i < array->n_children; i++) {
        FUZZ_CHECK(array->children[i]->length >= needed);
    }
}

static void consume_nested(const struct ArrowSchema *schema,
                           const struct ArrowArray *array) {
    int64_t first;
    int64_t last;
    bool large = schema->format[1] == 'L' || schema->format[2] == 'L';
    switch (schema->format[1]) {
        case 's':
            check_children(array, 1);
            return;
        case 'l':
        case 'L':
        case 'm':
            check_offsets(array, large ? 64 : 32, array->children[0]->length, &first,
                          &last);
            return;
        case 'v':
            consume_list_views(array, large ? 64 : 32);
            return;
        case 'w':
            check_children(array, strtol(schema->format + 3, NULL, 10));
            return;
        case 'u':
            consume_union(schema, array);
            return;
        case 'r':
            consume_runs(schema, array);
            return;
        default:
            FUZZ_CHECK(!"a nested type that is not known");
    }
}

static int decimal_bits(const char *format) {
    const char *comma = strchr(format, ',');
    comma = comma == NULL ? NULL : strchr(comma + 1, ',');
    return comma == NULL ? 128 : (int)strtol(comma + 1, NULL, 10);
}

/* Bytes of a value; 0: another type. */
static int64_t width_of(const char *format) {
    if (format[0] == 'd') return decimal_bits(format) / 8;
    if (strcmp(format, "tin") == 0) return 16;
    if (strcmp(format, "tdD") == 0 || strcmp(format, "tts") == 0 ||
        strcmp(format, "ttm") == 0 || strcmp(format, "tiM") == 0) {
        return 4;
    }
    if (format[0] == 't') return 8;
    return strchr("cCsSiIlLefg", format[0]) == NULL ? 0 : bits_of(format[0]) / 8;
}

static void consume_indices(const struct ArrowSchema *schema,
                            const struct ArrowArray *array) {
    int bits = bits_of(schema->format[0]);
    bool is_signed = schema->format[0] >= 'a';
    for (int64_t i = array->offset; i < end_of(array); i++) {
        if (!is_valid(array, i)) continue;
        uint64_t index = (uint64_t)integer_at(array->buffers[1], bits, i);
        if (!is_signed && bits < 64) index &= ((uint64_t)1 << bits) - 1;
        FUZZ_CHECK(index < (uint64_t)array->dictionary->length);
    }
}

static void consume_flat(const struct ArrowSchema *schema,
                         const struct ArrowArray *array) {
    const char *format = schema->format;
    int64_t width = width_of(format);
    if (width > 0) {
        size_t alignment = strcmp(format, "tiD") == 0 ? 4 : width > 8 ? 8 : (size_t)width;
        touch_values(array, 1, width, alignment);
    } else if (format[0] == 'b') {
        int64_t first = array->offset / 8;
        if (array->length > 0) {
            touch(array->buffers[1], first, (end_of(array) - 1) / 8 + 1 - first);
        }
    } else if (format[0] == 'w') {
        touch_values(array, 1, strtol(format + 2, NULL, 10), 1);
    } else if (format[0] == 'v') {
        consume_views(array, format[1] == 'u');
    } else if (format[0] == 'z' || format[0] == 'u') {
        consume_binary(array, 32, format[0] == 'u');
    } else {
        FUZZ_CHECK(format[0] == 'Z' || format[0] == 'U');
        consume_binary(array, 64, format[0] == 'U');
    }
}

void fuzz_consume(const struct ArrowSchema *schema, const struct ArrowArray *array) {
    FUZZ_CHECK(array->release != NULL && array->length >= 0 && array->offset >= 0);
    FUZZ_CHECK(array->null_count >= -1 && array->null_count <= array->length);
    FUZZ_CHECK(array->n_children == schema->n_children);
    FUZZ_CHECK((array->dictionary == NULL) == (schema->dictionary == NULL));
    const char *format = schema->format;
    bool has_validity =
        format[0] != 'n' && strncmp(format, "+u", 2) != 0 && strcmp(format, "+r") != 0;
    if (has_validity) check_validity(array);
    for (int64_t i = 0; i < array->n_children; i++) {
        fuzz_consume(schema->children[i], array->children[i]);
    }
    if (array->dictionary != NULL) fuzz_consume(schema->dictionary, array->dictionary);
    if (format[0] == '+') {
        consume_nested(schema, array);
    } else if (format[0] != 'n') {
        consume_flat(schema, array);
    }
    if (array->dictionary != NULL) consume_indices(schema, array);
}

void fuzz_consume_statistics(struct bc_cache *cache) {
    struct ArrowSchema schema;
    struct ArrowArray array;
    struct bc_error error = {0};
    int code = bc_cache_verify_statistics(cache, &error);
    FUZZ_CHECK(code == 0 || error.message[0] != '\0');
    code = bc_cache_statistics(cache, NULL, 0, &schema, &array, &error);
    FUZZ_CHECK(code == 0 || error.message[0] != '\0');
    if (code != 0) return;
    fuzz_consume(&schema, &array);
    array.release(&array);
    schema.release(&schema);
}
