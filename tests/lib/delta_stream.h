/* A stream whose batches have deltas of nested values with nulls, in either byte order.
 *
 * Each batch has one row. Its dictionary has PART values more than that of the batch
 * before, but at the start of a chain. Value number g of a chain is a struct:
 *
 *     b   g is odd; null where g % 5 is 1
 *     v   "value number g", a view
 *     l   g and g + 1, but nothing where g % 3 is 0 */
#ifndef BC_TESTS_LIB_DELTA_STREAM_H
#define BC_TESTS_LIB_DELTA_STREAM_H

#include "arrow/values.h"
#include "counting_source.h"
#include "message_builder.h"

enum { DELTA_PART = 3, DELTA_SLOT = 64, DELTA_SLOTS = 6, DELTA_TEXT = 20 };

static inline uint16_t delta_16(bool big, int64_t value) {
    return big ? __builtin_bswap16((uint16_t)value) : (uint16_t)value;
}

static inline int32_t delta_32(bool big, int64_t value) {
    return big ? (int32_t)__builtin_bswap32((uint32_t)value) : (int32_t)value;
}

static inline void delta_add_child(struct ArrowSchema *child, const char *name,
                                   enum ArrowType type) {
    ArrowSchemaInit(child);
    CHECK(ArrowSchemaSetType(child, type) == 0 && ArrowSchemaSetName(child, name) == 0);
}

static inline struct bc_schema *delta_schema(void) {
    struct ArrowSchema c_schema;
    ArrowSchemaInit(&c_schema);
    CHECK(ArrowSchemaSetTypeStruct(&c_schema, 1) == 0);
    struct ArrowSchema *column = c_schema.children[0];
    CHECK(ArrowSchemaSetType(column, NANOARROW_TYPE_INT32) == 0);
    CHECK(ArrowSchemaAllocateDictionary(column) == 0);
    struct ArrowSchema *values = column->dictionary;
    ArrowSchemaInit(values);
    CHECK(ArrowSchemaSetFormat(values, "+s") == 0);
    CHECK(ArrowSchemaAllocateChildren(values, 3) == 0);
    delta_add_child(values->children[0], "b", NANOARROW_TYPE_BOOL);
    delta_add_child(values->children[1], "v", NANOARROW_TYPE_STRING_VIEW);
    delta_add_child(values->children[2], "l", NANOARROW_TYPE_LIST);
    CHECK(ArrowSchemaSetType(values->children[2]->children[0], NANOARROW_TYPE_INT16) ==
          0);
    struct bc_schema *schema;
    CHECK(bc__schema_new(&c_schema, &schema, NULL) == 0);
    c_schema.release(&c_schema);
    return schema;
}

/* Marks the schema of a message as big-endian. The schema's table gets a new vtable at
 * the end of the message, and the byte order follows the vtable. */
static inline struct flatbuffer delta_say_big(struct flatbuffer old) {
    enum { ROOM = 32 };
    size_t end = (old.size + 7) & ~(size_t)7;
    struct flatbuffer flatbuffer = {calloc(1, end + ROOM), end + ROOM};
    CHECK(flatbuffer.bytes != NULL);
    memcpy(flatbuffer.bytes, old.bytes, old.size);
    free(old.bytes);
    uint32_t root;
    int32_t back;
    uint16_t entry;
    uint32_t offset;
    memcpy(&root, flatbuffer.bytes, sizeof(root));
    memcpy(&back, flatbuffer.bytes + root, sizeof(back));
    memcpy(&entry, flatbuffer.bytes + ((int64_t)root - back) + 4 + 2 * 2, sizeof(entry));
    memcpy(&offset, flatbuffer.bytes + root + entry, sizeof(offset));
    size_t schema = root + entry + offset;
    memcpy(&back, flatbuffer.bytes + schema, sizeof(back));
    uint16_t vtable[8] = {0};
    memcpy(vtable, flatbuffer.bytes + ((int64_t)schema - back), sizeof(uint16_t));
    CHECK(vtable[0] <= sizeof(vtable));
    memcpy(vtable, flatbuffer.bytes + ((int64_t)schema - back), vtable[0]);
    if (vtable[0] < 6) vtable[0] = 6;
    size_t at = end;
    size_t value = at + sizeof(vtable);
    vtable[2] = (uint16_t)(value - schema);
    vtable[1] = (uint16_t)(vtable[2] + 2);
    memcpy(flatbuffer.bytes + at, vtable, sizeof(vtable));
    flatbuffer.bytes[value] = 1;
    back = (int32_t)((int64_t)schema - (int64_t)at);
    memcpy(flatbuffer.bytes + schema, &back, sizeof(back));
    return flatbuffer;
}

static inline void delta_write_part(FILE *file, int64_t id, int64_t part, bool big) {
    uint8_t body[DELTA_SLOTS][DELTA_SLOT] = {{0}};
    int64_t nulls = 0;
    uint16_t n_items = 0;
    int32_t offset = 0;
    for (int k = 0; k < DELTA_PART; k++) {
        int64_t g = part * DELTA_PART + k;
        nulls += g % 5 == 1;
        body[0][0] |= (uint8_t)((g % 5 != 1) << k);
        body[1][0] |= (uint8_t)((g % 2) << k);
        char text[DELTA_TEXT + 1];
        int length = snprintf(text, sizeof(text), "value number %lld", (long long)g);
        struct bc_view view = {delta_32(big, length), "", 0,
                               delta_32(big, k * DELTA_TEXT)};
        memcpy(view.prefix, text, sizeof(view.prefix));
        memcpy(body[2] + k * (int)sizeof(view), &view, sizeof(view));
        memcpy(body[3] + k * DELTA_TEXT, text, (size_t)length);
        for (int i = 0; i < 2 && g % 3 != 0; i++) {
            uint16_t item = delta_16(big, g + i);
            memcpy(body[5] + 2 * n_items++, &item, sizeof(item));
        }
        offset = delta_32(big, n_items);
        memcpy(body[4] + 4 * (k + 1), &offset, sizeof(offset));
    }
    const struct bc_wire_node nodes[] = {{DELTA_PART, 0},
                                         {DELTA_PART, nulls},
                                         {DELTA_PART, 0},
                                         {DELTA_PART, 0},
                                         {n_items, 0}};
    struct bc_wire_buffer buffers[] = {{0, 0},
                                       {0, 1},
                                       {DELTA_SLOT, 1},
                                       {0, 0},
                                       {2 * DELTA_SLOT, DELTA_PART * 16},
                                       {3 * DELTA_SLOT, DELTA_PART * DELTA_TEXT},
                                       {0, 0},
                                       {4 * DELTA_SLOT, 4 * (DELTA_PART + 1)},
                                       {0, 0},
                                       {5 * DELTA_SLOT, 2 * n_items}};
    static const int64_t variadic = 1;
    const struct bc_wire_batch wire = {
        .is_dictionary = true,
        .is_delta = part > 0,
        .dictionary_id = id,
        .rows = DELTA_PART,
        .body_bytes = sizeof(body),
        .nodes = nodes,
        .n_nodes = sizeof(nodes) / sizeof(nodes[0]),
        .buffers = buffers,
        .n_buffers = sizeof(buffers) / sizeof(buffers[0]),
        .variadic_counts = &variadic,
        .n_variadic_counts = 1,
    };
    write_message(file, build_batch_message(&wire), body, sizeof(body));
}

/* Writes `batches` batches. Each chain of deltas has `parts` batches. */
static inline void delta_write(const char *path, int64_t batches, int64_t parts,
                               bool big) {
    struct bc_schema *schema = delta_schema();
    int64_t id = schema->fields[1].dictionary_id;
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    struct flatbuffer metadata = build_schema_message(schema, NULL);
    write_message(file, big ? delta_say_big(metadata) : metadata, NULL, 0);
    bc__schema_free(schema);
    for (int64_t i = 0; i < batches; i++) {
        int64_t part = i % parts;
        delta_write_part(file, id, part, big);
        uint8_t body[DELTA_SLOT] = {0};
        int32_t index = delta_32(big, (part + 1) * DELTA_PART - 1);
        memcpy(body, &index, sizeof(index));
        const struct bc_wire_node node = {1, 0};
        const struct bc_wire_buffer buffers[] = {{0, 0}, {0, sizeof(index)}};
        const struct bc_wire_batch wire = {.rows = 1,
                                           .body_bytes = sizeof(body),
                                           .nodes = &node,
                                           .n_nodes = 1,
                                           .buffers = buffers,
                                           .n_buffers = 2};
        write_message(file, build_batch_message(&wire), body, sizeof(body));
    }
    CHECK(fclose(file) == 0);
}

static inline void delta_check_value(const struct ArrowArray *values, int64_t g) {
    const struct ArrowArray *flag = values->children[0];
    const uint8_t *validity = flag->buffers[0];
    const uint8_t *flags = flag->buffers[1];
    CHECK(bc__is_valid(validity, g) == (g % 5 != 1));
    CHECK((flags[g / 8] >> (g % 8) & 1) == g % 2);
    char text[DELTA_TEXT + 1];
    int length = snprintf(text, sizeof(text), "value number %lld", (long long)g);
    const struct ArrowArray *view = values->children[1];
    struct bc_view one = ((const struct bc_view *)view->buffers[1])[g];
    CHECK(one.length == length && one.buffer < view->n_buffers - 3);
    const char *found = (const char *)view->buffers[2 + one.buffer] + one.offset;
    CHECK(memcmp(found, text, (size_t)length) == 0);
    const int32_t *offsets = values->children[2]->buffers[1];
    const int16_t *items = values->children[2]->children[0]->buffers[1];
    CHECK(offsets[g + 1] - offsets[g] == (g % 3 == 0 ? 0 : 2));
    for (int32_t i = 0; i < offsets[g + 1] - offsets[g]; i++) {
        CHECK(items[offsets[g] + i] == (int16_t)(g + i));
    }
}

/* Checks batch `number`, and releases it. */
static inline void delta_check(struct ArrowArray *array, int64_t number, int64_t parts) {
    const struct ArrowArray *values = array->children[0]->dictionary;
    int64_t n = (number % parts + 1) * DELTA_PART;
    CHECK(array->length == 1 && values->length == n);
    CHECK(*(const int32_t *)array->children[0]->buffers[1] == n - 1);
    CHECK(values->children[0]->null_count == (n + 3) / 5);
    CHECK(values->children[0]->length == n && values->children[1]->length == n);
    for (int64_t g = 0; g < n; g++) delta_check_value(values, g);
    array->release(array);
}

#endif
