/* Decoding of record batches whose messages have too many or too few parts. */
#include "arrow/projection.h"
#include "ipc/decode.h"
#include "message_builder.h"
#include "schema_builder.h"

/* Decodes a batch of `n` int64 columns, each of which uses the whole body. `n_nodes`:
 * nodes in the message. `all`: read all columns instead of the first one. */
static int decode(int n, int n_nodes, bool all) {
    enum { VALUES = 8, BODY = VALUES * 8, COLUMNS_MAX = 8 };
    struct bc_wire_node nodes[COLUMNS_MAX];
    struct bc_wire_buffer buffers[2 * COLUMNS_MAX];
    for (int i = 0; i < n; i++) {
        nodes[i] = (struct bc_wire_node){VALUES, 0};
        buffers[2 * i] = (struct bc_wire_buffer){0, 0};
        buffers[2 * i + 1] = (struct bc_wire_buffer){0, BODY};
    }
    const struct bc_wire_batch wire = {
        .rows = VALUES,
        .body_bytes = BODY,
        .nodes = nodes,
        .n_nodes = (size_t)n_nodes,
        .buffers = buffers,
        .n_buffers = 2 * (size_t)n_nodes,
    };
    int64_t size;
    uint8_t *message = build_message(&wire, &size);
    struct bc_schema *schema = schema_of_type(n, NANOARROW_TYPE_INT64);
    struct bc_projection *projection = NULL;
    const int32_t first = 0;
    if (!all) CHECK(bc__projection_new(schema, &first, 1, &projection, NULL) == 0);
    struct bc_message parts;
    int code = bc__message_parse(&parts, message, size);
    if (code == 0) {
        struct bc_batch *batch;
        code = bc__decode_batch(schema, projection, &parts, NULL, &batch);
        if (code == 0) bc__batch_unref(batch);
    }
    free(message);
    bc__projection_free(projection);
    bc__schema_free(schema);
    return code;
}

static void test_buffers(void) {
    for (int n = 1; n <= 4; n++) CHECK(decode(n, n, true) == 0);
    CHECK(decode(5, 5, true) == EINVAL);
}

/* Missing nodes are refused, so that a small message takes no time proportional to the
 * schema. */
static void test_nodes_that_are_missing(void) {
    CHECK(decode(4, 4, false) == 0);
    CHECK(decode(4, 3, false) == EINVAL && decode(4, 1, false) == EINVAL);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_buffers),
        TAP_CASE(test_nodes_that_are_missing),
    };
    return TAP_RUN(cases);
}
