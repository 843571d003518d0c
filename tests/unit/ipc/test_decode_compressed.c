/* Compressed buffers with a large size, in messages whose rows reach little of it. The
 * decoder allocates no more than the rows reach. */
#include "arrow/values.h"
#include "column.h"
#include "ipc/codec.h"
#include "ipc/decode.h"
#include "message_builder.h"

enum { CLAIM = 64 << 20, HELD_MAX = 1 << 20, MESSAGE_MAX = 8 << 20, MANY = 2048 };
static const int64_t many_values = CLAIM;

/* A message being built. */
struct maker {
    enum bc_codec codec;
    uint8_t *body;
    int64_t bytes;
    struct bc_wire_buffer buffers[MANY];
    size_t n_buffers;
    struct bc_wire_node nodes[MANY];
    size_t n_nodes;
    int64_t variadic[1];
    size_t n_variadic;
    const uint8_t *bomb;
    size_t bomb_bytes;
};

static void add_bytes(struct maker *maker, const void *data, size_t size) {
    CHECK(maker->bytes + (int64_t)size <= MESSAGE_MAX);
    maker->buffers[maker->n_buffers++] =
        (struct bc_wire_buffer){maker->bytes, (int64_t)size};
    if (size > 0) memcpy(maker->body + maker->bytes, data, size);
    maker->bytes += ((int64_t)size + 63) / 64 * 64;
}

/* Adds an absent buffer. */
static void none(struct maker *maker) { add_bytes(maker, NULL, 0); }

/* Adds a buffer of the same bytes as the last one. */
static void again(struct maker *maker) {
    maker->buffers[maker->n_buffers] = maker->buffers[maker->n_buffers - 1];
    maker->n_buffers++;
}

/* Adds a buffer of 64 MiB of zeros. */
static void bomb(struct maker *maker) {
    add_bytes(maker, maker->bomb, maker->bomb_bytes);
}

static void values(struct maker *maker, const void *data, size_t size) {
    static uint8_t out[1 << 17];
    CHECK(bc__compress_bound(maker->codec, size) <= sizeof(out));
    struct bc_compressor compressor = {0};
    size_t compressed;
    CHECK(bc__compress(&compressor, maker->codec, data, size, out, sizeof(out),
                       &compressed) == 0);
    bc__compressor_finish(&compressor);
    add_bytes(maker, out, compressed);
}

static void node(struct maker *maker, int64_t length, int64_t nulls) {
    maker->nodes[maker->n_nodes++] = (struct bc_wire_node){length, nulls};
}

/* Adds a column of int8 values without nulls. */
static void bytes_of(struct maker *maker, int64_t length) {
    node(maker, length, 0);
    none(maker);
    bomb(maker);
}

/* Each writes the nodes and buffers of a column of one row, or of a dictionary's value.
 */
static void make_fixed(struct maker *maker) { bytes_of(maker, 1); }

static void make_nulls(struct maker *maker) {
    node(maker, 1, 1);
    bomb(maker);
    values(maker, "\1", 1);
}

static void make_text(struct maker *maker) {
    static const int32_t offsets[] = {0, 100};
    node(maker, 1, 0);
    none(maker);
    values(maker, offsets, sizeof(offsets));
    bomb(maker);
}

static void make_offsets(struct maker *maker) {
    node(maker, 1, 0);
    none(maker);
    bomb(maker);
    none(maker);
}

static void make_list(struct maker *maker) {
    static const int64_t offsets[] = {3, 20};
    node(maker, 1, 0);
    none(maker);
    values(maker, offsets, sizeof(offsets));
    bytes_of(maker, many_values);
}

static void make_fixed_list(struct maker *maker) {
    node(maker, 1, 0);
    none(maker);
    bytes_of(maker, many_values);
}

static void make_struct(struct maker *maker) {
    node(maker, 1, 0);
    none(maker);
    node(maker, many_values, 7);
    bomb(maker);
    bomb(maker);
}

static void make_list_view(struct maker *maker) {
    static const int32_t offset = 5;
    static const int32_t size = 6;
    node(maker, 1, 0);
    none(maker);
    values(maker, &offset, sizeof(offset));
    values(maker, &size, sizeof(size));
    bytes_of(maker, many_values);
}

static void make_dense(struct maker *maker) {
    static const int32_t offset = 9;
    node(maker, 1, 0);
    values(maker, "\0", 1);
    values(maker, &offset, sizeof(offset));
    bytes_of(maker, many_values);
    bytes_of(maker, many_values);
}

static void make_sparse(struct maker *maker) {
    node(maker, 1, 0);
    bomb(maker);
    bytes_of(maker, many_values);
    bytes_of(maker, many_values);
}

static void make_runs(struct maker *maker) {
    node(maker, 1, 0);
    node(maker, many_values / 4, 0);
    none(maker);
    bomb(maker);
    bytes_of(maker, many_values);
}

static void make_views(struct maker *maker) {
    static const struct bc_view view = {.length = 20, .offset = 1000};
    node(maker, 1, 0);
    none(maker);
    values(maker, &view, sizeof(view));
    bomb(maker);
    bomb(maker);
    maker->variadic[0] = 2;
    maker->n_variadic = 1;
}

/* Compressed zeros. */
static uint8_t *zeros_of(enum bc_codec codec, size_t n, size_t *out_size) {
    uint8_t *zeros = calloc(1, n);
    size_t capacity = bc__compress_bound(codec, n);
    uint8_t *out = malloc(capacity);
    struct bc_compressor compressor = {0};
    CHECK(bc__compress(&compressor, codec, zeros, n, out, capacity, out_size) == 0);
    bc__compressor_finish(&compressor);
    free(zeros);
    return out;
}

/* Decodes the column, or the column as a dictionary's values. Returns the bytes of the
 * batch. */
static uint64_t decode(struct ArrowSchema *schema, bool is_dictionary,
                       const struct maker *maker, int64_t rows, int expected) {
    struct ArrowSchema indices = column_type("c", "x");
    indices.dictionary = schema;
    struct column column = column_open(is_dictionary ? &indices : schema);
    const struct bc_wire_batch wire = {
        .is_dictionary = is_dictionary,
        .codec = maker->codec,
        .rows = rows,
        .body_bytes = maker->bytes,
        .nodes = maker->nodes,
        .n_nodes = maker->n_nodes,
        .buffers = maker->buffers,
        .n_buffers = maker->n_buffers,
        .variadic_counts = maker->variadic,
        .n_variadic_counts = maker->n_variadic,
    };
    struct flatbuffer metadata = build_batch_message(&wire);
    size_t size = 8 + metadata.size + (size_t)maker->bytes;
    uint8_t *message = aligned_alloc(64, (size + 63) / 64 * 64);
    const int32_t prefix[2] = {-1, (int32_t)metadata.size};
    memcpy(message, prefix, sizeof(prefix));
    memcpy(message + 8, metadata.bytes, metadata.size);
    memcpy(message + 8 + metadata.size, maker->body, (size_t)maker->bytes);
    free(metadata.bytes);
    struct bc_message parts;
    CHECK(bc__message_parse(&parts, message, (int64_t)size) == 0);
    struct bc_batch *batch = NULL;
    int32_t field = column.schema->fields[1].dictionary;
    int code = is_dictionary
                   ? bc__decode_dictionary(column.schema, field, &parts, NULL, &batch)
                   : bc__decode_batch(column.schema, NULL, &parts, NULL, &batch);
    CHECK(code == expected);
    uint64_t held = 0;
    if (code == 0) {
        held = batch->held_bytes;
        int validated =
            is_dictionary ? 0 : bc__validate_batch(column.schema, NULL, batch, NULL);
        /* Run ends of zero are invalid. */
        CHECK(validated == 0 || schema->format[1] == 'r');
        bc__batch_unref(batch);
    }
    free(message);
    column_close(&column);
    return held;
}

/* Decodes the message of `make`, with each codec. */
static void check(struct ArrowSchema *schema, void (*make)(struct maker *)) {
    for (int codec = BC_CODEC_LZ4; codec <= BC_CODEC_ZSTD; codec++) {
        struct maker maker = {.codec = (enum bc_codec)codec};
        uint8_t *zeros = zeros_of(maker.codec, CLAIM, &maker.bomb_bytes);
        maker.bomb = zeros;
        maker.body = calloc(1, MESSAGE_MAX);
        make(&maker);
        uint64_t held_max = HELD_MAX + 4 * (uint64_t)maker.bytes;
        CHECK(decode(schema, false, &maker, 1, 0) < held_max);
        CHECK(decode(schema, true, &maker, 1, 0) < held_max);
        free(maker.body);
        free(zeros);
    }
}

static void check_flat(const char *format, void (*make)(struct maker *)) {
    struct ArrowSchema schema = column_type(format, "x");
    check(&schema, make);
}

static void check_nested(const char *format, const char *child, int n,
                         void (*make)(struct maker *)) {
    struct ArrowSchema children[] = {column_type(child, "a"), column_type("c", "b")};
    struct ArrowSchema *pointers[] = {&children[0], &children[1]};
    struct ArrowSchema schema = column_type(format, "x");
    schema.n_children = n;
    schema.children = pointers;
    check(&schema, make);
}

static void test_flat(void) {
    check_flat("c", make_fixed);
    check_flat("c", make_nulls);
    check_flat("z", make_text);
    check_flat("Z", make_offsets);
    check_flat("vz", make_views);
}

static void test_nested(void) {
    check_nested("+L", "c", 1, make_list);
    check_nested("+w:10", "c", 1, make_fixed_list);
    check_nested("+s", "c", 1, make_struct);
    check_nested("+vl", "c", 1, make_list_view);
    check_nested("+ud:0,1", "c", 2, make_dense);
    check_nested("+us:0,1", "c", 2, make_sparse);
    check_nested("+r", "i", 2, make_runs);
}

/* A column with more rows than its batch is refused. */
static void test_rows(void) {
    struct maker maker = {.codec = BC_CODEC_ZSTD};
    uint8_t *zeros = zeros_of(maker.codec, CLAIM, &maker.bomb_bytes);
    maker.bomb = zeros;
    maker.body = calloc(1, MESSAGE_MAX);
    bytes_of(&maker, many_values);
    struct ArrowSchema schema = column_type("c", "x");
    (void)decode(&schema, false, &maker, 1, EINVAL);
    struct ArrowSchema again = column_type("c", "x");
    CHECK(decode(&again, false, &maker, many_values, 0) >= CLAIM);
    free(maker.body);
    free(zeros);
}

/* Many small bombs. Up to four buffers share the same bytes. */
static void make_many_views(struct maker *maker) {
    static const struct bc_view view = {.length = 1, .prefix = "a"};
    enum { BOMBS = 2000, EACH = 1 << 20 };
    size_t size;
    uint8_t *zeros = zeros_of(maker->codec, EACH, &size);
    node(maker, 1, 0);
    none(maker);
    values(maker, &view, sizeof(view));
    for (int i = 0; i < BOMBS; i++) {
        if (i % 4 == 0 && maker->bytes + (int64_t)size < MESSAGE_MAX / 2) {
            add_bytes(maker, zeros, size);
        } else if (i % 4 != 0) {
            again(maker);
        } else {
            none(maker);
        }
    }
    maker->variadic[0] = BOMBS;
    maker->n_variadic = 1;
    free(zeros);
}

static void make_many_columns(struct maker *maker) {
    enum { COLUMNS = 100, EACH = 1 << 16 };
    size_t size;
    uint8_t *zeros = zeros_of(maker->codec, EACH, &size);
    node(maker, 1, 0);
    none(maker);
    for (int i = 0; i < COLUMNS; i++) {
        node(maker, 1, 0);
        none(maker);
        add_bytes(maker, zeros, size);
    }
    free(zeros);
}

/* The excess of all buffers in a message is counted together. */
static void test_many_small_bombs(void) {
    enum { COLUMNS = 100 };
    static struct ArrowSchema children[COLUMNS];
    static struct ArrowSchema *pointers[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        children[i] = column_type("c", "x");
        pointers[i] = &children[i];
    }
    struct ArrowSchema schema = column_type("+s", "x");
    schema.n_children = COLUMNS;
    schema.children = pointers;
    check(&schema, make_many_columns);
    check_flat("vz", make_many_views);
}

/* Rows that reach the whole text get it. */
static void test_rows_of_one_text(void) {
    enum { N = 4000, TEXT = 10000 };
    static int32_t offsets[N + 1];
    static struct bc_view views[N];
    for (int i = 0; i < N; i++) {
        offsets[i + 1] = (i + 1) * TEXT;
        views[i] = (struct bc_view){.length = TEXT, .offset = i * TEXT};
    }
    for (size_t is_view = 0; is_view < 2; is_view++) {
        struct maker maker = {.codec = BC_CODEC_ZSTD, .bytes = 0};
        size_t size;
        uint8_t *zeros = zeros_of(maker.codec, (size_t)N * TEXT, &size);
        maker.body = calloc(1, MESSAGE_MAX);
        node(&maker, N, 0);
        none(&maker);
        if (is_view) {
            values(&maker, views, sizeof(views));
        } else {
            values(&maker, offsets, sizeof(offsets));
        }
        add_bytes(&maker, zeros, size);
        maker.variadic[0] = 1;
        maker.n_variadic = is_view;
        struct ArrowSchema schema = column_type(is_view ? "vz" : "z", "x");
        CHECK(decode(&schema, false, &maker, N, 0) >= (uint64_t)N * TEXT);
        free(maker.body);
        free(zeros);
    }
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_flat),
        TAP_CASE(test_nested),
        TAP_CASE(test_rows),
        TAP_CASE(test_many_small_bombs),
        TAP_CASE(test_rows_of_one_text),
    };
    return TAP_RUN(cases);
}
