/* Messages whose buffers are larger than their rows can reach. */
#include "arrow/values.h"
#include "ipc/message_size.h"
#include "message_builder.h"
#include "schema_builder.h"

/* A buffer of a few rows with a very large size, as in a sparse file. */
static void test_buffers_larger_than_their_rows(void) {
    enum { BODY = 4 << 20 };
    const struct bc_wire_node nodes[] = {{BODY / 8, 0}};
    const struct bc_wire_node few[] = {{1, 0}};
    const struct bc_wire_buffer buffers[] = {{0, 0}, {0, BODY}};
    struct bc_wire_batch wire = {
        .rows = BODY / 8,
        .body_bytes = BODY,
        .nodes = nodes,
        .n_nodes = 1,
        .buffers = buffers,
        .n_buffers = 2,
    };
    struct bc_schema *schema = schema_of_type(1, NANOARROW_TYPE_INT64);
    for (int i = 0; i < 2; i++) {
        int64_t size;
        uint8_t *message = build_message(&wire, &size);
        struct bc_message parts;
        CHECK(bc__message_parse(&parts, message, size) == 0);
        CHECK(bc__message_fits_batch(schema, &parts) == (i == 0));
        free(message);
        wire.rows = 1;
        wire.nodes = few;
    }
    bc__schema_free(schema);
}

/* A column of one row, and the buffers in its message. */
struct reach {
    const char *format;
    int64_t n_children;
    const void *row; /* 64 bytes of the body, used by the buffers below */
    struct bc_wire_buffer buffers[6];
    size_t n_buffers;
    bool is_far;
};

/* Children have as many values as the offsets and sizes reach, variadic buffers as much
 * text as the views do. */
static void test_children_larger_than_their_rows(void) {
    enum { BODY = 4 << 20, REST = BODY - 64, ROW = 64 };
    static const struct bc_view near_view[4] = {{20, "", 0, 0}};
    static const struct bc_view far_view[4] = {{REST, "", 0, 0}};
    static const struct bc_view inlined[4] = {{12, "", 0, 0}};
    static const int32_t near_list[ROW / 4] = {[2] = 30};
    static const int32_t far_list[ROW / 4] = {[2] = REST};
    static const int32_t near_child[ROW / 4] = {[2] = 50};
    static const int32_t far_child[ROW / 4] = {[2] = REST - 1};
    const struct bc_wire_buffer rest = {64, REST};
    const struct reach all[] = {
        {"vz", 0, near_view, {{0, 0}, {0, 16}, rest}, 3, false},
        {"vz", 0, inlined, {{0, 0}, {0, 16}, rest}, 3, false},
        {"vz", 0, far_view, {{0, 0}, {0, 16}, rest}, 3, true},
        {"+vl", 1, near_list, {{0, 0}, {0, 4}, {8, 4}, {0, 0}, rest}, 5, false},
        {"+vl", 1, far_list, {{0, 0}, {0, 4}, {8, 4}, {0, 0}, rest}, 5, true},
        {"+ud:0", 1, near_child, {{0, 1}, {8, 4}, {0, 0}, rest}, 4, false},
        {"+ud:0", 1, far_child, {{0, 1}, {8, 4}, {0, 0}, rest}, 4, true},
    };
    static const struct bc_wire_node nodes[] = {{1, 0}, {REST, 0}};
    static const int64_t variadic = 1;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct reach *reach = &all[i];
        struct bc_wire_batch wire = {
            .rows = 1,
            .body_bytes = BODY,
            .nodes = nodes,
            .n_nodes = 1 + (size_t)reach->n_children,
            .buffers = reach->buffers,
            .n_buffers = reach->n_buffers,
            .variadic_counts = &variadic,
            .n_variadic_counts = reach->format[0] == 'v',
        };
        int64_t size;
        uint8_t *message = build_message(&wire, &size);
        memcpy(message + size - BODY, reach->row, ROW);
        struct bc_schema *schema =
            schema_of_format(reach->format, reach->n_children, NANOARROW_TYPE_INT8);
        struct bc_message parts;
        CHECK(bc__message_parse(&parts, message, size) == 0);
        CHECK(bc__message_fits_batch(schema, &parts) == reach->is_far);
        bc__schema_free(schema);
        free(message);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_buffers_larger_than_their_rows),
        TAP_CASE(test_children_larger_than_their_rows),
    };
    return TAP_RUN(cases);
}
