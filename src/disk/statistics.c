#include "disk/statistics.h"

#include <errno.h>
#include <string.h>

#include "arrow/validate.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/errors.h"
#include "disk/loaded_message.h"
#include "ipc/decode.h"
#include "ipc/message_size.h"
#include "ipc/verify.h"

/* ---- writing ---- */

/* Makes the table of all batches. `*out_table` stays NULL if a batch has no statistics.
 */
static int make_table(const struct bc_index *index, struct bc_batch **out_table,
                      struct bc_error *error) {
    uint64_t n = index->batches;
    if (bc__statistics_count(index->statistics, NULL) < n) return 0;
    uint64_t *rows = bc__calloc((size_t)n + 1, sizeof(*rows));
    if (rows == NULL) return bc__error_memory(error);
    int code = 0;
    for (uint64_t i = 0; i < n && code == 0; i++) {
        struct bc_index_entry entry;
        code = index->entry(index->context, i, &entry, error);
        if (code == 0) rows[i] = entry.rows;
    }
    if (code == 0) {
        code = bc__statistics_table(index->statistics, NULL, 0, n, rows, out_table);
        if (code == ENOMEM) (void)bc__error_memory(error);
    }
    bc__free(rows);
    return code;
}

static int encode_table(struct bc_statistics_section *section,
                        const struct bc_schema *schema, struct bc_error *error) {
    int code = bc__encoder_init(&section->encoder, schema, true, BC_CODEC_NONE, error);
    if (code != 0) return code;
    struct bc_encoded_message message;
    code = bc__encode_schema(&section->encoder, &message, error);
    if (code != 0) return code;
    bc_assert(message.n_iovecs == 1);
    section->schema = bc__malloc((size_t)message.size);
    if (section->schema == NULL) return bc__error_memory(error);
    memcpy(section->schema, message.iovecs[0].data, (size_t)message.size);
    section->schema_bytes = message.size;
    code = bc__buffer_ranges_of_batch(&section->ranges, schema, section->table, error);
    if (code != 0) return code;
    return bc__encode_batch(&section->encoder, section->table, &section->ranges,
                            &section->batch, error);
}

int bc__statistics_encode(struct bc_statistics_section *section,
                          const struct bc_index *index, struct bc_error *error) {
    memset(section, 0, sizeof(*section));
    if (index->statistics == NULL || index->statistics->n_leaves == 0) return 0;
    int code = make_table(index, &section->table, error);
    if (code == 0 && section->table != NULL) {
        code = encode_table(section, index->statistics->table, error);
    }
    if (code == 0) return 0;
    bc__statistics_section_finish(section);
    memset(section, 0, sizeof(*section));
    /* The recording is complete without statistics too. */
    return code == EFBIG ? 0 : code;
}

void bc__statistics_section_finish(struct bc_statistics_section *section) {
    bc__encoder_finish(&section->encoder);
    bc__buffer_ranges_finish(&section->ranges);
    bc__batch_unref(section->table);
    bc__free(section->schema);
}

int bc__statistics_write(const struct bc_statistics_section *section,
                         struct bc_file *file, int64_t offset, struct bc_error *error) {
    int code = bc__file_write_behind(file, section->schema, (size_t)section->schema_bytes,
                                     offset, error);
    offset += section->schema_bytes;
    for (size_t i = 0; i < section->batch.n_iovecs && code == 0; i++) {
        const struct bc_iovec *iovec = &section->batch.iovecs[i];
        code = bc__file_write_behind(file, iovec->data, iovec->size, offset, error);
        offset += (int64_t)iovec->size;
    }
    return code;
}

/* ---- reading ---- */

/* The name of the section in error messages. */
static const char part[] = "the statistics";

static int damaged_error(const struct bc_disk *disk, struct bc_error *error) {
    return bc__disk_error_checksum(disk, part, error);
}

/* Verifies the schema of the section. EBADMSG: it is damaged. */
static int check_schema(struct bc_disk *disk, struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    const struct bc_extent extent = {bc__trailer_statistics_at(trailer),
                                     trailer->statistics_schema_bytes};
    return bc__load_check(disk, extent, trailer->statistics_schema_checksum, part, error);
}

/* Decodes the table, and moves the message's region into it. */
static int decode_table(struct bc_disk *disk, struct bc_loaded_message *message,
                        const struct bc_schema *schema,
                        const struct bc_projection *projection,
                        struct bc_batch **out_table) {
    int code = bc__load_metadata(message, true);
    if (code != 0) return code;
    const struct bc_message *parsed = &message->parsed;
    const struct bc_trailer *trailer = &disk->trailer;
    if (bc__trailer_tie(trailer, message->bytes, parsed->framed) !=
        trailer->statistics_checksum) {
        return EBADMSG;
    }
    if (parsed->wire.is_dictionary || parsed->wire.codec != BC_CODEC_NONE ||
        parsed->wire.rows != trailer->batches ||
        !bc__message_fits_batch(schema, parsed)) {
        return EBADMSG;
    }
    bool is_right = projection == NULL
                        ? bc__verify_message(parsed)
                        : bc__verify_columns(schema, projection->columns, parsed);
    if (!is_right) return EBADMSG;
    struct bc_batch *table;
    code = bc__decode_batch(schema, projection, parsed, NULL, &table);
    if (code != 0) return code;
    /* A consumer trusts the table, but the file may be hostile. */
    code = bc__validate_batch(schema, projection, table, NULL);
    if (code == 0) code = bc__load_attach(disk, table, message, 0, NULL);
    if (code != 0) {
        bc__batch_unref(table);
        return code;
    }
    *out_table = table;
    return 0;
}

int bc__disk_read_statistics(struct bc_disk *disk, const struct bc_schema *table,
                             const struct bc_projection *projection,
                             struct bc_batch **out_table, struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    bc_assert(trailer->statistics_bytes > 0);
    int64_t schema_bytes = trailer->statistics_schema_bytes;
    if (schema_bytes == 0 || schema_bytes == trailer->statistics_bytes) {
        return damaged_error(disk, error);
    }
    int code = bc__disk_check(&disk->tier, error);
    if (code == 0 && projection == NULL) code = check_schema(disk, error);
    if (code != 0) return code;
    const struct bc_extent extent = {bc__trailer_statistics_at(trailer) + schema_bytes,
                                     trailer->statistics_bytes - schema_bytes};
    struct bc_loaded_message message;
    code = bc__load_message(disk, extent, disk->tier.copies_on_read, &message, error);
    if (code != 0) return code;
    code = decode_table(disk, &message, table, projection, out_table);
    bc__unload_message(&message);
    if (code == ENOMEM) return bc__error_memory(error);
    return code == 0 ? 0 : damaged_error(disk, error);
}
