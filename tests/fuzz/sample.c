#include "sample.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consume.h"
#include "nanoarrow/nanoarrow.h"

/* A type. */
struct spec {
    const char *format;
    int n_children;
    const struct spec *children;
    const struct spec *dictionary;
};

#define LEAF(format) {(format), 0, NULL, NULL}
#define NESTED(format, of) {(format), (int)(sizeof(of) / sizeof((of)[0])), (of), NULL}
#define ENCODED(format, values) {(format), 0, NULL, &(values)}

static const struct spec numbers[] = {LEAF("i")};
static const struct spec texts[] = {LEAF("u")};
static const struct spec views[] = {LEAF("vu")};
static const struct spec pair[] = {LEAF("i"), LEAF("u")};
static const struct spec entries[] = {NESTED("+s", pair)};
static const struct spec runs[] = {LEAF("s"), LEAF("u")};
static const struct spec long_runs[] = {LEAF("l"), LEAF("i")};
static const struct spec words = LEAF("u");
static const struct spec large_words = LEAF("Z");
static const struct spec counts = LEAF("l");
static const struct spec word_views = LEAF("vu");
static const struct spec inner[] = {ENCODED("c", words), LEAF("i")};
static const struct spec structs = NESTED("+s", inner);
static const struct spec inner_only[] = {ENCODED("s", words)};

static const struct spec flat_types[] = {
    LEAF("n"),          LEAF("b"),   LEAF("c"),       LEAF("S"),        LEAF("i"),
    LEAF("l"),          LEAF("e"),   LEAF("g"),       LEAF("d:9,2,32"), LEAF("d:38,2"),
    LEAF("d:76,2,256"), LEAF("tdD"), LEAF("tsu:UTC"), LEAF("tiD"),      LEAF("tin"),
    LEAF("w:3"),        LEAF("z"),   LEAF("u"),       LEAF("Z"),        LEAF("U"),
    LEAF("vu"),         LEAF("vz"),
};

static const struct spec nested_types[] = {
    NESTED("+l", numbers), NESTED("+L", texts),     NESTED("+vl", numbers),
    NESTED("+vL", views),  NESTED("+w:2", numbers), NESTED("+s", pair),
    NESTED("+m", entries), NESTED("+us:0,1", pair), NESTED("+ud:3,7", pair),
    NESTED("+r", runs),    NESTED("+r", long_runs), NESTED("+l", entries),
};

static const struct spec dictionaries[] = {
    ENCODED("c", words),      ENCODED("I", large_words), ENCODED("l", counts),
    ENCODED("i", word_views), ENCODED("S", structs),     NESTED("+l", inner_only),
    NESTED("+s", inner_only),
};

static const struct spec few_types[] = {LEAF("i"), LEAF("u"), LEAF("vu"),
                                        NESTED("+l", numbers), ENCODED("c", words)};

/* The choices for a recording. */
#define COLUMNS(types) (types), (int)(sizeof(types) / sizeof((types)[0]))
static const struct {
    const struct spec *columns;
    int n_columns;
    int64_t rows;
    int batches;
    enum bc_compression compression;
} samples[SAMPLES] = {
    {COLUMNS(flat_types), 12, 2, BC_COMPRESSION_NONE},
    {COLUMNS(nested_types), 12, 2, BC_COMPRESSION_NONE},
    {COLUMNS(dictionaries), 12, 3, BC_COMPRESSION_NONE},
    {COLUMNS(few_types), 12, 2, BC_COMPRESSION_NONE},
    {COLUMNS(few_types), 200, 1, BC_COMPRESSION_LZ4},
    {COLUMNS(nested_types), 60, 1, BC_COMPRESSION_ZSTD},
    {COLUMNS(dictionaries), 12, 2, BC_COMPRESSION_LZ4},
};

/* ---- schemas ---- */

static void set_schema(struct ArrowSchema *schema, const struct spec *spec, int number) {
    char name[16];
    (void)snprintf(name, sizeof(name), "%d", number);
    FUZZ_CHECK(ArrowSchemaSetFormat(schema, spec->format) == 0);
    FUZZ_CHECK(ArrowSchemaSetName(schema, name) == 0);
    FUZZ_CHECK(ArrowSchemaAllocateChildren(schema, spec->n_children) == 0);
    for (int i = 0; i < spec->n_children; i++) {
        ArrowSchemaInit(schema->children[i]);
        set_schema(schema->children[i], &spec->children[i], i);
    }
    /* Neither run ends, nor a map's entries, nor their keys have nulls. */
    if (spec->format[0] == '+' && strchr("rm", spec->format[1]) != NULL) {
        schema->children[0]->flags = 0;
        if (spec->format[1] == 'm') schema->children[0]->children[0]->flags = 0;
    }
    if (spec->dictionary == NULL) return;
    FUZZ_CHECK(ArrowSchemaAllocateDictionary(schema) == 0);
    ArrowSchemaInit(schema->dictionary);
    set_schema(schema->dictionary, spec->dictionary, number);
}

/* ---- arrays ---- */

static void fill(struct ArrowArray *array, const struct spec *spec, int64_t n, int salt,
                 bool nulls);

/* Every fifth value is null, where there are nulls. */
static bool is_valid(int64_t i, bool nulls) { return !nulls || i % 5 != 3; }

static void set_validity(struct ArrowArray *array, int64_t n, bool nulls) {
    array->length = n;
    array->null_count = 0;
    if (!nulls) return;
    struct ArrowBitmap *bitmap = ArrowArrayValidityBitmap(array);
    for (int64_t i = 0; i < n; i++) {
        FUZZ_CHECK(ArrowBitmapAppend(bitmap, is_valid(i, nulls), 1) == 0);
        array->null_count += !is_valid(i, nulls);
    }
}

static void append(struct ArrowArray *array, int buffer, const void *value,
                   int64_t size) {
    FUZZ_CHECK(ArrowBufferAppend(ArrowArrayBuffer(array, buffer), value, size) == 0);
}

static void append_number(struct ArrowArray *array, int buffer, int64_t value,
                          bool large) {
    const int32_t small = (int32_t)value;
    if (large) {
        append(array, buffer, &value, sizeof(value));
    } else {
        append(array, buffer, &small, sizeof(small));
    }
}

static void fill_text(struct ArrowArray *array, int64_t n, int salt, bool nulls) {
    static const char *const some[] = {"", "a", "\xC3\xA9t\xC3\xA9",
                                       "more than twelve bytes of text"};
    FUZZ_CHECK(ArrowArrayStartAppending(array) == 0);
    for (int64_t i = 0; i < n; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "%s%d", some[i % 4], (int)(i + salt) % 50);
        if (is_valid(i, nulls)) {
            FUZZ_CHECK(ArrowArrayAppendString(array, ArrowCharView(text)) == 0);
        } else {
            FUZZ_CHECK(ArrowArrayAppendNull(array, 1) == 0);
        }
    }
}

static void fill_list(struct ArrowArray *array, const struct spec *spec, int64_t n,
                      int salt) {
    bool large = strchr(spec->format, 'L') != NULL;
    bool is_view = spec->format[1] == 'v';
    if (!is_view) append_number(array, 1, 0, large);
    for (int64_t i = 0; i < n; i++) {
        append_number(array, 1, is_view ? n - i - 1 : (i + 1) * 2, large);
        if (is_view) append_number(array, 2, i % 2, large);
    }
    bool is_map = spec->format[1] == 'm';
    fill(array->children[0], &spec->children[0], 2 * n, salt, !is_map);
}

static void fill_union(struct ArrowArray *array, const struct spec *spec, int64_t n,
                       int salt) {
    bool dense = spec->format[2] == 'd';
    array->length = n;
    for (int64_t i = 0; i < n; i++) {
        const int8_t id = (int8_t)(dense ? 3 + 4 * (i % 2) : i % 2);
        append(array, 0, &id, sizeof(id));
        if (dense) append_number(array, 1, i / 2, false);
    }
    for (int i = 0; i < 2; i++) {
        fill(array->children[i], &spec->children[i], dense ? n / 2 + 1 : n, salt, true);
    }
}

static void fill_runs(struct ArrowArray *array, const struct spec *spec, int64_t n,
                      int salt) {
    array->length = n;
    struct ArrowArray *ends = array->children[0];
    for (int64_t i = 2; i <= n; i += 2) {
        const int16_t small = (int16_t)i;
        if (spec->children[0].format[0] == 'l') {
            append(ends, 1, &i, sizeof(i));
        } else {
            append(ends, 1, &small, sizeof(small));
        }
        ends->length++;
    }
    fill(array->children[1], &spec->children[1], ends->length, salt, true);
}

static void fill_nested(struct ArrowArray *array, const struct spec *spec, int64_t n,
                        int salt, bool nulls) {
    char kind = spec->format[1];
    if (kind == 'u') {
        fill_union(array, spec, n, salt);
    } else if (kind == 'r') {
        fill_runs(array, spec, n, salt);
    } else {
        set_validity(array, n, nulls);
        if (kind == 's' || kind == 'w') {
            for (int i = 0; i < spec->n_children; i++) {
                fill(array->children[i], &spec->children[i], kind == 'w' ? 2 * n : n,
                     salt + i, nulls);
            }
        } else {
            fill_list(array, spec, n, salt);
        }
    }
}

static int64_t bits_of(const char *format) {
    if (format[0] == 'b') return 1;
    if (format[0] == 'w') return 8 * strtol(format + 2, NULL, 10);
    if (format[0] == 'd') {
        return strstr(format, ",32") != NULL    ? 32
               : strstr(format, ",64") != NULL  ? 64
               : strstr(format, ",256") != NULL ? 256
                                                : 128;
    }
    if (strcmp(format, "tin") == 0) return 128;
    if (strcmp(format, "tdD") == 0) return 32;
    return strchr("cC", format[0]) != NULL    ? 8
           : strchr("sSe", format[0]) != NULL ? 16
           : strchr("iIf", format[0]) != NULL ? 32
                                              : 64;
}

/* Small numbers, which are also valid indices into `below` values. */
static void fill_fixed(struct ArrowArray *array, const char *format, int64_t n, int salt,
                       int64_t below) {
    int64_t bits = bits_of(format);
    int64_t size = bits == 1 ? n / 8 + 1 : n;
    for (int64_t i = 0; i < size; i++) {
        uint8_t value[32] = {0};
        value[0] = (uint8_t)((i + salt) % below);
        append(array, 1, value, bits == 1 ? 1 : bits / 8);
    }
}

static void fill(struct ArrowArray *array, const struct spec *spec, int64_t n, int salt,
                 bool nulls) {
    const char *format = spec->format;
    bool is_text = strchr("uUzZ", format[0]) != NULL || format[0] == 'v';
    if (format[0] == '+') {
        fill_nested(array, spec, n, salt, nulls);
    } else if (format[0] == 'n') {
        array->length = array->null_count = n;
    } else if (is_text) {
        fill_text(array, n, salt, nulls);
    } else {
        int64_t values = 3 + salt;
        set_validity(array, n, nulls);
        fill_fixed(array, format, n, salt, spec->dictionary == NULL ? 100 : values);
        if (spec->dictionary == NULL) return;
        /* Without nulls the dictionary grows from batch to batch; with nulls it is
         * replaced. */
        fill(array->dictionary, spec->dictionary, values, 0, format[0] == 'I');
    }
}

/* ---- recordings ---- */

struct source {
    int sample;
    int next;
};

static int source_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    const struct source *source = stream->private_data;
    const struct spec root = {"+s", samples[source->sample].n_columns,
                              samples[source->sample].columns, NULL};
    ArrowSchemaInit(out);
    set_schema(out, &root, 0);
    return 0;
}

static int source_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct source *source = stream->private_data;
    out->release = NULL;
    if (source->next == samples[source->sample].batches) return 0;
    struct ArrowSchema schema;
    (void)source_schema(stream, &schema);
    FUZZ_CHECK(ArrowArrayInitFromSchema(out, &schema, NULL) == 0);
    schema.release(&schema);
    /* Columns have nulls, and rows do not. */
    out->length = samples[source->sample].rows;
    out->null_count = 0;
    for (int i = 0; i < samples[source->sample].n_columns; i++) {
        fill(out->children[i], &samples[source->sample].columns[i], out->length,
             source->next, true);
    }
    FUZZ_CHECK(ArrowArrayFinishBuilding(out, NANOARROW_VALIDATION_LEVEL_NONE, NULL) == 0);
    source->next++;
    return 0;
}

static const char *source_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return NULL;
}

static void source_release(struct ArrowArrayStream *stream) { stream->release = NULL; }

static uint8_t *read_whole(const char *path, size_t *out_size) {
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    FUZZ_CHECK(size > 0 && fseek(file, 0, SEEK_SET) == 0);
    uint8_t *bytes = malloc((size_t)size);
    FUZZ_CHECK(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    (void)fclose(file);
    *out_size = (size_t)size;
    return bytes;
}

uint8_t *fuzz_sample(int number, size_t *out_size) {
    const char *base = getenv("TMPDIR");
    char directory[1024];
    char path[1100];
    (void)snprintf(directory, sizeof(directory), "%s/batchcorder-fuzz-XXXXXX",
                   base == NULL ? "/tmp" : base);
    FUZZ_CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(path, sizeof(path), "%s/sample.arrows", directory);
    struct source source = {number, 0};
    struct ArrowArrayStream stream = {source_schema, source_next, source_error,
                                      source_release, &source};
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.memory_capacity = 0;
    options.compression = samples[number].compression;
    struct bc_cache *cache;
    struct bc_error error = {0};
    uint64_t batches;
    int code = bc_cache_new(&stream, &options, &cache, &error);
    if (code == 0) code = bc_cache_ingest(cache, &batches, &error);
    if (code != 0) (void)fprintf(stderr, "%s\n", error.message);
    FUZZ_CHECK(code == 0 && batches == (uint64_t)samples[number].batches);
    bc_cache_unref(cache);
    uint8_t *bytes = read_whole(path, out_size);
    FUZZ_CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    return bytes;
}
