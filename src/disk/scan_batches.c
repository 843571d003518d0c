#include "disk/scan_batches.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/error.h"
#include "disk/errors.h"
#include "ipc/message_size.h"
#include "ipc/verify.h"

int bc__scan_add_dictionary(struct bc_disk *disk, const struct bc_scan_result *result) {
    const struct bc_dictionary_message message = {
        .id = result->head.dictionary_id,
        .extent = {disk->scanner.offset, result->size},
        .length = -1,
        .added = result->head.rows,
        .is_delta = result->head.is_delta,
    };
    return bc__dictionaries_add(&disk->dictionaries, &message);
}

int bc__scan_block(struct bc_disk *disk, const struct bc_wire_block *block, int64_t size,
                   enum bc_scan_kind kind, struct bc_scan_result *out,
                   struct bc_error *error) {
    if (block->offset <= 0 || block->offset > size) return EINVAL;
    disk->scanner.offset = block->offset;
    int code = bc__scanner_peek(&disk->scanner, size, out, error);
    if (code != 0) return code;
    if (out->kind != kind) return EINVAL;
    bool matches = block->metadata_bytes == out->size - out->head.body_bytes &&
                   block->body_bytes == out->head.body_bytes;
    if (!matches) return EBADMSG;
    /* Limit the sum of sizes: a small file must not list one message many times. */
    disk->scanned_bytes += out->size;
    return disk->scanned_bytes <= size ? 0 : EINVAL;
}

/* Handles a missing message at the scanner's position. If the writer may have appended it
 * meanwhile, sets `*again` to scan once more. */
static int check_data_end(struct bc_disk *disk, enum bc_scan_kind found, bool *again,
                          struct bc_error *error) {
    bool was_repeated = *again;
    *again = false;
    if (disk->follows) {
        enum bc_lock lock = bc__sys_probe_lock(disk->file.file);
        if (lock == BC_LOCK_HELD) return EAGAIN;
        if (lock == BC_LOCK_UNKNOWN && disk->scanner.is_ours) {
            return bc__error_set(error, ENOLCK,
                                 "Cannot tell whether the recording is still being "
                                 "written, because the file system refuses locks: '%s'",
                                 disk->file.path);
        }
        /* The message may be complete since the scan: scan once more. */
        *again = !was_repeated;
        if (*again) return 0;
        if (disk->scanner.is_ours) {
            return bc__error_set(error, EOWNERDEAD,
                                 "The recording's writer died before it was complete: "
                                 "'%s'",
                                 disk->file.path);
        }
    }
    if (disk->is_partial) return 0;
    /* Streams of other writers may end without an end marker. */
    if (found == BC_SCAN_NOTHING && !disk->scanner.is_ours) return 0;
    return bc__disk_error_incomplete(disk, error);
}

static int next_listed_batch(struct bc_disk *disk, int64_t end,
                             struct bc_scan_result *out_result, struct bc_error *error) {
    if (disk->next_block == disk->n_blocks) return 0;
    const struct bc_wire_block *block = &disk->blocks[disk->next_block];
    int code = bc__scan_block(disk, block, end, BC_SCAN_BATCH, out_result, error);
    if (code != 0) return bc__disk_error_scan(disk, code, block->offset, error);
    disk->next_block++;
    return 0;
}

/* Checks an end marker of the stream. `*out_is_end`: false if the marker may be a prefix
 * that is written only in part. */
static int check_end_marker(struct bc_disk *disk, bool *out_is_end,
                            struct bc_error *error) {
    if (!disk->scanner.is_ours || disk->is_partial) return 0;
    /* Data after this marker was lost. Earlier data may be lost too. */
    if (!disk->follows) return bc__disk_error_incomplete(disk, error);
    /* The trailer is written before its marker, but a half-written prefix looks like a
     * marker. Require the trailer. */
    int64_t size;
    struct bc_trailer trailer;
    int code = bc__file_size(&disk->file, &size);
    if (code == 0) {
        code = bc__trailer_read(&disk->file, size, &trailer, out_is_end, error);
    }
    if (code == 0 && *out_is_end) disk->saw_end = true;
    return code == 0 ? 0 : bc__disk_error_reading(disk, code, error);
}

/* Verifies the whole message of a resumed recording: after a power loss, only its frame
 * may be left. EINVAL: it is not intact. */
static int check_message_whole(struct bc_disk *disk,
                               const struct bc_scan_result *result) {
    if (!disk->resumes) return 0;
    if ((uint64_t)result->size > PTRDIFF_MAX) return ENOMEM;
    size_t size = (size_t)result->size;
    struct bc_region *block = bc__region_zeros(size);
    if (block == NULL) return ENOMEM;
    const uint8_t *bytes = bc__region_bytes(block);
    size_t got = 0;
    int code = bc__sys_read_over_holes(disk->file.file, bc__region_bytes(block), size,
                                       disk->scanner.offset, &got);
    if (code == 0 && got != size) code = EINVAL;
    struct bc_message parsed;
    if (code == 0) code = bc__message_parse(&parsed, bytes, result->size);
    bool is_batch = result->kind == BC_SCAN_BATCH;
    if (code == 0 && is_batch && !bc__message_fits_batch(disk->encoder.schema, &parsed)) {
        code = EINVAL;
    }
    if (code == 0 && !bc__verify_message(&parsed)) code = EINVAL;
    bc__region_unref(block);
    return code;
}

/* Finds the next batch. Its size is 0 at the end. */
static int find_batch(struct bc_disk *disk, struct bc_scan_result *out_result,
                      struct bc_error *error) {
    for (bool again = false;;) {
        int64_t end;
        int code = bc__file_size(&disk->file, &end);
        if (code == 0 && disk->scanner.offset > end) code = EIO;
        if (code != 0) return bc__disk_error_reading(disk, code, error);
        out_result->size = 0;
        if (disk->blocks != NULL) {
            /* Data appended after the opening is not part of the file. */
            int64_t written = atomic_load(&disk->file.written);
            return next_listed_batch(disk, end < written ? end : written, out_result,
                                     error);
        }
        code = bc__scanner_peek(&disk->scanner, end, out_result, error);
        bool is_message = code == 0 && (out_result->kind == BC_SCAN_BATCH ||
                                        out_result->kind == BC_SCAN_DICTIONARY);
        if (is_message) code = check_message_whole(disk, out_result);
        if (code == 0 && out_result->kind == BC_SCAN_BATCH) return 0;
        if (code == 0 && out_result->kind == BC_SCAN_DICTIONARY) {
            code = bc__scan_add_dictionary(disk, out_result);
            if (code == 0) {
                disk->scanner.offset += out_result->size;
                again = false;
                continue;
            }
        }
        if (code == 0 && out_result->kind == BC_SCAN_SCHEMA) code = EINVAL;
        if ((code == EINVAL || code == ENOTSUP) && disk->is_partial) {
            out_result->size = 0;
            return 0;
        }
        if (code != 0)
            return bc__disk_error_scan(disk, code, disk->scanner.offset, error);
        if (out_result->kind == BC_SCAN_END) {
            bool is_end = true;
            code = check_end_marker(disk, &is_end, error);
            if (code != 0 || is_end) return code;
        }
        code = check_data_end(disk, out_result->kind, &again, error);
        if (code != 0 || !again) return code;
    }
}

int bc__disk_next(struct bc_tier *tier, struct bc_extent *out_extent, uint64_t *out_rows,
                  struct bc_error *error) {
    struct bc_disk *disk = bc__disk_of(tier);
    struct bc_scan_result result = {.size = 0};
    bool more = disk->scanned < disk->max_batches;
    int code = more ? find_batch(disk, &result, error) : 0;
    if (code != 0) return code;
    if (__builtin_add_overflow(disk->scanned_rows, result.head.rows,
                               &disk->scanned_rows)) {
        return bc__disk_error_message(disk, disk->scanner.offset, error);
    }
    disk->scanned++;
    *out_extent = (struct bc_extent){disk->scanner.offset, result.size};
    *out_rows = (uint64_t)result.head.rows;
    disk->scanner.offset += result.size;
    /* Readers compare the file's size with these values before they touch mapped bytes.
     */
    if (disk->blocks == NULL) {
        atomic_store(&disk->file.size, disk->scanner.offset);
        atomic_store(&disk->file.written, disk->scanner.offset);
    }
    return 0;
}
