/* Builds the flatbuffers of Schema, RecordBatch and DictionaryBatch messages. */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "flatcc/flatcc_builder.h"
#include "ipc/metadata.h"
#include "nanoarrow/ipc/flatcc_generated.h"
#include "nanoarrow/nanoarrow.h"

#define ns(name) FLATBUFFERS_WRAP_NAMESPACE(org_apache_arrow_flatbuf, name)

_Static_assert(sizeof(struct bc_wire_node) == sizeof(ns(FieldNode_t)), "wire layout");
_Static_assert(sizeof(struct bc_wire_buffer) == sizeof(ns(Buffer_t)), "wire layout");

/* The offsets of the numbers in the bytes of a batch's message. */
struct offsets {
    size_t rows;
    size_t body_bytes;
    size_t nodes;
    size_t buffers;
    size_t variadic_counts;
    size_t checksums;
};

struct bc_metadata_builder {
    flatcc_builder_t flatcc;
    uint8_t *bytes; /* the last message */
    size_t size;
    size_t capacity;
    bool is_batch; /* the last message has `shape`, and its numbers are at `offsets` */
    struct bc_wire_batch shape;
    struct offsets offsets;
};

int bc__metadata_builder_new(struct bc_metadata_builder **out_builder) {
    struct bc_metadata_builder *builder = bc__calloc(1, sizeof(*builder));
    if (builder == NULL) return ENOMEM;
    if (flatcc_builder_init(&builder->flatcc) != 0) {
        bc__free(builder);
        return ENOMEM;
    }
    *out_builder = builder;
    return 0;
}

void bc__metadata_builder_free(struct bc_metadata_builder *builder) {
    if (builder == NULL) return;
    flatcc_builder_clear(&builder->flatcc);
    bc__free(builder->bytes);
    bc__free(builder);
}

static int add_int(flatcc_builder_t *b, uint16_t bits, bool is_signed) {
    return ns(Field_type_Int_create(b, bits, is_signed));
}

static int add_timestamp(flatcc_builder_t *b, const struct ArrowSchemaView *view) {
    if (ns(Field_type_Timestamp_start(b))) return -1;
    if (ns(Timestamp_unit_add(b, (ns(TimeUnit_enum_t))view->time_unit))) return -1;
    if (view->timezone != NULL && view->timezone[0] != '\0' &&
        ns(Timestamp_timezone_create_str(b, view->timezone))) {
        return -1;
    }
    return ns(Field_type_Timestamp_end(b));
}

static int add_union(flatcc_builder_t *b, const struct bc_field *field) {
    if (ns(Field_type_Union_start(b))) return -1;
    bool dense = field->kind == BC_LAYOUT_DENSE_UNION;
    if (ns(Union_mode_add(b, dense ? ns(UnionMode_Dense) : ns(UnionMode_Sparse))))
        return -1;
    int32_t ids[128];
    for (int id = 0; id < 128; id++) {
        if (field->union_children[id] >= 0) ids[field->union_children[id]] = id;
    }
    if (ns(Union_typeIds_create(b, ids, (size_t)field->n_children))) return -1;
    return ns(Field_type_Union_end(b));
}

/* Adds the type that `view` describes. It returns -1 if the builder fails, or the format
 * does not have the type. */
static int add_type(flatcc_builder_t *b, const struct bc_field *field,
                    const struct ArrowSchemaView *view) {
    ns(TimeUnit_enum_t) unit = (ns(TimeUnit_enum_t))view->time_unit;
    switch (view->type) {
        case NANOARROW_TYPE_NA:
            return ns(Field_type_Null_create(b));
        case NANOARROW_TYPE_BOOL:
            return ns(Field_type_Bool_create(b));
        case NANOARROW_TYPE_INT8:
            return add_int(b, 8, true);
        case NANOARROW_TYPE_UINT8:
            return add_int(b, 8, false);
        case NANOARROW_TYPE_INT16:
            return add_int(b, 16, true);
        case NANOARROW_TYPE_UINT16:
            return add_int(b, 16, false);
        case NANOARROW_TYPE_INT32:
            return add_int(b, 32, true);
        case NANOARROW_TYPE_UINT32:
            return add_int(b, 32, false);
        case NANOARROW_TYPE_INT64:
            return add_int(b, 64, true);
        case NANOARROW_TYPE_UINT64:
            return add_int(b, 64, false);
        case NANOARROW_TYPE_HALF_FLOAT:
            return ns(Field_type_FloatingPoint_create(b, ns(Precision_HALF)));
        case NANOARROW_TYPE_FLOAT:
            return ns(Field_type_FloatingPoint_create(b, ns(Precision_SINGLE)));
        case NANOARROW_TYPE_DOUBLE:
            return ns(Field_type_FloatingPoint_create(b, ns(Precision_DOUBLE)));
        case NANOARROW_TYPE_DECIMAL32:
        case NANOARROW_TYPE_DECIMAL64:
        case NANOARROW_TYPE_DECIMAL128:
        case NANOARROW_TYPE_DECIMAL256:
            return ns(Field_type_Decimal_create(
                b, view->decimal_precision, view->decimal_scale, view->decimal_bitwidth));
        case NANOARROW_TYPE_STRING:
            return ns(Field_type_Utf8_create(b));
        case NANOARROW_TYPE_LARGE_STRING:
            return ns(Field_type_LargeUtf8_create(b));
        case NANOARROW_TYPE_STRING_VIEW:
            return ns(Field_type_Utf8View_create(b));
        case NANOARROW_TYPE_BINARY:
            return ns(Field_type_Binary_create(b));
        case NANOARROW_TYPE_LARGE_BINARY:
            return ns(Field_type_LargeBinary_create(b));
        case NANOARROW_TYPE_BINARY_VIEW:
            return ns(Field_type_BinaryView_create(b));
        case NANOARROW_TYPE_FIXED_SIZE_BINARY:
            return ns(Field_type_FixedSizeBinary_create(b, view->fixed_size));
        case NANOARROW_TYPE_DATE32:
            return ns(Field_type_Date_create(b, ns(DateUnit_DAY)));
        case NANOARROW_TYPE_DATE64:
            return ns(Field_type_Date_create(b, ns(DateUnit_MILLISECOND)));
        case NANOARROW_TYPE_TIME32:
            return ns(Field_type_Time_create(b, unit, 32));
        case NANOARROW_TYPE_TIME64:
            return ns(Field_type_Time_create(b, unit, 64));
        case NANOARROW_TYPE_TIMESTAMP:
            return add_timestamp(b, view);
        case NANOARROW_TYPE_DURATION:
            return ns(Field_type_Duration_create(b, unit));
        case NANOARROW_TYPE_INTERVAL_MONTHS:
            return ns(Field_type_Interval_create(b, ns(IntervalUnit_YEAR_MONTH)));
        case NANOARROW_TYPE_INTERVAL_DAY_TIME:
            return ns(Field_type_Interval_create(b, ns(IntervalUnit_DAY_TIME)));
        case NANOARROW_TYPE_INTERVAL_MONTH_DAY_NANO:
            return ns(Field_type_Interval_create(b, ns(IntervalUnit_MONTH_DAY_NANO)));
        case NANOARROW_TYPE_LIST:
            return ns(Field_type_List_create(b));
        case NANOARROW_TYPE_LARGE_LIST:
            return ns(Field_type_LargeList_create(b));
        case NANOARROW_TYPE_LIST_VIEW:
            return ns(Field_type_ListView_create(b));
        case NANOARROW_TYPE_LARGE_LIST_VIEW:
            return ns(Field_type_LargeListView_create(b));
        case NANOARROW_TYPE_FIXED_SIZE_LIST:
            return ns(Field_type_FixedSizeList_create(b, view->fixed_size));
        case NANOARROW_TYPE_STRUCT:
            return ns(Field_type_Struct__create(b));
        case NANOARROW_TYPE_MAP:
            return ns(Field_type_Map_create(
                b, (view->schema->flags & ARROW_FLAG_MAP_KEYS_SORTED) != 0));
        case NANOARROW_TYPE_SPARSE_UNION:
        case NANOARROW_TYPE_DENSE_UNION:
            return add_union(b, field);
        case NANOARROW_TYPE_RUN_END_ENCODED:
            return ns(Field_type_RunEndEncoded_create(b));
        default:
            return -1;
    }
}

/* How a key is written: as it is, as a key of a dictionary-encoded field, or as a key of
 * the dictionary's values. See BC_VALUES_KEY. */
enum key_form { KEY_PLAIN, KEY_OF_ENCODED, KEY_OF_VALUES };

static int append_string(flatcc_builder_t *b, const char *text, size_t size) {
    if (size == 0) return 0;
    return flatcc_builder_append_string(b, text, size) == NULL ? -1 : 0;
}

static int add_key(flatcc_builder_t *b, const char *key, size_t size,
                   enum key_form form) {
    const char *start = form == KEY_OF_VALUES ? BC_VALUES_KEY ":" : "";
    if (form == KEY_OF_ENCODED && bc__values_key_level(key, size) >= 0) {
        start = BC_VALUES_KEY "+";
        key += sizeof(BC_VALUES_KEY) - 1;
        size -= sizeof(BC_VALUES_KEY) - 1;
    }
    if (ns(KeyValue_key_start(b))) return -1;
    if (append_string(b, start, strlen(start)) != 0) return -1;
    if (append_string(b, key, size) != 0) return -1;
    return ns(KeyValue_key_end(b));
}

/* Adds each pair of an Arrow metadata string as a KeyValue of the open vector. */
static int add_pairs(flatcc_builder_t *b, const char *metadata, enum key_form form,
                     int (*push_start)(flatcc_builder_t *),
                     ns(KeyValue_ref_t) * (*push_end)(flatcc_builder_t *)) {
    struct ArrowMetadataReader reader;
    if (ArrowMetadataReaderInit(&reader, metadata) != 0) return -1;
    while (reader.remaining_keys > 0) {
        struct ArrowStringView key;
        struct ArrowStringView value;
        if (ArrowMetadataReaderRead(&reader, &key, &value) != 0) return -1;
        if (push_start(b)) return -1;
        if (add_key(b, key.data, (size_t)key.size_bytes, form) != 0) return -1;
        if (ns(KeyValue_value_create(b, value.data, (size_t)value.size_bytes))) {
            return -1;
        }
        if (push_end(b) == NULL) return -1;
    }
    return 0;
}

static bool has_pairs(const char *metadata) {
    struct ArrowMetadataReader reader;
    return ArrowMetadataReaderInit(&reader, metadata) == 0 && reader.remaining_keys > 0;
}

/* Adds the metadata of the field and of its dictionary's values, as one vector. */
static int add_field_metadata(flatcc_builder_t *b, const struct ArrowSchema *field) {
    const struct ArrowSchema *values = field->dictionary;
    bool of_values = values != NULL && has_pairs(values->metadata);
    if (field->metadata == NULL && !of_values) return 0;
    if (ns(Field_custom_metadata_start(b))) return -1;
    if (add_pairs(b, field->metadata, values == NULL ? KEY_PLAIN : KEY_OF_ENCODED,
                  ns(Field_custom_metadata_push_start),
                  ns(Field_custom_metadata_push_end)) != 0) {
        return -1;
    }
    if (of_values && add_pairs(b, values->metadata, KEY_OF_VALUES,
                               ns(Field_custom_metadata_push_start),
                               ns(Field_custom_metadata_push_end)) != 0) {
        return -1;
    }
    return ns(Field_custom_metadata_end(b));
}

static int add_field(struct bc_metadata_builder *builder, const struct bc_schema *schema,
                     int32_t index);

/* Adds the field's index type and dictionary id. */
static int add_encoding(flatcc_builder_t *b, const struct bc_field *field,
                        const struct ArrowSchemaView *view) {
    bool is_signed = view->storage_type == NANOARROW_TYPE_INT8 ||
                     view->storage_type == NANOARROW_TYPE_INT16 ||
                     view->storage_type == NANOARROW_TYPE_INT32 ||
                     view->storage_type == NANOARROW_TYPE_INT64;
    int32_t bits = (int32_t)view->layout.element_size_bits[1];
    ns(Int_ref_t) index = ns(Int_create(b, bits, is_signed));
    if (index == 0) return -1;
    bool ordered = (field->schema->flags & ARROW_FLAG_DICTIONARY_ORDERED) != 0;
    ns(DictionaryEncoding_ref_t) encoding = ns(DictionaryEncoding_create(
        b, field->dictionary_id, index, ordered, ns(DictionaryKind_DenseArray)));
    return encoding == 0 ? -1 : ns(Field_dictionary_add(b, encoding));
}

/* Adds the children of the field at `index`. An empty vector is written too: Polars reads
 * no struct without the vector. */
static int add_children(struct bc_metadata_builder *builder,
                        const struct bc_schema *schema, int32_t index) {
    const struct bc_field *field = &schema->fields[index];
    flatcc_builder_t *b = &builder->flatcc;
    if (ns(Field_children_start(b))) return -1;
    for (int32_t c = 0; c < field->n_children; c++) {
        if (ns(Field_children_push_start(b))) return -1;
        if (add_field(builder, schema, field->first_child + c) != 0) return -1;
        if (ns(Field_children_push_end(b)) == NULL) return -1;
    }
    return ns(Field_children_end(b));
}

static int add_field(struct bc_metadata_builder *builder, const struct bc_schema *schema,
                     int32_t index) {
    flatcc_builder_t *b = &builder->flatcc;
    const struct ArrowSchema *field = schema->fields[index].schema;
    struct ArrowSchemaView view;
    if (bc__schema_view(field, &view, NULL) != 0) return -1;
    if (ns(Field_name_create_str(b, field->name == NULL ? "" : field->name))) return -1;
    if (ns(Field_nullable_add(b, (field->flags & ARROW_FLAG_NULLABLE) != 0))) return -1;
    int32_t values = index;
    if (field->dictionary != NULL) {
        if (add_encoding(b, &schema->fields[index], &view) != 0) return -1;
        values = schema->fields[index].dictionary;
        if (bc__schema_view(field->dictionary, &view, NULL) != 0) return -1;
    }
    if (add_type(b, &schema->fields[values], &view) != 0) return -1;
    if (add_children(builder, schema, values) != 0) return -1;
    return add_field_metadata(b, field);
}

static int add_schema(struct bc_metadata_builder *builder,
                      const struct bc_schema *schema) {
    flatcc_builder_t *b = &builder->flatcc;
    const struct bc_field *root = &schema->fields[0];
    if (ns(Message_header_Schema_start(b))) return -1;
    if (ns(Schema_endianness_add(b, ns(Endianness_Little)))) return -1;
    if (ns(Schema_fields_start(b))) return -1;
    for (int32_t c = 0; c < root->n_children; c++) {
        if (ns(Schema_fields_push_start(b))) return -1;
        if (add_field(builder, schema, root->first_child + c) != 0) return -1;
        if (ns(Schema_fields_push_end(b)) == NULL) return -1;
    }
    if (ns(Schema_fields_end(b))) return -1;
    if (root->schema->metadata != NULL) {
        if (ns(Schema_custom_metadata_start(b))) return -1;
        if (add_pairs(b, root->schema->metadata, KEY_PLAIN,
                      ns(Schema_custom_metadata_push_start),
                      ns(Schema_custom_metadata_push_end)) != 0) {
            return -1;
        }
        if (ns(Schema_custom_metadata_end(b))) return -1;
    }
    return ns(Message_header_Schema_end(b));
}

/* Adds a pair to the custom metadata, which is started. */
static int add_pair(flatcc_builder_t *b, const char *name, const char *text,
                    size_t size) {
    if (text == NULL) return 0;
    if (ns(Message_custom_metadata_push_start(b))) return -1;
    if (ns(KeyValue_key_create_str(b, name))) return -1;
    if (ns(KeyValue_value_create_strn(b, text, size))) return -1;
    return ns(Message_custom_metadata_push_end(b)) == NULL ? -1 : 0;
}

/* Adds the custom metadata of a message: first the checksums. */
static int add_custom(flatcc_builder_t *b, const char *checksums, size_t size,
                      const char *key) {
    if (checksums == NULL && key == NULL) return 0;
    if (ns(Message_custom_metadata_start(b))) return -1;
    if (add_pair(b, BC_CHECKSUM_KEY, checksums, size) != 0) return -1;
    size_t key_size = key == NULL ? 0 : strlen(key);
    if (add_pair(b, BC_KEY_KEY, key, key_size) != 0) return -1;
    return ns(Message_custom_metadata_end(b));
}

/* Resets the builder, since an earlier build may have failed, and starts a message. */
static int start_message(struct bc_metadata_builder *builder) {
    flatcc_builder_t *b = &builder->flatcc;
    builder->is_batch = false;
    if (flatcc_builder_reset(b) != 0) return -1;
    if (ns(Message_start_as_root(b))) return -1;
    return ns(Message_version_add(b, ns(MetadataVersion_V5)));
}

/* Ends the message, and copies its bytes. */
static int end_message(struct bc_metadata_builder *builder) {
    flatcc_builder_t *b = &builder->flatcc;
    if (ns(Message_end_as_root(b)) == 0) return ENOMEM;
    builder->size = flatcc_builder_get_buffer_size(b);
    if (bc__grow((void **)&builder->bytes, &builder->capacity, builder->size, 1) != 0) {
        return ENOMEM;
    }
    if (flatcc_builder_copy_buffer(b, builder->bytes, builder->size) == NULL) {
        return ENOMEM;
    }
    return 0;
}

static size_t offset_of(const struct bc_metadata_builder *builder, const void *at) {
    return at == NULL ? 0 : (size_t)((const uint8_t *)at - builder->bytes);
}

/* Returns the offset of the checksums, the first custom metadata of a message, or 0. */
static size_t checksums_offset(const struct bc_metadata_builder *builder) {
    ns(Message_table_t) message = ns(Message_as_root(builder->bytes));
    ns(KeyValue_vec_t) pairs = ns(Message_custom_metadata(message));
    if (ns(KeyValue_vec_len(pairs)) == 0) return 0;
    return offset_of(builder, ns(KeyValue_value(ns(KeyValue_vec_at(pairs, 0)))));
}

int bc__metadata_build_schema(struct bc_metadata_builder *builder,
                              const struct bc_schema *schema, const char *checksums,
                              const char *key, const uint8_t **out_bytes,
                              size_t *out_size, size_t *out_digits,
                              struct bc_error *error) {
    bc_assert(builder != NULL && schema != NULL);
    size_t checksums_size = checksums == NULL ? 0 : strlen(checksums);
    if (start_message(builder) != 0 || add_schema(builder, schema) != 0 ||
        add_custom(&builder->flatcc, checksums, checksums_size, key) != 0 ||
        ns(Message_bodyLength_add(&builder->flatcc, 0)) != 0) {
        return bc__error_set(error, ENOMEM, "The schema's message could not be built");
    }
    if (end_message(builder) != 0) return bc__error_memory(error);
    *out_bytes = builder->bytes;
    *out_size = builder->size;
    *out_digits = checksums == NULL ? 0 : checksums_offset(builder);
    return 0;
}

static ns(CompressionType_enum_t) codec_of(enum bc_codec codec) {
    return codec == BC_CODEC_LZ4 ? ns(CompressionType_LZ4_FRAME)
                                 : ns(CompressionType_ZSTD);
}

/* Fills the open RecordBatch table. */
static int add_record(flatcc_builder_t *b, const struct bc_wire_batch *batch) {
    if (ns(RecordBatch_length_force_add(b, batch->rows))) return -1;
    if (batch->codec != BC_CODEC_NONE &&
        ns(RecordBatch_compression_create(b, codec_of(batch->codec),
                                          ns(BodyCompressionMethod_BUFFER)))) {
        return -1;
    }
    if (ns(RecordBatch_nodes_create(b, batch->nodes, batch->n_nodes))) {
        return -1;
    }
    if (ns(RecordBatch_buffers_create(b, batch->buffers, batch->n_buffers))) {
        return -1;
    }
    if (batch->n_variadic_counts == 0) return 0;
    return ns(RecordBatch_variadicBufferCounts_create(b, batch->variadic_counts,
                                                      batch->n_variadic_counts));
}

static int add_batch(flatcc_builder_t *b, const struct bc_wire_batch *batch) {
    if (!batch->is_dictionary) {
        if (ns(Message_header_RecordBatch_start(b))) return -1;
        if (add_record(b, batch) != 0) return -1;
        return ns(Message_header_RecordBatch_end(b));
    }
    if (ns(Message_header_DictionaryBatch_start(b))) return -1;
    if (ns(DictionaryBatch_id_add(b, batch->dictionary_id))) return -1;
    if (ns(DictionaryBatch_data_start(b))) return -1;
    if (add_record(b, batch) != 0) return -1;
    if (ns(DictionaryBatch_data_end(b))) return -1;
    if (ns(DictionaryBatch_isDelta_add(b, batch->is_delta))) return -1;
    return ns(Message_header_DictionaryBatch_end(b));
}

/* Returns the RecordBatch of a batch's or dictionary's message. */
static ns(RecordBatch_table_t) record_of(ns(Message_table_t) message) {
    flatbuffers_generic_t header = ns(Message_header(message));
    if (ns(Message_header_type(message)) == ns(MessageHeader_RecordBatch)) {
        return (ns(RecordBatch_table_t))header;
    }
    return ns(DictionaryBatch_data((ns(DictionaryBatch_table_t))header));
}

/* Records the shape and the offsets of the last message. */
static void record_offsets(struct bc_metadata_builder *builder,
                           const struct bc_wire_batch *batch) {
    ns(Message_table_t) message = ns(Message_as_root(builder->bytes));
    ns(RecordBatch_table_t) record = record_of(message);
    builder->offsets = (struct offsets){
        .rows = offset_of(builder, ns(RecordBatch_length_get_ptr(record))),
        .body_bytes = offset_of(builder, ns(Message_bodyLength_get_ptr(message))),
        .nodes = offset_of(builder, ns(RecordBatch_nodes(record))),
        .buffers = offset_of(builder, ns(RecordBatch_buffers(record))),
        .variadic_counts =
            offset_of(builder, ns(RecordBatch_variadicBufferCounts(record))),
        .checksums = checksums_offset(builder),
    };
    builder->shape = *batch;
    builder->is_batch = true;
}

static bool is_same_shape(const struct bc_wire_batch *a, const struct bc_wire_batch *b) {
    return a->is_dictionary == b->is_dictionary && a->is_delta == b->is_delta &&
           a->codec == b->codec && a->dictionary_id == b->dictionary_id &&
           a->n_nodes == b->n_nodes && a->n_buffers == b->n_buffers &&
           a->n_variadic_counts == b->n_variadic_counts &&
           a->checksums_size == b->checksums_size;
}

static void overwrite_at(struct bc_metadata_builder *builder, size_t place,
                         const void *data, size_t size) {
    if (size > 0) memcpy(builder->bytes + place, data, size);
}

/* Overwrites the numbers of the last message by those of `batch`, of the same shape. */
static void overwrite_numbers(struct bc_metadata_builder *builder,
                              const struct bc_wire_batch *batch) {
    const struct offsets *offsets = &builder->offsets;
    overwrite_at(builder, offsets->rows, &batch->rows, sizeof(batch->rows));
    overwrite_at(builder, offsets->body_bytes, &batch->body_bytes,
                 sizeof(batch->body_bytes));
    overwrite_at(builder, offsets->nodes, batch->nodes,
                 batch->n_nodes * sizeof(struct bc_wire_node));
    overwrite_at(builder, offsets->buffers, batch->buffers,
                 batch->n_buffers * sizeof(struct bc_wire_buffer));
    overwrite_at(builder, offsets->variadic_counts, batch->variadic_counts,
                 batch->n_variadic_counts * sizeof(int64_t));
    overwrite_at(builder, offsets->checksums, batch->checksums, batch->checksums_size);
}

int bc__metadata_build_batch(struct bc_metadata_builder *builder,
                             const struct bc_wire_batch *batch, const uint8_t **out_bytes,
                             size_t *out_size, size_t *out_digits,
                             struct bc_error *error) {
    bc_assert(builder != NULL && batch != NULL && batch->rows >= 0);
    flatcc_builder_t *b = &builder->flatcc;
    if (builder->is_batch && is_same_shape(&builder->shape, batch)) {
        overwrite_numbers(builder, batch);
    } else {
        if (start_message(builder) != 0 || add_batch(b, batch) != 0 ||
            add_custom(b, batch->checksums, batch->checksums_size, NULL) != 0 ||
            ns(Message_bodyLength_force_add(b, batch->body_bytes)) != 0 ||
            end_message(builder) != 0) {
            return bc__error_memory(error);
        }
        record_offsets(builder, batch);
    }
    *out_bytes = builder->bytes;
    *out_size = builder->size;
    *out_digits = builder->offsets.checksums;
    return 0;
}
