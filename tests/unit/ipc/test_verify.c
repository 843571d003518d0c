/* The measurement of the columns in a message. */
#include "ipc/verify.h"
#include "message_builder.h"
#include "schema_builder.h"

/* A column must not use the buffers of an earlier column. */
static void test_variadic_counts(void) {
    enum { COLUMNS = 4, N_BUFFERS = 40 };
    const int64_t counts[] = {N_BUFFERS - 2, -N_BUFFERS - 2, N_BUFFERS - 2, 0};
    static const struct bc_wire_node nodes[COLUMNS];
    static const struct bc_wire_buffer buffers[N_BUFFERS];
    const struct bc_wire_batch wire = {
        .nodes = nodes,
        .n_nodes = COLUMNS,
        .buffers = buffers,
        .n_buffers = N_BUFFERS,
        .variadic_counts = counts,
        .n_variadic_counts = COLUMNS,
    };
    int64_t size;
    uint8_t *message = build_message(&wire, &size);
    struct bc_schema *schema = schema_of_type(COLUMNS, NANOARROW_TYPE_STRING_VIEW);
    int64_t columns[COLUMNS] = {0};
    struct bc_message parts;
    CHECK(bc__message_parse(&parts, message, size) == 0);
    CHECK(bc__measure_columns(schema, &parts, columns) == EINVAL);
    free(message);
    bc__schema_free(schema);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_variadic_counts),
    };
    return TAP_RUN(cases);
}
