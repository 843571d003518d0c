#include <string.h>

#include "arrow/flatbuffer.h"
#include "arrow/metadata.h"
#include "arrow/schema_read.h"
#include "base/check.h"
#include "base/error.h"

/* Field numbers and values of Arrow's Message.fbs. */
enum { MESSAGE_VERSION, MESSAGE_KIND, MESSAGE_HEADER, MESSAGE_BODY, MESSAGE_CUSTOM };
enum { KIND_NONE, KIND_SCHEMA, KIND_DICTIONARY, KIND_BATCH };
enum { DICTIONARY_ID, DICTIONARY_DATA, DICTIONARY_DELTA };
enum { BATCH_ROWS, BATCH_NODES, BATCH_BUFFERS, BATCH_COMPRESSION, BATCH_VARIADIC };
enum { COMPRESSION_CODEC, COMPRESSION_METHOD };
enum { CODEC_LZ4, CODEC_ZSTD };
enum { PAIR_KEY, PAIR_VALUE };
enum { FOOTER_VERSION, FOOTER_SCHEMA, FOOTER_DICTIONARIES, FOOTER_BATCHES };

_Static_assert(sizeof(struct bc_wire_block) == 24, "wire layout");

/* A message of any kind. */
struct message {
    int version;
    uint8_t kind;
    int64_t body_bytes;
    struct bc_flat_table root;
    struct bc_flat_table header;
};

static int read_message(struct bc_flat *flat, const uint8_t *bytes, size_t size,
                        struct message *out_message) {
    struct bc_flat_table root = bc__flat_init(flat, bytes, size);
    *out_message = (struct message){
        .version = bc__flat_i16(flat, &root, MESSAGE_VERSION, 0),
        .kind = bc__flat_u8(flat, &root, MESSAGE_KIND, KIND_NONE),
        .body_bytes = bc__flat_i64(flat, &root, MESSAGE_BODY, 0),
        .root = root,
        .header = bc__flat_table(flat, &root, MESSAGE_HEADER),
    };
    bool is_one = !flat->broken && out_message->kind != KIND_NONE &&
                  out_message->header.at != 0 && out_message->body_bytes >= 0;
    return is_one ? 0 : EINVAL;
}

/* The record of a batch's or a dictionary's message, and that dictionary; or none. */
static struct bc_flat_table record_of(struct bc_flat *flat, const struct message *message,
                                      struct bc_flat_table *out_dictionary) {
    static const struct bc_flat_table none;
    *out_dictionary = none;
    if (message->kind == KIND_BATCH) return message->header;
    if (message->kind != KIND_DICTIONARY) return none;
    *out_dictionary = message->header;
    return bc__flat_table(flat, out_dictionary, DICTIONARY_DATA);
}

/* The codec of a record: 0, or EINVAL for one that is not known. */
static int read_codec(struct bc_flat *flat, const struct bc_flat_table *record,
                      enum bc_codec *out_codec) {
    *out_codec = BC_CODEC_NONE;
    struct bc_flat_table compression = bc__flat_table(flat, record, BATCH_COMPRESSION);
    if (compression.at == 0) return 0;
    uint8_t method = bc__flat_u8(flat, &compression, COMPRESSION_METHOD, 0);
    uint8_t codec = bc__flat_u8(flat, &compression, COMPRESSION_CODEC, CODEC_LZ4);
    if (method != 0 || codec > CODEC_ZSTD) return EINVAL;
    *out_codec = codec == CODEC_ZSTD ? BC_CODEC_ZSTD : BC_CODEC_LZ4;
    return 0;
}

static void find_checksums(struct bc_flat *flat, const struct bc_flat_table *message,
                           const char **out_text, size_t *out_size) {
    *out_text = NULL;
    *out_size = 0;
    struct bc_flat_vector pairs = bc__flat_vector(flat, message, MESSAGE_CUSTOM, 4);
    for (uint32_t i = 0; i < pairs.n && !flat->broken; i++) {
        struct bc_flat_table pair = bc__flat_element(flat, &pairs, i);
        size_t size;
        const char *key = bc__flat_string(flat, &pair, PAIR_KEY, &size);
        if (key == NULL || size != sizeof(BC_CHECKSUM_KEY) - 1) continue;
        if (memcmp(key, BC_CHECKSUM_KEY, size) != 0) continue;
        *out_text = bc__flat_string(flat, &pair, PAIR_VALUE, out_size);
        if (*out_text != NULL) return;
    }
}

int bc__metadata_read_batch(const uint8_t *bytes, size_t size,
                            struct bc_wire_batch *out_batch) {
    struct bc_flat flat;
    struct message message;
    if (read_message(&flat, bytes, size, &message) != 0) return EINVAL;
    if (bc__schema_read_version(message.version, NULL) != 0) return EINVAL;
    struct bc_flat_table dictionary;
    struct bc_flat_table record = record_of(&flat, &message, &dictionary);
    if (record.at == 0) return EINVAL;
    enum bc_codec codec;
    if (read_codec(&flat, &record, &codec) != 0) return EINVAL;
    struct bc_flat_vector nodes =
        bc__flat_vector(&flat, &record, BATCH_NODES, sizeof(struct bc_wire_node));
    struct bc_flat_vector buffers =
        bc__flat_vector(&flat, &record, BATCH_BUFFERS, sizeof(struct bc_wire_buffer));
    struct bc_flat_vector counts =
        bc__flat_vector(&flat, &record, BATCH_VARIADIC, sizeof(int64_t));
    struct bc_wire_batch batch = {
        .is_dictionary = dictionary.at != 0,
        .is_delta = bc__flat_u8(&flat, &dictionary, DICTIONARY_DELTA, 0) != 0,
        .version = message.version,
        .codec = codec,
        .dictionary_id = bc__flat_i64(&flat, &dictionary, DICTIONARY_ID, 0),
        .rows = bc__flat_i64(&flat, &record, BATCH_ROWS, 0),
        .body_bytes = message.body_bytes,
        .nodes = bc__flat_elements(&flat, &nodes),
        .n_nodes = nodes.n,
        .buffers = bc__flat_elements(&flat, &buffers),
        .n_buffers = buffers.n,
        .variadic_counts = bc__flat_elements(&flat, &counts),
        .n_variadic_counts = counts.n,
    };
    find_checksums(&flat, &message.root, &batch.checksums, &batch.checksums_size);
    if (flat.broken || batch.rows < 0 || batch.rows > BC_LENGTH_MAX) return EINVAL;
    *out_batch = batch;
    return 0;
}

int bc__metadata_peek(const uint8_t *bytes, size_t size, struct bc_wire_head *out_head) {
    struct bc_flat flat;
    struct message message;
    if (read_message(&flat, bytes, size, &message) != 0) return EINVAL;
    struct bc_wire_head head = {
        .kind = BC_WIRE_OTHER,
        .version = message.version,
        .body_bytes = message.body_bytes,
    };
    if (message.kind == KIND_SCHEMA) {
        head.kind = BC_WIRE_SCHEMA;
    } else if (message.kind == KIND_BATCH || message.kind == KIND_DICTIONARY) {
        struct bc_flat_table dictionary;
        struct bc_flat_table record = record_of(&flat, &message, &dictionary);
        if (record.at == 0) return EINVAL;
        head.kind = dictionary.at != 0 ? BC_WIRE_DICTIONARY : BC_WIRE_BATCH;
        head.rows = bc__flat_i64(&flat, &record, BATCH_ROWS, 0);
        head.dictionary_id = bc__flat_i64(&flat, &dictionary, DICTIONARY_ID, 0);
        head.is_delta = bc__flat_u8(&flat, &dictionary, DICTIONARY_DELTA, 0) != 0;
    }
    if (flat.broken || head.rows < 0 || head.rows > BC_LENGTH_MAX) return EINVAL;
    *out_head = head;
    return 0;
}

int bc__metadata_read_schema(const uint8_t *bytes, size_t size,
                             struct bc_schema **out_schema, const char **out_checksums,
                             size_t *out_checksums_size, struct bc_error *error) {
    struct bc_flat flat;
    struct message message;
    const char *checksums;
    size_t checksums_size;
    int code = read_message(&flat, bytes, size, &message);
    if (code == 0) {
        find_checksums(&flat, &message.root, &checksums, &checksums_size);
        if (flat.broken || message.kind != KIND_SCHEMA) code = EINVAL;
    }
    if (code != 0) {
        return bc__error_set(error, code, "The Arrow metadata is no message of a schema");
    }
    code = bc__schema_read_version(message.version, error);
    if (code == 0) code = bc__schema_read(&flat, &message.header, out_schema, error);
    if (code != 0) return code;
    *out_checksums = checksums;
    *out_checksums_size = checksums_size;
    return 0;
}

static struct bc_wire_blocks read_blocks(struct bc_flat *flat,
                                         const struct bc_flat_table *footer, int id) {
    struct bc_flat_vector blocks =
        bc__flat_vector(flat, footer, id, sizeof(struct bc_wire_block));
    return (struct bc_wire_blocks){bc__flat_elements(flat, &blocks), blocks.n};
}

int bc__metadata_read_footer(const uint8_t *bytes, size_t size,
                             struct bc_schema **out_schema,
                             struct bc_wire_blocks *out_dictionaries,
                             struct bc_wire_blocks *out_batches, struct bc_error *error) {
    struct bc_flat flat;
    struct bc_flat_table footer = bc__flat_init(&flat, bytes, size);
    int16_t version = bc__flat_i16(&flat, &footer, FOOTER_VERSION, 0);
    struct bc_flat_table schema = bc__flat_table(&flat, &footer, FOOTER_SCHEMA);
    struct bc_wire_blocks dictionaries = read_blocks(&flat, &footer, FOOTER_DICTIONARIES);
    struct bc_wire_blocks batches = read_blocks(&flat, &footer, FOOTER_BATCHES);
    if (flat.broken || schema.at == 0) {
        return bc__error_set(error, EINVAL, "The Arrow metadata is no footer of a file");
    }
    int code = bc__schema_read_version(version, error);
    if (code == 0) code = bc__schema_read(&flat, &schema, out_schema, error);
    if (code != 0) return code;
    *out_dictionaries = dictionaries;
    *out_batches = batches;
    return 0;
}
