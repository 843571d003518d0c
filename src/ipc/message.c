#include "ipc/message.h"

#include <errno.h>
#include <string.h>

#include "ipc/codec.h"

enum { LONG_PREFIX = 8, SHORT_PREFIX = 4, NULL_EXTRAS_MAX = 2 };

int bc__frame_parse(const uint8_t *bytes, int64_t size, struct bc_frame *out_frame) {
    if (size < SHORT_PREFIX) return EAGAIN;
    int32_t words[2] = {0, 0};
    memcpy(words, bytes, SHORT_PREFIX);
    int64_t prefix = SHORT_PREFIX;
    int32_t metadata_size = words[0];
    if (words[0] == -1) {
        if (size < LONG_PREFIX) return EAGAIN;
        memcpy(words, bytes, LONG_PREFIX);
        prefix = LONG_PREFIX;
        metadata_size = words[1];
    }
    if (metadata_size < 0) return EINVAL;
    *out_frame = (struct bc_frame){prefix, metadata_size};
    return 0;
}

/* Buffers may overlap. The sum of their sizes is at most SHARING_MAX times the body. */
enum { SHARING_MAX = 4 };

static bool fits_body(const struct bc_wire_batch *wire) {
    int64_t left = wire->body_bytes <= INT64_MAX / SHARING_MAX
                       ? wire->body_bytes * SHARING_MAX
                       : INT64_MAX;
    for (size_t i = 0; i < wire->n_buffers; i++) {
        int64_t length = bc__wire_buffer(wire, i).length;
        if (length < 0 || length > left) return false;
        left -= length;
    }
    return true;
}

int bc__message_parse(struct bc_message *message, const uint8_t *bytes, int64_t size) {
    *message = (struct bc_message){.bytes = bytes, .size = size};
    struct bc_frame frame;
    int code = bc__frame_parse(bytes, size, &frame);
    if (code == EAGAIN) code = EINVAL;
    if (code != 0) return code;
    if (frame.metadata_size == 0 || frame.metadata_size > size - frame.metadata) {
        return EINVAL;
    }
    message->metadata = (size_t)frame.metadata;
    message->framed = (size_t)(frame.metadata + frame.metadata_size);
    message->body = bytes + message->framed;
    struct bc_wire_batch *wire = &message->wire;
    code = bc__metadata_read_batch(bytes + frame.metadata, (size_t)frame.metadata_size,
                                   wire);
    if (code != 0) return code;
    int64_t left = size - (int64_t)message->framed;
    bool fits = wire->body_bytes >= 0 && wire->body_bytes <= left && fits_body(wire);
    return fits ? 0 : EINVAL;
}

bool bc__message_contains(const struct bc_message *message,
                          struct bc_wire_buffer buffer) {
    int64_t bytes = message->wire.body_bytes;
    return buffer.offset >= 0 && buffer.length >= 0 && buffer.offset <= bytes &&
           buffer.length <= bytes - buffer.offset;
}

int bc__message_variadic_buffers(const struct bc_message *message, size_t *out_n) {
    const struct bc_wire_batch *wire = &message->wire;
    size_t n = 0;
    for (size_t i = 0; i < wire->n_variadic_counts; i++) {
        int64_t count = bc__wire_variadic_count(wire, i);
        if (count < 0 || (uint64_t)count > wire->n_buffers - n) return EINVAL;
        n += (size_t)count;
    }
    *out_n = n;
    return 0;
}

/* Counts over a field and all fields below it. */
struct tally {
    size_t buffers; /* in a message, without variadic buffers */
    size_t nulls;   /* null columns */
    size_t others;  /* other fields without a bitmap: unions and run-end encoded fields */
};

static void tally_field(const struct bc_schema *schema, int32_t index,
                        struct tally *tally) {
    const struct bc_field *field = &schema->fields[index];
    bool is_null = field->kind == BC_LAYOUT_NULL;
    /* A message has no buffer for the sizes of variadic buffers, nor for the root. */
    bool has_less = field->kind == BC_LAYOUT_VIEW || index == 0;
    tally->buffers += (size_t)field->n_buffers - has_less;
    tally->nulls += is_null;
    tally->others += !is_null && !field->has_validity;
    for (int32_t c = 0; c < field->n_children; c++) {
        tally_field(schema, field->first_child + c, tally);
    }
}

/* Unions had a bitmap before metadata V5, and Arrow C++ also writes one for run-end
 * encoded fields. Null columns had two buffers in Arrow C++ up to 0.14, and one in files
 * of other writers. The metadata version does not show this, but the number of buffers
 * does. */
int bc__message_find_extras(struct bc_message *message, const struct bc_schema *schema,
                            int32_t values) {
    if (schema->n_without_bitmap == 0) return 0;
    size_t n_variadic;
    int code = bc__message_variadic_buffers(message, &n_variadic);
    if (code != 0) return code;
    struct tally tally = {0, 0, 0};
    tally_field(schema, values, &tally);
    size_t found = message->wire.n_buffers;
    size_t wanted = tally.buffers + n_variadic;
    message->union_extras = message->wire.version < BC_METADATA_V5;
    for (size_t unions = message->union_extras; unions <= 1; unions++) {
        for (size_t nulls = 0; nulls <= NULL_EXTRAS_MAX; nulls++) {
            if (found != wanted + unions * tally.others + nulls * tally.nulls) continue;
            message->union_extras = unions;
            message->null_extras = nulls;
            return 0;
        }
    }
    return 0;
}

int bc__message_walk_columns(const struct bc_message *message,
                             const struct bc_schema *schema,
                             struct bc_message *out_walk) {
    size_t n_variadic;
    *out_walk = *message;
    int code = bc__message_variadic_buffers(message, &n_variadic);
    return code == 0 ? bc__message_find_extras(out_walk, schema, 0) : code;
}

size_t bc__message_extras(const struct bc_message *message,
                          const struct bc_field *field) {
    if (field->has_validity) return 0;
    return field->kind == BC_LAYOUT_NULL ? message->null_extras : message->union_extras;
}

int bc__message_skip_field(struct bc_message *message, const struct bc_schema *schema,
                           int32_t index) {
    const struct bc_field *field = &schema->fields[index];
    size_t n_buffers = (size_t)field->n_buffers;
    if (field->kind == BC_LAYOUT_VIEW) {
        if (message->view >= message->wire.n_variadic_counts) return EINVAL;
        /* A message has no buffer for the sizes of variadic buffers. */
        n_buffers += (size_t)bc__wire_variadic_count(&message->wire, message->view++) - 1;
    }
    n_buffers += bc__message_extras(message, field);
    message->node++;
    message->buffer += n_buffers;
    for (int32_t c = 0; c < field->n_children; c++) {
        int code = bc__message_skip_field(message, schema, field->first_child + c);
        if (code != 0) return code;
    }
    return 0;
}

int64_t bc__message_claimed_bytes(const struct bc_message *message, int64_t n,
                                  int64_t most) {
    int64_t claimed = 0;
    if (message->wire.codec == BC_CODEC_NONE) return 0;
    for (size_t i = message->buffer; n > 0 && i < message->wire.n_buffers; i++, n--) {
        struct bc_wire_buffer buffer = bc__wire_buffer(&message->wire, i);
        struct bc_compressed compressed;
        if (buffer.length == 0 || !bc__message_contains(message, buffer) ||
            bc__compressed_parse(message->body + buffer.offset, buffer.length,
                                 &compressed) != 0) {
            continue;
        }
        if (compressed.length > most - claimed) return most + 1;
        claimed += compressed.length;
    }
    return claimed;
}
