/* Files whose parts lie on each other: to read them all takes no longer than their size.
 */
#include "arrow/metadata.h"
#include "disk/decode.h"
#include "disk/trailer.h"
#include "place.h"

enum { BATCHES = 6, ROWS = 50 };

static void record(const char *path) {
    struct fixture fixture;
    fixture_init(&fixture, BATCHES, ROWS);
    place_record(path, fixture, BATCHES + 1);
}

/* The trailer of an open recording. */
static struct bc_trailer trailer_of(int file) {
    struct bc_trailer trailer;
    bool complete;
    off_t size = lseek(file, 0, SEEK_END);
    CHECK(bc__trailer_read(file, size, &trailer, &complete) == 0 && complete);
    return trailer;
}

static struct bc_cache *open_file(const char *path) {
    struct bc_cache *cache;
    struct bc_error error = {0, ""};
    int code = bc_file_open(path, NULL, &cache, &error);
    if (code != 0) printf("# %s\n", error.message);
    CHECK(code == 0);
    return cache;
}

static int get(struct bc_cache *cache, uint64_t number) {
    struct ArrowArray array;
    int code = bc_cache_get(cache, number, &array, NULL, NULL);
    if (code == 0) array.release(&array);
    return code;
}

/* All entries of batches say that they are the first one. */
static void test_batches(void) {
    struct place place;
    place_init(&place);
    record(place.path);
    int file = open(place.path, O_RDWR);
    struct bc_trailer trailer = trailer_of(file);
    uint8_t entry[BC_TRAILER_BATCH];
    struct bc_trailer_batch first;
    CHECK(pread(file, entry, sizeof(entry), bc__trailer_batch_at(&trailer, 0)) > 0);
    CHECK(bc__trailer_get_batch(&trailer, entry, 0, &first));
    for (int i = 0; i < BATCHES; i++) {
        const struct bc_trailer_batch same = {first.offset, first.size,
                                              (int64_t)i * ROWS};
        bc__trailer_put_batch(entry, &same, i);
        CHECK(pwrite(file, entry, sizeof(entry), bc__trailer_batch_at(&trailer, i)) > 0);
    }
    struct bc_cache *cache = open_file(place.path);
    for (uint64_t i = 0; i + 1 < BATCHES; i++) CHECK(get(cache, i) == EBADMSG);
    /* Nothing is behind the last one. */
    CHECK(get(cache, BATCHES - 1) == 0);
    bc_cache_unref(cache);
    CHECK(close(file) == 0);
    place_finish(&place);
}

/* A dictionary's message that reaches into the next one of that dictionary. */
static void test_dictionaries(void) {
    struct place place;
    place_init(&place);
    record(place.path);
    int file = open(place.path, O_RDWR);
    struct bc_trailer trailer = trailer_of(file);
    CHECK(trailer.dictionaries > 1);
    uint8_t bytes[BC_TRAILER_DICTIONARY];
    struct bc_trailer_dictionary entry;
    off_t at = bc__trailer_dictionary_at(&trailer, 0);
    CHECK(pread(file, bytes, sizeof(bytes), at) > 0);
    CHECK(bc__trailer_get_dictionary(&trailer, bytes, 0, &entry));
    entry.size = trailer.end - entry.offset;
    bc__trailer_put_dictionary(bytes, &entry, 0);
    CHECK(pwrite(file, bytes, sizeof(bytes), at) > 0);
    struct bc_cache *cache;
    CHECK(bc_file_open(place.path, NULL, &cache, NULL) == EBADMSG);
    CHECK(close(file) == 0);
    place_finish(&place);
}

/* A batch of `n` columns of int64, whose buffers are all the whole body. */
static int decode(int n) {
    enum { VALUES = 8, BODY = VALUES * 8, COLUMNS_MAX = 8 };
    struct ArrowSchema source;
    ArrowSchemaInit(&source);
    CHECK(ArrowSchemaSetTypeStruct(&source, n) == 0);
    struct bc_wire_node nodes[COLUMNS_MAX];
    struct bc_wire_buffer buffers[2 * COLUMNS_MAX];
    for (int i = 0; i < n; i++) {
        CHECK(ArrowSchemaSetType(source.children[i], NANOARROW_TYPE_INT64) == 0);
        nodes[i] = (struct bc_wire_node){VALUES, 0};
        buffers[2 * i] = (struct bc_wire_buffer){0, 0};
        buffers[2 * i + 1] = (struct bc_wire_buffer){0, BODY};
    }
    struct bc_schema *schema;
    CHECK(bc__schema_new(&source, &schema, NULL) == 0);
    source.release(&source);
    struct bc_wire_batch wire = {
        .rows = VALUES,
        .body_bytes = BODY,
        .nodes = nodes,
        .n_nodes = (size_t)n,
        .buffers = buffers,
        .n_buffers = 2 * (size_t)n,
    };
    struct bc_metadata_builder *builder;
    const uint8_t *metadata;
    size_t size;
    size_t digits;
    CHECK(bc__metadata_builder_new(&builder) == 0);
    CHECK(bc__metadata_build_batch(builder, &wire, &metadata, &size, &digits, NULL) == 0);
    uint8_t *message = aligned_alloc(64, (8 + size + BODY + 63) / 64 * 64);
    const int32_t prefix[2] = {-1, (int32_t)size};
    memcpy(message, prefix, sizeof(prefix));
    memcpy(message + 8, metadata, size);
    memset(message + 8 + size, 0, BODY);
    struct bc_batch *batch;
    int code =
        bc__decode_batch(schema, NULL, message, (int64_t)(8 + size + BODY), &batch);
    if (code == 0) bc__batch_unref(batch);
    free(message);
    bc__metadata_builder_free(builder);
    bc__schema_free(schema);
    return code;
}

static void test_buffers(void) {
    for (int n = 1; n <= 4; n++) CHECK(decode(n) == 0);
    CHECK(decode(5) == EINVAL);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_batches),
        TAP_CASE(test_dictionaries),
        TAP_CASE(test_buffers),
    };
    return TAP_RUN(cases);
}
