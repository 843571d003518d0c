/* Reads batches from the file: loads, verifies and decodes their messages. */
#include <errno.h>

#include "arrow/validate.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/errors.h"
#include "disk/loaded_message.h"
#include "disk/read_dictionary.h"
#include "disk/stored_message.h"
#include "ipc/decode.h"
#include "ipc/message_size.h"
#include "ipc/verify.h"

/* Prefetches the start of a message at once. Its parts depend on each other, so the lines
 * would load one after the other. After AHEAD bytes the hardware prefetches. */
enum { AHEAD = 2560, LINE = 64 };

static void prefetch_message(const struct bc_loaded_message *message) {
    int64_t size = message->extent.size;
    int64_t end = size < AHEAD ? size : AHEAD;
    for (int64_t at = 0; at < end; at += LINE) __builtin_prefetch(message->bytes + at);
}

static int verify_schema(struct bc_disk *disk, struct bc_error *error) {
    if (atomic_load_explicit(&disk->schema_verified, memory_order_relaxed)) return 0;
    const struct bc_extent extent = {0, disk->schema_bytes};
    int code = bc__load_check(disk, extent, disk->schema_checksum, "the schema", error);
    if (code != 0) return code;
    atomic_store_explicit(&disk->schema_verified, true, memory_order_relaxed);
    return 0;
}

/* Decodes the message and the dictionaries of the wanted columns. With `validates`,
 * validates all values of an untrusted file. `reason` gets the details of an invalid
 * value. */
static int decode_message(struct bc_disk *disk, struct bc_loaded_message *message,
                          const struct bc_projection *projection, bool validates,
                          int64_t *left, struct bc_batch **out_batch,
                          struct bc_error *reason) {
    const struct bc_dictionaries *dictionaries = &disk->dictionaries;
    const struct bc_schema *schema = disk->encoder.schema;
    struct bc_batch *batch;
    int code = bc__decode_batch(schema, projection, &message->parsed, left, &batch);
    if (code != 0) return code;
    struct bc_batch **held;
    code = bc__load_attach(disk, batch, message, dictionaries->n, &held);
    for (int32_t i = 0; i < dictionaries->n && code == 0; i++) {
        const struct bc_dictionary *dictionary = &dictionaries->all[i];
        int32_t column = bc__schema_column_of(schema, dictionary->field);
        if (!bc__projection_has(projection, column)) continue;
        code = bc__dictionary_read(disk, i, message->extent.offset, validates, left,
                                   batch, &held[dictionary->shared_with], reason);
    }
    if (code == 0 && validates) {
        code = bc__validate_batch(schema, projection, batch, reason);
    }
    if (code != 0) {
        bc__batch_unref(batch);
        return code;
    }
    *out_batch = batch;
    return 0;
}

int bc__disk_locate(struct bc_tier *tier, uint64_t number,
                    struct bc_index_entry *out_entry, struct bc_error *error) {
    struct bc_disk *disk = bc__disk_of(tier);
    const struct bc_trailer *trailer = &disk->trailer;
    bool is_last = number + 1 == (uint64_t)trailer->batches;
    const struct bc_extent entries = {bc__trailer_batch_at(trailer, (int64_t)number),
                                      BC_TRAILER_BATCH * (is_last ? 1 : 2)};
    struct bc_region *region = NULL;
    int code = bc__load_range(disk, entries, disk->tier.copies_on_read, &region, error);
    const uint8_t *bytes = NULL;
    if (code == 0) {
        /* The entry loads while the system looks up the file size. */
        bytes = bc__region_at(region, entries.offset);
        __builtin_prefetch(bytes);
    }
    int checked = bc__disk_check(tier, error);
    if (checked != 0) code = checked;
    if (code != 0) {
        bc__region_unref(region);
        return code;
    }
    struct bc_trailer_batch batch;
    struct bc_trailer_batch next = {.offset = trailer->end, .first_row = trailer->rows};
    bool is_right = bc__trailer_get_batch(trailer, bytes, (int64_t)number, &batch);
    if (is_right && !is_last) {
        is_right = bc__trailer_get_batch(trailer, bytes + BC_TRAILER_BATCH,
                                         (int64_t)number + 1, &next);
    }
    bc__region_unref(region);
    /* Entries must not overlap, or reads would take longer than the file's size. */
    if (!is_right || (number == 0 && batch.first_row != 0) ||
        next.first_row < batch.first_row || next.offset < batch.offset + batch.size) {
        return bc__error_set(
            error, EBADMSG,
            "Checksum mismatch for the place of batch %llu; the file may "
            "be corrupted: '%s'",
            (unsigned long long)number, disk->file.path);
    }
    *out_entry = (struct bc_index_entry){{batch.offset, batch.size},
                                         (uint64_t)batch.first_row,
                                         (uint64_t)(next.first_row - batch.first_row)};
    return 0;
}

/* Decodes the batch of a message. `reason`: as for decode_message(). */
static int read_batch(struct bc_disk *disk, struct bc_loaded_message *message,
                      struct bc_tier_read request, int64_t *left,
                      struct bc_batch **out_batch, struct bc_error *reason) {
    bool is_new = request.unverified != NULL;
    bool checks = is_new && disk->encoder.checksums;
    if (is_new) prefetch_message(message);
    int code = bc__load_metadata(message, checks);
    if (code != 0) return code;
    if (message->parsed.wire.codec != BC_CODEC_NONE) {
        atomic_store_explicit(&disk->decompresses, true, memory_order_relaxed);
    }
    const struct bc_schema *schema = disk->encoder.schema;
    const struct bc_message *parsed = &message->parsed;
    if (checks && (!bc__message_fits_batch(schema, parsed) ||
                   !bc__verify_columns(schema, request.unverified, parsed))) {
        return EBADMSG;
    }
    return decode_message(disk, message, request.projection, is_new && disk->validates,
                          left, out_batch, reason);
}

/* Loads the message of a batch: of a storage, only the columns of the projection. */
static int load_batch(struct bc_disk *disk, struct bc_extent extent, uint64_t number,
                      const struct bc_tier_read *request, struct bc_loaded_message *out,
                      struct bc_error *error) {
    if (!bc__file_has_storage(&disk->file)) {
        return bc__load_batch(disk, extent, out, error);
    }
    return bc__stored_load(disk, extent, number, request, out, error);
}

/* Reads a batch once, as bc__disk_read(). */
static int read_once(struct bc_disk *disk, struct bc_extent extent, uint64_t number,
                     struct bc_tier_read request, struct bc_batch **out_batch,
                     struct bc_error *error) {
    int code = 0;
    int64_t *left = request.bytes_max == 0 ? NULL : &request.bytes_max;
    bool is_new = request.unverified != NULL;
    if (is_new && (disk->encoder.checksums || disk->validates)) {
        code = bc__work_spend(left, extent.size);
        if (code != 0) return code;
    }
    if (is_new && disk->encoder.checksums) code = verify_schema(disk, error);
    struct bc_loaded_message message;
    if (code == 0) {
        code = load_batch(disk, extent, number, &request, &message, error);
    }
    if (code != 0) return code;
    struct bc_error reason;
    reason.code = 0;
    code = read_batch(disk, &message, request, left, out_batch, &reason);
    bc__unload_message(&message);
    if (code == EAGAIN) return code;
    if (reason.code == EINVAL) {
        return bc__error_set(error, EBADMSG, "Batch %llu is invalid: %s: '%s'",
                             (unsigned long long)number, reason.message, disk->file.path);
    }
    return bc__disk_error_batch(disk, code, number, error);
}

int bc__disk_read(struct bc_tier *tier, struct bc_extent extent, uint64_t number,
                  struct bc_tier_read request, struct bc_batch **out_batch,
                  struct bc_error *error) {
    struct bc_disk *disk = bc__disk_of(tier);
    bc_assert(extent.offset >= 0 && extent.size > 0);
    int code = read_once(disk, extent, number, request, out_batch, error);
    /* The bytes of a storage may be wrong once, by a network or a cache. */
    if (code == EBADMSG && bc__file_distrust(&disk->file)) {
        code = read_once(disk, extent, number, request, out_batch, error);
    }
    return code;
}

/* Loads the metadata of a batch's message; without a storage, the whole message. */
static int load_metadata(struct bc_disk *disk, struct bc_extent extent,
                         struct bc_loaded_message *out, struct bc_error *error) {
    if (!bc__file_has_storage(&disk->file)) {
        return bc__load_message(disk, extent, disk->tier.copies_on_read, out, error);
    }
    static const int32_t no_column;
    struct bc_projection *none;
    int code = bc__projection_new(disk->encoder.schema, &no_column, 0, &none, error);
    if (code != 0) return code;
    const struct bc_tier_read request = {.projection = none};
    code = bc__stored_load(disk, extent, 0, &request, out, error);
    bc__projection_free(none);
    return code;
}

int bc__disk_measure(struct bc_disk *disk, struct bc_extent extent, uint64_t number,
                     int64_t *columns, enum bc_codec *out_codec, struct bc_error *error) {
    struct bc_loaded_message message;
    int code = bc__disk_check(&disk->tier, error);
    if (code == 0) code = load_metadata(disk, extent, &message, error);
    if (code != 0) return code;
    code = bc__load_metadata(&message, false);
    if (code == 0) {
        *out_codec = message.parsed.wire.codec;
        if (columns != NULL) {
            code = bc__measure_columns(disk->encoder.schema, &message.parsed, columns);
        }
    }
    bc__unload_message(&message);
    return bc__disk_error_batch(disk, code, number, error);
}
