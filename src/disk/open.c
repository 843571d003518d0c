/* Files that were written before: opened by their trailer, by the footer of an Arrow
 * file, or walked. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/disk.h"

/* "ARROW1" and two zeros begin an Arrow file; its footer's size and "ARROW1" end it. */
static const char arrow_magic[8] = "ARROW1\0";
enum { MAGIC = 6, FILE_HEAD = 8, FILE_TAIL = 10, ENTRIES_PER_READ = 256 };

static int damaged(const struct bc_disk *disk, int64_t at, struct bc_error *error) {
    return bc__error_set(error, EBADMSG,
                         "What stands at byte %lld is no message of an Arrow stream; the "
                         "file may be corrupted: '%s'",
                         (long long)at, disk->file.path);
}

static int cannot_read(const struct bc_disk *disk, int code, struct bc_error *error) {
    if (code == ENOMEM) return bc__error_memory(error);
    return bc__error_set(error, code, "Disk read failed: %s: '%s'", strerror(code),
                         disk->file.path);
}

static int incomplete(const struct bc_disk *disk, struct bc_error *error) {
    if (!disk->scan.is_ours) {
        return bc__error_set(error, ENODATA,
                             "The file is cut off in the middle of a message; "
                             "partial=True opens what is there: '%s'",
                             disk->file.path);
    }
    return bc__error_set(error, ENODATA,
                         "The recording is not complete: it is still being written, or "
                         "its writer died; partial=True opens what is there, follow=True "
                         "waits for the rest: '%s'",
                         disk->file.path);
}

/* Sets up all that a disk needs besides its file. */
static int set_up(struct bc_disk *disk, const struct bc_schema *schema, uint64_t reach,
                  struct bc_error *error) {
    disk->encoder.schema = schema;
    int code = bc__map_init(&disk->map, disk->file.file, reach);
    if (code != 0) return bc__error_memory(error);
    code = bc__dictionaries_init(&disk->dictionaries, schema);
    if (code == 0) return 0;
    bc__map_finish(&disk->map);
    return bc__error_memory(error);
}

/* ---- with a trailer ---- */

static int load_dictionaries(struct bc_disk *disk, struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    uint8_t entries[ENTRIES_PER_READ * BC_TRAILER_DICTIONARY];
    int64_t first = 0;
    for (int64_t i = 0; i < trailer->dictionaries; i++) {
        if (i % ENTRIES_PER_READ == 0) {
            size_t got;
            first = i;
            int code = bc__sys_read(disk->file.file, entries, sizeof(entries),
                                    bc__trailer_dictionary_at(trailer, i), &got);
            if (code != 0) return cannot_read(disk, code, error);
        }
        const uint8_t *bytes = entries + (i - first) * BC_TRAILER_DICTIONARY;
        struct bc_trailer_dictionary entry;
        int code = EINVAL;
        if (bc__trailer_get_dictionary(trailer, bytes, i, &entry)) {
            const struct bc_dictionary_message message = {
                .id = entry.which,
                .offset = entry.offset,
                .size = entry.size,
                .length = entry.length,
                .is_delta = entry.is_delta,
            };
            code = bc__dictionaries_add(&disk->dictionaries, &message);
        }
        if (code == ENOMEM) return bc__error_memory(error);
        if (code != 0) {
            return bc__error_set(error, EBADMSG,
                                 "Checksum mismatch for a dictionary's place; the file "
                                 "may be corrupted: '%s'",
                                 disk->file.path);
        }
    }
    return 0;
}

/* Reads the schema's message, whose size the trailer says. */
static int read_own_schema(struct bc_disk *disk, struct bc_schema **out_schema,
                           struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    size_t size = (size_t)trailer->schema_bytes;
    uint8_t *bytes = bc__malloc_aligned(8, size);
    if (bytes == NULL) return bc__error_memory(error);
    size_t got;
    int code = bc__sys_read(disk->file.file, bytes, size, 0, &got);
    if (code != 0) {
        (void)cannot_read(disk, code, error);
    } else if (got != size || bc__checksum(bytes, size) != trailer->schema_checksum) {
        code = bc__error_set(error, EBADMSG,
                             "Checksum mismatch for the schema; the file may be "
                             "corrupted: '%s'",
                             disk->file.path);
    }
    struct bc_frame frame;
    if (code == 0 && (bc__frame_parse(bytes, (int64_t)size, &frame) != 0 ||
                      frame.metadata_size > (int64_t)size - frame.metadata)) {
        code = damaged(disk, 0, error);
    }
    if (code == 0) {
        const char *digits;
        size_t n_digits;
        code =
            bc__metadata_read_schema(bytes + frame.metadata, (size_t)frame.metadata_size,
                                     out_schema, &digits, &n_digits, error);
    }
    bc__free(bytes);
    return code;
}

static int open_complete(struct bc_disk *disk, int64_t size,
                         struct bc_schema **out_schema, struct bc_error *error) {
    struct bc_schema *schema;
    int code = read_own_schema(disk, &schema, error);
    if (code != 0) return code;
    code = set_up(disk, schema, (uint64_t)size, error);
    if (code == 0) {
        disk->schema_bytes = disk->trailer.schema_bytes;
        disk->schema_checksum = disk->trailer.schema_checksum;
        disk->encoder.checksums = disk->trailer.checksums;
        atomic_store(&disk->schema_verified, true);
        atomic_store(&disk->has_trailer, true);
        code = load_dictionaries(disk, error);
        if (code == 0) {
            *out_schema = schema;
            return 0;
        }
        bc__dictionaries_finish(&disk->dictionaries);
        bc__map_finish(&disk->map);
    }
    bc__schema_free(schema);
    return code;
}

/* ---- an Arrow file ---- */

static int add_dictionary(struct bc_disk *disk, const struct bc_finding *finding) {
    const struct bc_dictionary_message message = {
        .id = finding->head.dictionary_id,
        .offset = disk->scan.at,
        .size = finding->size,
        .length = -1,
        .more = finding->head.rows,
        .is_delta = finding->head.is_delta,
    };
    return bc__dictionaries_add(&disk->dictionaries, &message);
}

/* Looks at what a block of the footer says is a message of that kind. */
static int look_at_block(struct bc_disk *disk, const struct bc_wire_block *block,
                         int64_t size, enum bc_found kind, struct bc_finding *out) {
    if (block->offset < FILE_HEAD || block->offset > size) return EINVAL;
    disk->scan.at = block->offset;
    int code = bc__scan_look(&disk->scan, size, out);
    if (code != 0) return code;
    return out->found == kind ? 0 : EINVAL;
}

static int read_file_footer(struct bc_disk *disk, int64_t size, uint8_t **out_bytes,
                            size_t *out_size) {
    uint8_t tail[FILE_TAIL];
    size_t got;
    int code = bc__sys_read(disk->file.file, tail, FILE_TAIL, size - FILE_TAIL, &got);
    if (code != 0) return code;
    int32_t footer_size;
    memcpy(&footer_size, tail, sizeof(footer_size));
    if (got != FILE_TAIL || memcmp(tail + 4, arrow_magic, MAGIC) != 0 ||
        footer_size <= 0 || footer_size > size - FILE_HEAD - FILE_TAIL) {
        return EINVAL;
    }
    uint8_t *bytes = bc__malloc_aligned(8, (size_t)footer_size);
    if (bytes == NULL) return ENOMEM;
    code = bc__sys_read(disk->file.file, bytes, (size_t)footer_size,
                        size - FILE_TAIL - footer_size, &got);
    if (code == 0 && got != (size_t)footer_size) code = EIO;
    if (code != 0) {
        bc__free(bytes);
        return code;
    }
    *out_bytes = bytes;
    *out_size = (size_t)footer_size;
    return 0;
}

static int take_blocks(struct bc_disk *disk, int64_t size,
                       const struct bc_wire_blocks *dictionaries,
                       const struct bc_wire_blocks *batches, struct bc_error *error) {
    disk->dictionaries.is_unordered = true;
    for (size_t i = 0; i < dictionaries->n; i++) {
        struct bc_finding finding;
        int code = look_at_block(disk, &dictionaries->blocks[i], size,
                                 BC_FOUND_DICTIONARY, &finding);
        if (code == 0) code = add_dictionary(disk, &finding);
        if (code == EINVAL) return damaged(disk, dictionaries->blocks[i].offset, error);
        if (code != 0) return cannot_read(disk, code, error);
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
    int code = read_file_footer(disk, size, &footer, &footer_size);
    if (code == EINVAL) {
        return bc__error_set(error, ENODATA,
                             "The Arrow file has no footer, so it is cut off; "
                             "partial=True opens what is there: '%s'",
                             disk->file.path);
    }
    if (code != 0) return cannot_read(disk, code, error);
    struct bc_schema *schema;
    struct bc_wire_blocks dictionaries;
    struct bc_wire_blocks batches;
    code = bc__metadata_read_footer(footer, footer_size, &schema, &dictionaries, &batches,
                                    error);
    if (code == 0) {
        code = set_up(disk, schema, (uint64_t)size, error);
        if (code == 0) {
            code = take_blocks(disk, size, &dictionaries, &batches, error);
            if (code != 0) {
                bc__dictionaries_finish(&disk->dictionaries);
                bc__map_finish(&disk->map);
            }
        }
        if (code == 0) {
            *out_schema = schema;
        } else {
            bc__schema_free(schema);
        }
    }
    bc__free(footer);
    return code;
}

/* ---- a stream without an index ---- */

/* The file ends within what begins like a stream. */
static bool is_cut_schema(const struct bc_disk *disk, const struct bc_finding *finding,
                          int64_t size) {
    static const uint8_t marker[4] = {0xff, 0xff, 0xff, 0xff};
    if (finding->found == BC_FOUND_NOTHING) return true;
    size_t n = size < (int64_t)sizeof(marker) ? (size_t)size : sizeof(marker);
    return finding->found == BC_FOUND_PART && memcmp(disk->scan.scratch, marker, n) == 0;
}

/* Holds what the schema's message says against its checksum, which is at `digits` of its
 * metadata. */
static int check_own_schema(struct bc_disk *disk, const struct bc_finding *finding,
                            size_t digits, struct bc_error *error) {
    size_t size = (size_t)finding->size;
    size_t framing = size - finding->metadata_size;
    uint64_t expected;
    bool right = size >= digits + framing + BC_DIGITS &&
                 bc__checksum_parse((const char *)disk->scan.scratch + digits, &expected);
    uint8_t *bytes = right ? bc__malloc(size) : NULL;
    if (right && bytes == NULL) return bc__error_memory(error);
    size_t got = 0;
    int code = 0;
    if (right) code = bc__sys_read(disk->file.file, bytes, size, disk->scan.at, &got);
    right = right && code == 0 && got == size &&
            bc__checksum_message(bytes, size, framing + digits) == expected;
    bc__free(bytes);
    if (code != 0) return cannot_read(disk, code, error);
    if (right) return 0;
    return bc__error_set(error, EBADMSG,
                         "Checksum mismatch for the schema; the file may be corrupted: "
                         "'%s'",
                         disk->file.path);
}

static int open_stream(struct bc_disk *disk, int64_t size, struct bc_schema **out_schema,
                       struct bc_error *error) {
    struct bc_finding finding;
    int64_t start = disk->scan.at;
    int code = bc__scan_look(&disk->scan, size, &finding);
    if (code != 0 && code != EINVAL) return cannot_read(disk, code, error);
    if (code == 0 && is_cut_schema(disk, &finding, size)) {
        return bc__error_set(error, ENODATA, "The file ends before its schema does: '%s'",
                             disk->file.path);
    }
    if (code != 0 || finding.found != BC_FOUND_SCHEMA) {
        return bc__error_set(error, EINVAL,
                             "Not an Arrow stream or file: it does not begin with a "
                             "schema: '%s'",
                             disk->file.path);
    }
    struct bc_schema *schema;
    const char *digits;
    size_t n_digits;
    code = bc__metadata_read_schema(disk->scan.scratch, finding.metadata_size, &schema,
                                    &digits, &n_digits, error);
    if (code != 0) return code;
    if (digits != NULL) {
        size_t at = (size_t)(digits - (const char *)disk->scan.scratch);
        code = check_own_schema(disk, &finding, at, error);
    }
    if (code != 0) {
        bc__schema_free(schema);
        return code;
    }
    disk->scan.is_ours = digits != NULL;
    uint64_t reach = disk->follows ? BC_BYTES_DEFAULT : (uint64_t)size;
    code = set_up(disk, schema, reach, error);
    if (code != 0) {
        bc__schema_free(schema);
        return code;
    }
    disk->encoder.checksums = digits != NULL;
    disk->schema_bytes = finding.size;
    atomic_store(&disk->schema_verified, true);
    disk->scan.at = start + finding.size;
    *out_schema = schema;
    return 0;
}

/* The file's kind decides. */
static int open_any(struct bc_disk *disk, int64_t size, struct bc_schema **out_schema,
                    struct bc_error *error) {
    bool complete;
    int code = bc__trailer_read(disk->file.file, size, &disk->trailer, &complete);
    uint8_t head[FILE_HEAD] = {0};
    size_t got = 0;
    if (code == 0) code = bc__sys_read(disk->file.file, head, FILE_HEAD, 0, &got);
    if (code != 0) return cannot_read(disk, code, error);
    if (complete) return open_complete(disk, size, out_schema, error);
    disk->scan.file = disk->file.file;
    if (got == FILE_HEAD && memcmp(head, arrow_magic, MAGIC) == 0) {
        struct bc_error reason = {0, ""};
        code = open_arrow_file(disk, size, out_schema, &reason);
        if (code == 0 || !disk->is_partial) {
            return code == 0 ? 0 : bc__error_set(error, code, "%s", reason.message);
        }
        /* The messages stand there like those of a stream. */
        disk->scan.at = FILE_HEAD;
    }
    return open_stream(disk, size, out_schema, error);
}

int bc__disk_open_file(struct bc_disk *disk, const struct bc_disk_source *source,
                       struct bc_schema **out_schema, struct bc_error *error) {
    bc_assert(disk != NULL && source->file >= 0 && source->path != NULL);
    memset(disk, 0, sizeof(*disk));
    int64_t size = 0;
    int code = bc__sys_check_regular(source->file);
    if (code == 0) code = bc__sys_size(source->file, &size);
    if (code != 0) {
        bc__sys_close(source->file);
        return bc__error_set(error, code, "Failed to open: %s: '%s'",
                             code == ESPIPE ? "Not a regular file" : strerror(code),
                             source->path);
    }
    if (bc__file_adopt(&disk->file, source->file, source->path, size) != 0) {
        return bc__error_memory(error);
    }
    disk->is_partial = source->is_partial;
    disk->follows = source->follows;
    disk->copies = source->copies;
    disk->validates = source->validates;
    disk->batches_max = source->batches_max;
    code = open_any(disk, size, out_schema, error);
    if (code != 0) {
        bc__scan_finish(&disk->scan);
        bc__free(disk->blocks);
        bc__file_finish(&disk->file);
    }
    return code;
}

/* ---- walking ---- */

/* There is no whole message at the scan's place. `*again`: look once more. */
static int nothing_yet(struct bc_disk *disk, enum bc_found found, bool *again,
                       struct bc_error *error) {
    bool had_looked = *again;
    *again = false;
    if (disk->follows) {
        if (bc__sys_is_locked(disk->file.file)) return EAGAIN;
        /* It may have come, and been completed, since the scan looked. */
        *again = !had_looked;
        if (*again) return 0;
        if (disk->scan.is_ours) {
            return bc__error_set(error, EOWNERDEAD,
                                 "The recording's writer died before it was complete: "
                                 "'%s'",
                                 disk->file.path);
        }
    }
    if (disk->is_partial) return 0;
    /* Streams of others may end without a word. */
    if (found == BC_FOUND_NOTHING && !disk->scan.is_ours) return 0;
    return incomplete(disk, error);
}

static int next_block(struct bc_disk *disk, int64_t end, struct bc_finding *out_finding,
                      struct bc_error *error) {
    if (disk->next_block == disk->n_blocks) return 0;
    const struct bc_wire_block *block = &disk->blocks[disk->next_block];
    int code = look_at_block(disk, block, end, BC_FOUND_BATCH, out_finding);
    if (code == EINVAL) return damaged(disk, block->offset, error);
    if (code != 0) return cannot_read(disk, code, error);
    disk->next_block++;
    return 0;
}

/* Finds the next batch; its size is 0 at the end. */
static int find_batch(struct bc_disk *disk, struct bc_finding *out_finding,
                      struct bc_error *error) {
    for (bool again = false;;) {
        int64_t end;
        int code = bc__sys_size(disk->file.file, &end);
        if (code == 0 && disk->scan.at > end) code = EIO;
        if (code != 0) return cannot_read(disk, code, error);
        out_finding->size = 0;
        if (disk->blocks != NULL) return next_block(disk, end, out_finding, error);
        code = bc__scan_look(&disk->scan, end, out_finding);
        if (code == 0 && out_finding->found == BC_FOUND_BATCH) return 0;
        if (code == 0 && out_finding->found == BC_FOUND_DICTIONARY) {
            code = add_dictionary(disk, out_finding);
            if (code == 0) {
                disk->scan.at += out_finding->size;
                again = false;
                continue;
            }
        }
        if (code == 0 && out_finding->found == BC_FOUND_SCHEMA) code = EINVAL;
        if (code == EINVAL) {
            out_finding->size = 0;
            return disk->is_partial ? 0 : damaged(disk, disk->scan.at, error);
        }
        if (code != 0) return cannot_read(disk, code, error);
        if (out_finding->found == BC_FOUND_END) {
            /* What is behind it was lost, and who knows what else. */
            bool is_right = !disk->scan.is_ours || disk->is_partial || disk->follows;
            return is_right ? 0 : incomplete(disk, error);
        }
        code = nothing_yet(disk, out_finding->found, &again, error);
        if (code != 0 || !again) return code;
    }
}

int bc__disk_next(struct bc_disk *disk, struct bc_trailer_batch *out_batch,
                  int64_t *out_rows, struct bc_error *error) {
    struct bc_finding finding = {.size = 0};
    bool more = disk->walked < disk->batches_max;
    int code = more ? find_batch(disk, &finding, error) : 0;
    if (code != 0) return code;
    disk->walked++;
    *out_batch = (struct bc_trailer_batch){.offset = disk->scan.at, .size = finding.size};
    *out_rows = finding.head.rows;
    disk->scan.at += finding.size;
    /* What is looked for before it is given out again. */
    if (disk->blocks == NULL) {
        atomic_store(&disk->file.size, disk->scan.at);
        atomic_store(&disk->file.written, disk->scan.at);
    }
    return 0;
}

/* ---- going on with a recording ---- */

static int compare_schema(struct bc_disk *disk, struct bc_error *error) {
    struct bc_message message;
    int code = bc__encode_schema(&disk->encoder, &message, error);
    if (code != 0) return code;
    bc_assert(message.n_pieces == 1);
    size_t size = message.pieces[0].size;
    uint8_t *bytes = bc__malloc(size);
    if (bytes == NULL) return bc__error_memory(error);
    size_t got;
    code = bc__sys_read(disk->file.file, bytes, size, 0, &got);
    if (code != 0) {
        (void)cannot_read(disk, code, error);
    } else if (got != size || memcmp(bytes, message.pieces[0].data, size) != 0) {
        code = bc__error_set(error, EINVAL,
                             "The source's schema is not that of the recording, which "
                             "therefore cannot be resumed: '%s'",
                             disk->file.path);
    }
    disk->schema_bytes = (int64_t)size;
    disk->schema_checksum = bc__checksum(bytes, size);
    disk->scan.at = (int64_t)size;
    bc__free(bytes);
    return code;
}

static int open_to_resume(struct bc_disk *disk, const struct bc_disk_options *options,
                          struct bc_error *error) {
    int file;
    int code = bc__sys_open(options->path, true, &file);
    if (code == 0) {
        code = bc__sys_check_regular(file);
        if (code == 0) code = bc__sys_lock(file);
        if (code != 0) bc__sys_close(file);
    }
    if (code != 0) {
        if (code == EAGAIN) code = EBUSY;
        return bc__error_set(
            error, code, "Failed to resume the recording: %s: '%s'",
            code == EBUSY ? "Somebody else is writing it" : strerror(code),
            options->path);
    }
    int64_t size;
    code = bc__sys_size(file, &size);
    if (code != 0) {
        bc__sys_close(file);
        return bc__error_set(error, code, "Disk read failed: %s: '%s'", strerror(code),
                             options->path);
    }
    if (bc__file_adopt(&disk->file, file, options->path, size) != 0) {
        return bc__error_memory(error);
    }
    bool complete;
    code = bc__trailer_read(file, size, &disk->trailer, &complete);
    if (code != 0) {
        (void)cannot_read(disk, code, error);
    } else if (complete) {
        code = bc__error_set(error, EEXIST, "The recording is complete: '%s'",
                             disk->file.path);
    }
    if (code != 0) bc__file_finish(&disk->file);
    return code;
}

int bc__disk_resume(struct bc_disk *disk, const struct bc_schema *schema,
                    const struct bc_disk_options *options, struct bc_error *error) {
    memset(disk, 0, sizeof(*disk));
    int code = open_to_resume(disk, options, error);
    if (code != 0) return code;
    code = bc__encoder_init(&disk->encoder, schema, options->checksums, options->codec,
                            error);
    if (code == 0) {
        disk->file.durable = options->durable;
        disk->scan.file = disk->file.file;
        disk->scan.is_ours = true;
        disk->is_partial = true;
        disk->batches_max = UINT64_MAX;
        code = compare_schema(disk, error);
        if (code == 0) code = set_up(disk, schema, BC_BYTES_DEFAULT, error);
        if (code == 0) return 0;
        bc__encoder_finish(&disk->encoder);
    }
    bc__file_finish(&disk->file);
    return code;
}

void bc__disk_go_on(struct bc_disk *disk) {
    disk->file.publishes_last = true;
    atomic_store(&disk->file.size, disk->scan.at);
    atomic_store(&disk->file.written, disk->scan.at);
    bc__file_cut(&disk->file);
}
