#include "ipc/schema_read.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "ipc/metadata.h"
#include "ipc/type_read.h"
#include "nanoarrow/nanoarrow.h"

/* Field ids and values of Arrow's Schema.fbs. */
enum { SCHEMA_ENDIANNESS, SCHEMA_FIELDS, SCHEMA_CUSTOM, SCHEMA_FEATURES };
enum { FIELD_NAME, FIELD_NULLABLE, FIELD_DICTIONARY = 4, FIELD_CHILDREN, FIELD_CUSTOM };
enum { ENCODING_ID, ENCODING_INDEX, ENCODING_ORDERED, ENCODING_KIND };
enum { PAIR_KEY, PAIR_VALUE };
enum { FEATURE_MAX = 2 }; /* 1 is dictionary replacement, 2 is compressed bodies */

/* The path of a field: for error messages, and to bound the recursion. */
struct path {
    const struct path *outer; /* NULL: the schema itself */
    const char *name;
    int depth;
};

/* Metadata in the form of the C data interface, reused as scratch memory. */
struct pairs {
    char *bytes; /* begins with the number of pairs, an int32_t */
    size_t size, capacity;
    int32_t n;
};

struct reader {
    struct bc_flat *flat;
    struct bc_error *error;
    bool is_big_endian;
    int64_t n_fields;
    int64_t *ids; /* of the dictionaries, depth first as in bc_schema */
    size_t n_ids, ids_capacity;
    struct pairs own;    /* of the field or the schema */
    struct pairs values; /* of the field's dictionary */
    struct bc_type_problem problem;
};

/* Writes the dotted path, as bc__schema_field_path() does. */
static void write_path(const struct path *path, char *out, size_t size) {
    out[0] = '\0';
    if (path->outer == NULL) return;
    write_path(path->outer, out, size);
    bc__text_append(out, size, "%s%s", out[0] == '\0' ? "" : ".", path->name);
}

/* Sets the error. If the flatbuffer is broken, that is the error, since other values of
 * it are undefined then. */
static int schema_error(struct reader *reader, const struct path *path, int code,
                        const char *message) {
    if (code == ENOMEM) return bc__error_memory(reader->error);
    if (reader->flat->broken) {
        return bc__error_set(reader->error, EINVAL,
                             "The schema's metadata is broken: something in it lies "
                             "outside of it, or is referred to too often");
    }
    if (path->outer == NULL) {
        return bc__error_set(reader->error, code, "The schema %s", message);
    }
    char text[256];
    write_path(path, text, sizeof(text));
    return bc__error_set(reader->error, code, "Field '%s' %s", text, message);
}

static int append_raw(struct pairs *pairs, const void *data, size_t size) {
    size_t needed = pairs->size + size;
    if (bc__grow((void **)&pairs->bytes, &pairs->capacity, needed, 1) != 0) return ENOMEM;
    if (size > 0) memcpy(pairs->bytes + pairs->size, data, size);
    pairs->size = needed;
    return 0;
}

static int start_pairs(struct pairs *pairs) {
    pairs->n = 0;
    pairs->size = 0;
    return append_raw(pairs, &pairs->n, sizeof(pairs->n));
}

static int set_pairs(struct pairs *pairs, struct ArrowSchema *out) {
    memcpy(pairs->bytes, &pairs->n, sizeof(pairs->n));
    return ArrowSchemaSetMetadata(out, pairs->bytes) == 0 ? 0 : ENOMEM;
}

/* Reads a pair of a field's metadata, or of the schema's. An absent key or value is
 * empty. If the field is dictionary-encoded, keys may have the forms of BC_VALUES_KEY. */
static int read_pair(struct reader *reader, const struct bc_flat_table *pair,
                     bool is_encoded) {
    static const size_t stem = sizeof(BC_VALUES_KEY) - 1;
    size_t key_size;
    size_t value_size;
    const char *key = bc__flat_string(reader->flat, pair, PAIR_KEY, &key_size);
    const char *value = bc__flat_string(reader->flat, pair, PAIR_VALUE, &value_size);
    if (key == NULL) key = "";
    int64_t level = is_encoded ? bc__values_key_level(key, key_size) : -1;
    struct pairs *pairs = level == 0 ? &reader->values : &reader->own;
    /* The key without the stem and ":", or without one "+" after the stem. */
    size_t before = level > 0 ? stem : 0;
    size_t after = level >= 0 ? stem + 1 : 0;
    int32_t length = (int32_t)(before + key_size - after);
    int code = append_raw(pairs, &length, sizeof(length));
    if (code == 0) code = append_raw(pairs, key, before);
    if (code == 0) code = append_raw(pairs, key + after, key_size - after);
    length = (int32_t)value_size;
    if (code == 0) code = append_raw(pairs, &length, sizeof(length));
    if (code == 0) code = append_raw(pairs, value, value_size);
    pairs->n++;
    return code;
}

/* Reads custom metadata, which is field `id` of the table, as the metadata of `out` and
 * of its dictionary. */
static int read_pairs(struct reader *reader, const struct bc_flat_table *table, int id,
                      const struct path *path, struct ArrowSchema *out) {
    struct bc_flat_vector pairs = bc__flat_vector(reader->flat, table, id, 4);
    if (pairs.at == 0) return 0;
    bool is_encoded = out->dictionary != NULL;
    int code = start_pairs(&reader->own);
    if (code == 0) code = start_pairs(&reader->values);
    for (uint32_t i = 0; i < pairs.n && code == 0 && !reader->flat->broken; i++) {
        struct bc_flat_table pair = bc__flat_element(reader->flat, &pairs, i);
        code = read_pair(reader, &pair, is_encoded);
    }
    if (code == 0 && reader->flat->broken) code = EINVAL;
    bool of_values = reader->values.n > 0;
    if (code == 0 && of_values) code = set_pairs(&reader->values, out->dictionary);
    if (code == 0 && (reader->own.n > 0 || !of_values)) {
        code = set_pairs(&reader->own, out);
    }
    return code == 0 ? 0 : schema_error(reader, path, code, "has broken metadata");
}

/* Gives `out` the type of a dictionary's indices, and a dictionary without a type yet. */
static int read_encoding(struct reader *reader, const struct bc_flat_table *encoding,
                         const struct path *path, struct ArrowSchema *out) {
    int64_t id = bc__flat_i64(reader->flat, encoding, ENCODING_ID, 0);
    int16_t kind = bc__flat_i16(reader->flat, encoding, ENCODING_KIND, 0);
    if (kind != 0) {
        return schema_error(reader, path, ENOTSUP,
                            "has a dictionary of a kind not known here");
    }
    struct bc_flat_table index = bc__flat_table(reader->flat, encoding, ENCODING_INDEX);
    int code;
    if (index.at == 0) {
        code = ArrowSchemaSetFormat(out, "i") == 0 ? 0 : ENOMEM;
    } else {
        code = bc__type_read_int(reader->flat, &index, out, &reader->problem);
    }
    if (code != 0) return schema_error(reader, path, code, reader->problem.message);
    if (bc__flat_u8(reader->flat, encoding, ENCODING_ORDERED, 0) != 0) {
        out->flags |= ARROW_FLAG_DICTIONARY_ORDERED;
    }
    if (bc__grow((void **)&reader->ids, &reader->ids_capacity, reader->n_ids + 1,
                 sizeof(*reader->ids)) != 0 ||
        ArrowSchemaAllocateDictionary(out) != 0) {
        return bc__error_memory(reader->error);
    }
    ArrowSchemaInit(out->dictionary);
    reader->ids[reader->n_ids++] = id;
    return ArrowSchemaSetName(out->dictionary, "") == 0 ? 0
                                                        : bc__error_memory(reader->error);
}

static int read_field(struct reader *reader, const struct bc_flat_table *table,
                      const struct path *outer, struct ArrowSchema *out);

/* Reads `fields` as the children of `out`. `path`: that of `out`. */
static int read_children(struct reader *reader, const struct bc_flat_vector *fields,
                         const struct path *path, struct ArrowSchema *out) {
    if (fields->n == 0) return 0;
    if (path->depth >= BC_DEPTH_MAX) {
        return schema_error(reader, path, EINVAL, "is nested too deep");
    }
    reader->n_fields += fields->n;
    if (reader->n_fields > BC_FIELDS_MAX) {
        return schema_error(reader, path, EINVAL, "has too many fields");
    }
    if (ArrowSchemaAllocateChildren(out, fields->n) != 0) {
        return bc__error_memory(reader->error);
    }
    for (uint32_t i = 0; i < fields->n; i++) {
        struct bc_flat_table field = bc__flat_element(reader->flat, fields, i);
        int code = read_field(reader, &field, path, out->children[i]);
        if (code != 0) return code;
    }
    return 0;
}

/* Initialises `out` as the field. After a failure too, the caller releases it. */
static int read_field(struct reader *reader, const struct bc_flat_table *table,
                      const struct path *outer, struct ArrowSchema *out) {
    ArrowSchemaInit(out);
    size_t size;
    const char *name = bc__flat_string(reader->flat, table, FIELD_NAME, &size);
    if (name == NULL) name = "";
    struct path path = {outer, name, outer->depth + 1};
    if (strlen(name) != size) {
        return schema_error(reader, &path, ENOTSUP, "has a zero byte in its name");
    }
    if (ArrowSchemaSetName(out, name) != 0) return bc__error_memory(reader->error);
    bool nullable = bc__flat_u8(reader->flat, table, FIELD_NULLABLE, 0) != 0;
    out->flags = nullable ? ARROW_FLAG_NULLABLE : 0;
    /* If the field has a dictionary, its type and children are those of the values. */
    struct ArrowSchema *values = out;
    struct bc_flat_table encoding = bc__flat_table(reader->flat, table, FIELD_DICTIONARY);
    int code = 0;
    if (encoding.at != 0) {
        code = read_encoding(reader, &encoding, &path, out);
        if (code != 0) return code;
        values = out->dictionary;
    }
    struct bc_flat_vector children =
        bc__flat_vector(reader->flat, table, FIELD_CHILDREN, 4);
    code = bc__type_read(reader->flat, table, children.n, values, &reader->problem);
    if (code == 0 && reader->flat->broken) code = EINVAL;
    if (code != 0) return schema_error(reader, &path, code, reader->problem.message);
    code = read_children(reader, &children, &path, values);
    return code != 0 ? code : read_pairs(reader, table, FIELD_CUSTOM, &path, out);
}

static int check_features(struct reader *reader, const struct bc_flat_table *table,
                          const struct path *path) {
    struct bc_flat_vector features =
        bc__flat_vector(reader->flat, table, SCHEMA_FEATURES, sizeof(int64_t));
    const uint8_t *elements = bc__flat_elements(reader->flat, &features);
    for (uint32_t i = 0; i < features.n; i++) {
        int64_t feature;
        memcpy(&feature, elements + i * sizeof(feature), sizeof(feature));
        if (feature >= 0 && feature <= FEATURE_MAX) continue;
        return schema_error(reader, path, ENOTSUP,
                            "needs a feature that is not known here");
    }
    return 0;
}

static int read_root(struct reader *reader, const struct bc_flat_table *table,
                     struct ArrowSchema *out) {
    static const struct path path;
    int16_t endianness = bc__flat_i16(reader->flat, table, SCHEMA_ENDIANNESS, 0);
    reader->is_big_endian = endianness == 1;
    if (endianness != 0 && endianness != 1)
        return schema_error(reader, &path, EINVAL, "has no byte order");
    int code = check_features(reader, table, &path);
    if (code != 0) return code;
    out->flags = 0;
    if (ArrowSchemaSetFormat(out, "+s") != 0 || ArrowSchemaSetName(out, "") != 0) {
        return bc__error_memory(reader->error);
    }
    struct bc_flat_vector fields = bc__flat_vector(reader->flat, table, SCHEMA_FIELDS, 4);
    code = read_children(reader, &fields, &path, out);
    if (code == 0) code = read_pairs(reader, table, SCHEMA_CUSTOM, &path, out);
    if (code != 0 || !reader->flat->broken) return code;
    return schema_error(reader, &path, EINVAL, "is broken");
}

int bc__schema_read_version(int version, struct bc_error *error) {
    if (version == BC_METADATA_V4 || version == BC_METADATA_V5) return 0;
    return bc__error_set(error, ENOTSUP,
                         "The Arrow metadata is of version V%d; V4 and V5 can be read",
                         version + 1);
}

int bc__schema_read(struct bc_flat *flat, const struct bc_flat_table *table,
                    struct bc_schema **out_schema, struct bc_error *error) {
    bc_assert(flat != NULL && table != NULL && out_schema != NULL);
    struct reader reader = {.flat = flat, .error = error};
    struct ArrowSchema tree;
    struct bc_schema *schema = NULL;
    ArrowSchemaInit(&tree);
    int code = read_root(&reader, table, &tree);
    if (code == 0) code = bc__schema_new(&tree, &schema, error);
    if (code == 0) {
        for (int32_t i = 0; i < schema->n_fields; i++) {
            struct bc_field *field = &schema->fields[i];
            if (field->dictionary < 0) continue;
            bc_assert((size_t)field->dictionary_id < reader.n_ids);
            field->dictionary_id = reader.ids[field->dictionary_id];
        }
        schema->is_big_endian = reader.is_big_endian;
        *out_schema = schema;
    }
    tree.release(&tree);
    bc__free(reader.ids);
    bc__free(reader.own.bytes);
    bc__free(reader.values.bytes);
    return code;
}
