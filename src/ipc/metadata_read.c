/* Reads Arrow IPC metadata: messages of any kind, and the footers of files. */
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/error.h"
#include "ipc/flatbuffer_reader.h"
#include "ipc/metadata.h"
#include "ipc/schema_read.h"

/* Field ids and values of Arrow's Message.fbs and File.fbs. */
enum { MESSAGE_VERSION, MESSAGE_KIND, MESSAGE_HEADER, MESSAGE_BODY, MESSAGE_CUSTOM };
enum { KIND_NONE, KIND_SCHEMA, KIND_DICTIONARY, KIND_BATCH };
enum { DICTIONARY_ID, DICTIONARY_DATA, DICTIONARY_DELTA };
enum { BATCH_ROWS, BATCH_NODES, BATCH_BUFFERS, BATCH_COMPRESSION, BATCH_VARIADIC };
enum { COMPRESSION_CODEC, COMPRESSION_METHOD };
enum { CODEC_LZ4, CODEC_ZSTD };
enum { PAIR_KEY, PAIR_VALUE };
/* Arrow Java up to 0.14 omits the footer's version. The version is not needed, since each
 * message has one. */
enum { FOOTER_VERSION, FOOTER_SCHEMA, FOOTER_DICTIONARIES, FOOTER_BATCHES };

#define EARLY_COMPRESSION_KEY "ARROW:experimental_compression"

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

/* Returns the RecordBatch of a batch's or a dictionary's message, or none. It also gives
 * the DictionaryBatch, or none. */
static struct bc_flat_table record_of(struct bc_flat *flat, const struct message *message,
                                      struct bc_flat_table *out_dictionary) {
    static const struct bc_flat_table none;
    *out_dictionary = none;
    if (message->kind == KIND_BATCH) return message->header;
    if (message->kind != KIND_DICTIONARY) return none;
    *out_dictionary = message->header;
    return bc__flat_table(flat, out_dictionary, DICTIONARY_DATA);
}

/* Returns the value of `key` in the message's custom metadata. Without one, it returns
 * NULL, and the size is 0. */
static const char *find_value(struct bc_flat *flat, const struct bc_flat_table *message,
                              const char *key, size_t *out_size) {
    *out_size = 0;
    size_t key_size = strlen(key);
    struct bc_flat_vector pairs = bc__flat_vector(flat, message, MESSAGE_CUSTOM, 4);
    for (uint32_t i = 0; i < pairs.n && !flat->broken; i++) {
        struct bc_flat_table pair = bc__flat_element(flat, &pairs, i);
        size_t size;
        const char *found = bc__flat_string(flat, &pair, PAIR_KEY, &size);
        if (found == NULL || size != key_size) continue;
        if (memcmp(found, key, size) != 0) continue;
        const char *value = bc__flat_string(flat, &pair, PAIR_VALUE, out_size);
        if (value != NULL) return value;
    }
    return NULL;
}

/* Reads the codec of Arrow C++ 0.17, which compressed bodies before the format had a
 * field for the codec. It named the codec in the message's custom metadata. In later
 * versions of the metadata, the key has no meaning.
 * EINVAL: the codec is unknown. */
static int read_early_codec(struct bc_flat *flat, const struct bc_flat_table *message,
                            enum bc_codec *out_codec) {
    static const struct {
        const char *name;
        enum bc_codec codec;
    } codecs[] = {{"lz4", BC_CODEC_LZ4},
                  {"lz4_frame", BC_CODEC_LZ4},
                  {"zstd", BC_CODEC_ZSTD},
                  {"none", BC_CODEC_NONE},
                  {"uncompressed", BC_CODEC_NONE}};
    size_t size;
    const char *name = find_value(flat, message, EARLY_COMPRESSION_KEY, &size);
    if (name == NULL) return 0;
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        if (strlen(codecs[i].name) != size) continue;
        if (strncasecmp(codecs[i].name, name, size) != 0) continue;
        *out_codec = codecs[i].codec;
        return 0;
    }
    return EINVAL;
}

/* Reads the codec of a message's RecordBatch. EINVAL: the codec is unknown. */
static int read_codec(struct bc_flat *flat, const struct message *message,
                      const struct bc_flat_table *record, enum bc_codec *out_codec) {
    *out_codec = BC_CODEC_NONE;
    struct bc_flat_table compression = bc__flat_table(flat, record, BATCH_COMPRESSION);
    if (compression.at == 0) {
        bool may_be_early = message->version == BC_METADATA_V4;
        return may_be_early ? read_early_codec(flat, &message->root, out_codec) : 0;
    }
    uint8_t method = bc__flat_u8(flat, &compression, COMPRESSION_METHOD, 0);
    uint8_t codec = bc__flat_u8(flat, &compression, COMPRESSION_CODEC, CODEC_LZ4);
    if (method != 0 || codec > CODEC_ZSTD) return EINVAL;
    *out_codec = codec == CODEC_ZSTD ? BC_CODEC_ZSTD : BC_CODEC_LZ4;
    return 0;
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
    if (read_codec(&flat, &message, &record, &codec) != 0) return EINVAL;
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
    batch.checksums =
        find_value(&flat, &message.root, BC_CHECKSUM_KEY, &batch.checksums_size);
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
                             struct bc_wire_schema *out_schema, struct bc_error *error) {
    struct bc_flat flat;
    struct message message;
    struct bc_wire_schema read = {0};
    int code = read_message(&flat, bytes, size, &message);
    if (code == 0) {
        read.checksums.data =
            find_value(&flat, &message.root, BC_CHECKSUM_KEY, &read.checksums.size);
        read.key.data = find_value(&flat, &message.root, BC_KEY_KEY, &read.key.size);
        if (flat.broken || message.kind != KIND_SCHEMA) code = EINVAL;
    }
    if (code != 0) {
        return bc__error_set(error, code, "The Arrow metadata is no message of a schema");
    }
    code = bc__schema_read_version(message.version, error);
    if (code == 0) code = bc__schema_read(&flat, &message.header, &read.schema, error);
    if (code == 0) *out_schema = read;
    return code;
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
    struct bc_flat_table schema = bc__flat_table(&flat, &footer, FOOTER_SCHEMA);
    struct bc_wire_blocks dictionaries = read_blocks(&flat, &footer, FOOTER_DICTIONARIES);
    struct bc_wire_blocks batches = read_blocks(&flat, &footer, FOOTER_BATCHES);
    if (flat.broken || schema.at == 0) {
        return bc__error_set(error, EINVAL, "The Arrow metadata is no footer of a file");
    }
    int code = bc__schema_read(&flat, &schema, out_schema, error);
    if (code != 0) return code;
    *out_dictionaries = dictionaries;
    *out_batches = batches;
    return 0;
}
