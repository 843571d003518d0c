/* Opens an existing file by its trailer, or by the footer of an Arrow file, or prepares
 * the scan of a stream. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/errors.h"
#include "disk/loaded_message.h"
#include "disk/read_ahead.h"
#include "disk/scan_batches.h"
#include "ipc/other_formats.h"

/* "ARROW1" and two zeros begin an Arrow file. The footer's size and "ARROW1" end it. */
static const char arrow_magic[8] = "ARROW1\0";
enum { MAGIC = 6, FILE_HEAD = 8, FILE_TAIL = 10, ENTRIES_PER_READ = 256, OWN_PREFIX = 8 };

/* ---- with a trailer ---- */

static int load_dictionaries(struct bc_disk *disk, struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    uint8_t entries[ENTRIES_PER_READ * BC_TRAILER_DICTIONARY];
    int64_t first = 0;
    /* Limit the sum of sizes: a small file must not list one message many times. */
    int64_t left = trailer->end;
    for (int64_t i = 0; i < trailer->dictionaries; i++) {
        if (i % ENTRIES_PER_READ == 0) {
            size_t got;
            first = i;
            int code = bc__file_read(&disk->file, entries, sizeof(entries),
                                     bc__trailer_dictionary_at(trailer, i), &got, error);
            size_t wanted =
                (size_t)(trailer->dictionaries - i) < ENTRIES_PER_READ
                    ? (size_t)(trailer->dictionaries - i) * BC_TRAILER_DICTIONARY
                    : sizeof(entries);
            if (code == 0 && got < wanted) code = EIO;
            if (code != 0) return bc__disk_error_reading(disk, code, error);
        }
        const uint8_t *bytes = entries + (i - first) * BC_TRAILER_DICTIONARY;
        struct bc_trailer_dictionary entry;
        int code = EINVAL;
        if (bc__trailer_get_dictionary(trailer, bytes, i, &entry) && entry.size <= left) {
            left -= entry.size;
            const struct bc_dictionary_message message = {
                .id = entry.id,
                .extent = {entry.offset, entry.size},
                .length = entry.length,
                .is_delta = entry.is_delta,
            };
            code = bc__dictionaries_add(&disk->dictionaries, &message);
        }
        if (code == ENOMEM) return bc__error_memory(error);
        if (code != 0) {
            return bc__disk_error_checksum(disk, "a dictionary's place", error);
        }
    }
    return 0;
}

/* Keeps the key of a schema's message. Returns the schema, or frees it if there is no
 * memory. */
static int keep_schema(struct bc_disk *disk, const struct bc_wire_schema *read,
                       struct bc_schema **out_schema, struct bc_error *error) {
    if (bc__disk_set_key(disk, read->key) != 0) {
        bc__schema_free(read->schema);
        return bc__error_memory(error);
    }
    *out_schema = read->schema;
    return 0;
}

/* Reads the schema's message. The trailer has its size. */
static int read_own_schema(struct bc_disk *disk, struct bc_schema **out_schema,
                           struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    size_t size = (size_t)trailer->schema_bytes;
    uint8_t *bytes = bc__malloc(size);
    if (bytes == NULL) return bc__error_memory(error);
    size_t got;
    int code = bc__file_read(&disk->file, bytes, size, 0, &got, error);
    if (code != 0) {
        code = bc__disk_error_reading(disk, code, error);
    } else if (got != size || bc__checksum(bytes, size) != trailer->schema_checksum) {
        code = bc__disk_error_checksum(disk, "the schema", error);
    }
    struct bc_frame frame;
    /* Recordings have aligned messages, with a prefix of eight bytes. */
    if (code == 0 && (bc__frame_parse(bytes, (int64_t)size, &frame) != 0 ||
                      frame.metadata != OWN_PREFIX ||
                      frame.metadata_size > (int64_t)size - frame.metadata)) {
        code = bc__disk_error_message(disk, 0, error);
    }
    struct bc_wire_schema read;
    if (code == 0) {
        code = bc__metadata_read_schema(bytes + frame.metadata,
                                        (size_t)frame.metadata_size, &read, error);
    }
    if (code == 0) code = keep_schema(disk, &read, out_schema, error);
    bc__free(bytes);
    return code;
}

/* Returns the schema through `*out_schema` if `code` is 0. Otherwise undoes
 * bc__disk_init_reading() and frees the schema. */
static int finish_opening(struct bc_disk *disk, int code, struct bc_schema *schema,
                          struct bc_schema **out_schema) {
    if (code == 0) {
        *out_schema = schema;
    } else {
        bc__dictionaries_finish(&disk->dictionaries);
        bc__mapping_finish(&disk->mapping);
        bc__schema_free(schema);
    }
    return code;
}

/* Keeps the entries of a storage's trailer in memory: all later reads need them. */
static int keep_index(struct bc_disk *disk, struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    int64_t end = bc__trailer_statistics_at(trailer);
    const struct bc_extent index = {trailer->end, end - trailer->end};
    return bc__load_range(disk, index, true, &disk->index, error);
}

static int open_indexed(struct bc_disk *disk, struct bc_schema **out_schema,
                        struct bc_error *error) {
    struct bc_schema *schema = NULL;
    int code = bc__file_has_storage(&disk->file) ? keep_index(disk, error) : 0;
    if (code == 0) code = read_own_schema(disk, &schema, error);
    if (code != 0) return code;
    code = bc__disk_init_reading(disk, schema, error);
    if (code != 0) {
        bc__schema_free(schema);
        return code;
    }
    disk->schema_bytes = disk->trailer.schema_bytes;
    disk->schema_checksum = disk->trailer.schema_checksum;
    disk->encoder.checksums = disk->trailer.checksums;
    atomic_store(&disk->schema_verified, true);
    atomic_store(&disk->has_trailer, true);
    disk->tier.has_index = true;
    return finish_opening(disk, load_dictionaries(disk, error), schema, out_schema);
}

/* ---- an Arrow file ---- */

static int read_file_footer(struct bc_disk *disk, int64_t size, uint8_t **out_bytes,
                            size_t *out_size, struct bc_error *error) {
    if (size < FILE_HEAD + FILE_TAIL) return EINVAL;
    uint8_t tail[FILE_TAIL];
    size_t got;
    int code = bc__file_read(&disk->file, tail, FILE_TAIL, size - FILE_TAIL, &got, error);
    if (code != 0) return code;
    int32_t footer_size;
    memcpy(&footer_size, tail, sizeof(footer_size));
    if (got != FILE_TAIL || memcmp(tail + 4, arrow_magic, MAGIC) != 0 ||
        footer_size <= 0 || footer_size > size - FILE_HEAD - FILE_TAIL) {
        return EINVAL;
    }
    uint8_t *bytes = bc__malloc((size_t)footer_size);
    if (bytes == NULL) return ENOMEM;
    code = bc__file_read(&disk->file, bytes, (size_t)footer_size,
                         size - FILE_TAIL - footer_size, &got, error);
    if (code == 0 && got != (size_t)footer_size) code = EINVAL;
    if (code != 0) {
        bc__free(bytes);
        return code;
    }
    *out_bytes = bytes;
    *out_size = (size_t)footer_size;
    return 0;
}

/* Returns the end of the last message that the footer lists, or 0 if it lists none.
 * Invalid blocks are ignored: their own check comes later. */
static int64_t end_of_messages(const struct bc_wire_blocks *lists, int64_t footer) {
    int64_t end = 0;
    for (int list = 0; list < 2; list++) {
        for (size_t i = 0; i < lists[list].n; i++) {
            struct bc_wire_block block = bc__wire_block(&lists[list], i);
            int64_t after;
            if (__builtin_add_overflow(block.offset, block.body_bytes, &after)) continue;
            if (__builtin_add_overflow(after, block.metadata_bytes, &after)) continue;
            if (after > end && after <= footer) end = after;
        }
    }
    return end;
}

/* Finds the start of the last file if several Arrow files were concatenated, else -1. The
 * last footer counts offsets from its own file, but here they lead into the first file.
 * The listed messages therefore seem to end long before the footer. The distance between
 * the last file's start and its footer equals the end of its messages. Without messages,
 * the last file has little more than its schema, which the footer repeats. */
static int find_appended_file(struct bc_disk *disk, int64_t footer, size_t footer_size,
                              const struct bc_wire_blocks *lists, int64_t *out_start,
                              struct bc_error *error) {
    /* The stream's end and padding; a message's frame. */
    enum { END_MAX = 128, MORE = 512 };
    *out_start = -1;
    int64_t end = end_of_messages(lists, footer);
    int64_t last = end == 0 ? footer - FILE_HEAD : footer - end;
    int64_t first = last - (end == 0 ? (int64_t)footer_size + MORE : END_MAX);
    if (first < FILE_HEAD) first = FILE_HEAD;
    if (first < end) first = end;
    if (first > last) return 0;
    size_t size = (size_t)(last - first) + FILE_HEAD;
    uint8_t *bytes = bc__malloc(size);
    if (bytes == NULL) return ENOMEM;
    size_t got = 0;
    int code = bc__file_read(&disk->file, bytes, size, first, &got, error);
    for (size_t i = 0; code == 0 && i + FILE_HEAD <= got; i++) {
        if (memcmp(bytes + i, arrow_magic, FILE_HEAD) == 0)
            *out_start = first + (int64_t)i;
    }
    bc__free(bytes);
    return code;
}

static int check_single_file(struct bc_disk *disk, int64_t size, size_t footer_size,
                             const struct bc_wire_blocks *lists, struct bc_error *error) {
    int64_t start;
    int64_t footer = size - FILE_TAIL - (int64_t)footer_size;
    int code = find_appended_file(disk, footer, footer_size, lists, &start, error);
    if (code != 0) return bc__disk_error_reading(disk, code, error);
    if (start < 0) return 0;
    return bc__error_set(error, EBADMSG,
                         "Another Arrow file begins at byte %lld; open each file by "
                         "itself: '%s'",
                         (long long)start, disk->file.path);
}

static int load_blocks(struct bc_disk *disk, int64_t size,
                       const struct bc_wire_blocks *dictionaries,
                       const struct bc_wire_blocks *batches, struct bc_error *error) {
    disk->dictionaries.is_unordered = true;
    for (size_t i = 0; i < dictionaries->n; i++) {
        struct bc_wire_block block = bc__wire_block(dictionaries, i);
        struct bc_scan_result result;
        int code = bc__scan_block(disk, &block, size, BC_SCAN_DICTIONARY, &result, error);
        if (code == 0) code = bc__scan_add_dictionary(disk, &result);
        if (code != 0) return bc__disk_error_scan(disk, code, block.offset, error);
    }
    disk->blocks = bc__calloc(batches->n + 1, sizeof(disk->blocks[0]));
    if (disk->blocks == NULL) return bc__error_memory(error);
    if (batches->n > 0) {
        memcpy(disk->blocks, batches->blocks, batches->n * sizeof(disk->blocks[0]));
    }
    disk->n_blocks = batches->n;
    return 0;
}

static int open_arrow_file(struct bc_disk *disk, int64_t size,
                           struct bc_schema **out_schema, struct bc_error *error) {
    uint8_t *footer;
    size_t footer_size;
    int code = read_file_footer(disk, size, &footer, &footer_size, error);
    if (code == EINVAL) {
        return bc__error_set(error, ENODATA,
                             "The Arrow file has no footer, so it is cut off: '%s'",
                             disk->file.path);
    }
    if (code != 0) return bc__disk_error_reading(disk, code, error);
    struct bc_schema *schema;
    struct bc_wire_blocks lists[2]; /* of dictionaries, then of batches */
    code = bc__metadata_read_footer(footer, footer_size, &schema, &lists[0], &lists[1],
                                    error);
    if (code == 0) {
        code = bc__disk_init_reading(disk, schema, error);
        if (code == 0) {
            code = check_single_file(disk, size, footer_size, lists, error);
            if (code == 0) code = load_blocks(disk, size, &lists[0], &lists[1], error);
            code = finish_opening(disk, code, schema, out_schema);
        } else {
            bc__schema_free(schema);
        }
    }
    bc__free(footer);
    return code;
}

/* ---- a stream without an index ---- */

/* Sets the error of a file that does not begin with a schema. */
static int not_arrow_error(const struct bc_disk *disk, struct bc_error *error) {
    uint8_t head[BC_FORMAT_HEAD];
    size_t got;
    struct bc_other_format other = {NULL, NULL};
    if (bc__file_read(&disk->file, head, sizeof(head), 0, &got, error) == 0) {
        other = bc__other_format(head, got);
    }
    if (other.name != NULL) {
        return bc__error_set_kind(error, BC_ERROR_NOT_ARROW, EINVAL,
                                  "Not an Arrow stream or file, but %s: %s: '%s'",
                                  other.name, other.advice, disk->file.path);
    }
    return bc__error_set_kind(
        error, BC_ERROR_NOT_ARROW, EINVAL,
        "Not an Arrow stream or file: it does not begin with a schema: "
        "'%s'",
        disk->file.path);
}

/* Returns whether the file ends inside its schema. */
static bool is_cut_schema(const struct bc_disk *disk, const struct bc_scan_result *result,
                          int64_t size) {
    static const uint8_t marker[4] = {0xff, 0xff, 0xff, 0xff};
    if (result->kind == BC_SCAN_NOTHING) return true;
    size_t n = size < (int64_t)sizeof(marker) ? (size_t)size : sizeof(marker);
    return result->kind == BC_SCAN_PART && memcmp(disk->scanner.scratch, marker, n) == 0;
}

int bc__disk_check_schema(struct bc_disk *disk, const struct bc_scan_result *result,
                          size_t digits, struct bc_error *error) {
    size_t size = (size_t)result->size;
    size_t framing = size - result->metadata_size;
    uint64_t expected;
    bool is_right =
        size >= digits + framing + BC_DIGITS &&
        bc__checksum_parse((const char *)disk->scanner.scratch + digits, &expected);
    uint8_t *bytes = is_right ? bc__malloc(size) : NULL;
    if (is_right && bytes == NULL) return bc__error_memory(error);
    size_t got = 0;
    int code = 0;
    if (is_right)
        code = bc__file_read(&disk->file, bytes, size, disk->scanner.offset, &got, error);
    is_right = is_right && code == 0 && got == size &&
               bc__checksum_message(bytes, size, framing + digits) == expected;
    bc__free(bytes);
    if (code != 0) return bc__disk_error_reading(disk, code, error);
    if (is_right) return 0;
    return bc__disk_error_checksum(disk, "the schema", error);
}

static int open_stream(struct bc_disk *disk, int64_t size, struct bc_schema **out_schema,
                       struct bc_error *error) {
    struct bc_scan_result result;
    int64_t start = disk->scanner.offset;
    int code = bc__scanner_peek(&disk->scanner, size, &result, error);
    if (code != 0 && code != EINVAL && code != ENOTSUP) {
        return bc__disk_error_reading(disk, code, error);
    }
    if (code == 0 && is_cut_schema(disk, &result, size)) {
        return bc__error_set(error, ENODATA, "The file ends before its schema does: '%s'",
                             disk->file.path);
    }
    if (code != 0 || result.kind != BC_SCAN_SCHEMA) {
        return not_arrow_error(disk, error);
    }
    struct bc_wire_schema read;
    struct bc_schema *schema = NULL;
    code = bc__metadata_read_schema(disk->scanner.scratch, result.metadata_size, &read,
                                    error);
    const char *digits = code == 0 ? read.checksums.data : NULL;
    if (code == 0) code = keep_schema(disk, &read, &schema, error);
    if (code != 0) return code;
    if (digits != NULL) {
        size_t at = (size_t)(digits - (const char *)disk->scanner.scratch);
        code = bc__disk_check_schema(disk, &result, at, error);
    }
    if (code != 0) {
        bc__schema_free(schema);
        return code;
    }
    disk->scanner.is_ours = digits != NULL;
    code = bc__disk_init_reading(disk, schema, error);
    if (code != 0) {
        bc__schema_free(schema);
        return code;
    }
    disk->encoder.checksums = digits != NULL;
    disk->schema_bytes = result.size;
    atomic_store(&disk->schema_verified, true);
    disk->scanner.offset = start + result.size;
    *out_schema = schema;
    return 0;
}

/* Opens the file by its format. */
static int open_by_format(struct bc_disk *disk, int64_t size,
                          struct bc_schema **out_schema, struct bc_error *error) {
    bool complete;
    int code = bc__trailer_read(&disk->file, size, &disk->trailer, &complete, error);
    uint8_t head[FILE_HEAD] = {0};
    size_t got = 0;
    if (code == 0) code = bc__file_read(&disk->file, head, FILE_HEAD, 0, &got, error);
    if (code != 0) return bc__disk_error_reading(disk, code, error);
    /* With a limit below the batch count, scan the file without its index. */
    if (complete && (uint64_t)disk->trailer.batches <= disk->max_batches) {
        return open_indexed(disk, out_schema, error);
    }
    disk->scanner.file = &disk->file;
    if (got == FILE_HEAD && memcmp(head, arrow_magic, MAGIC) == 0) {
        code = open_arrow_file(disk, size, out_schema, disk->is_partial ? NULL : error);
        if (code == 0 || !disk->is_partial) return code;
        /* The file has the same messages as a stream. */
        disk->scanner.offset = FILE_HEAD;
    }
    return open_stream(disk, size, out_schema, error);
}

/* Takes ownership of the source's file, on failure too, or of its storage. */
static int adopt_source(struct bc_disk *disk, const struct bc_disk_source *source,
                        struct bc_error *error) {
    if (source->storage != NULL) {
        int code = bc__file_adopt_storage(&disk->file, source->storage, source->path);
        return code == 0 ? 0 : bc__error_memory(error);
    }
    int64_t size = 0;
    int code = bc__sys_check_regular(source->file);
    if (code == 0) code = bc__sys_size(source->file, &size);
    if (code != 0) {
        bc__sys_close(source->file);
        return bc__error_set(
            error, code, "Failed to open: %s: '%s'",
            code == ESPIPE ? "Not a regular file" : bc__error_message(code),
            source->path);
    }
    code = bc__file_adopt(&disk->file, source->file, source->path, size);
    return code == 0 ? 0 : bc__error_memory(error);
}

int bc__disk_open_file(struct bc_disk *disk, const struct bc_disk_source *source,
                       struct bc_schema **out_schema, struct bc_error *error) {
    bool has_storage = source->storage != NULL;
    bc_assert(disk != NULL && has_storage == (source->file < 0) && source->path != NULL);
    memset(disk, 0, sizeof(*disk));
    int code = adopt_source(disk, source, error);
    if (code != 0) return code;
    disk->tier.ops = &bc__disk_ops;
    disk->file.is_lent = source->is_lent;
    disk->is_partial = source->is_partial;
    disk->follows = source->follows;
    disk->tier.copies_on_read = source->copies || has_storage;
    disk->tier.is_writable = source->is_writable;
    disk->tier.is_unkept = source->is_writable || has_storage;
    disk->validates = source->validates;
    disk->max_batches = source->max_batches;
    if (has_storage && bc__read_ahead_new(&disk->ahead) != 0) {
        bc__file_finish(&disk->file);
        return bc__error_memory(error);
    }
    code = open_by_format(disk, atomic_load(&disk->file.size), out_schema, error);
    if (code != 0) {
        bc__read_ahead_free(disk->ahead);
        bc__region_unref(disk->index);
        bc__scanner_finish(&disk->scanner);
        bc__free(disk->blocks);
        bc__free(disk->key);
        bc__file_finish(&disk->file);
    }
    return code;
}
