#include "disk/scanner.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/sys.h"
#include "ipc/verify.h"

enum { READ_AHEAD = 4096 };

void bc__scanner_finish(struct bc_scanner *scanner) {
    bc__free(scanner->scratch);
    scanner->scratch = NULL;
    scanner->capacity = 0;
}

/* Reads [at, at + size) into the scratch memory. `*out_size`: the size read. */
static int read_scratch(struct bc_scanner *scanner, int64_t at, size_t size,
                        size_t *out_size, struct bc_error *error) {
    int code = bc__grow((void **)&scanner->scratch, &scanner->capacity, size, 1);
    if (code != 0) return code;
    return bc__file_read(scanner->file, scanner->scratch, size, at, out_size, error);
}

/* Moves the metadata to the start of the scratch memory, which has `got` bytes of the
 * message.
 * EAGAIN: the file has only a part of the metadata. */
static int read_metadata(struct bc_scanner *scanner, const struct bc_frame *frame,
                         size_t got, struct bc_error *error) {
    size_t framed = (size_t)(frame->metadata + frame->metadata_size);
    int code = 0;
    if (got < framed) code = read_scratch(scanner, scanner->offset, framed, &got, error);
    if (code == 0 && got < framed) code = EAGAIN;
    if (code != 0) return code;
    /* Verify the checksum now: no later check would notice a wrong dictionary id. */
    bool is_intact = !scanner->is_ours || bc__verify_metadata(scanner->scratch, framed);
    memmove(scanner->scratch, scanner->scratch + frame->metadata,
            (size_t)frame->metadata_size);
    return is_intact ? 0 : EINVAL;
}

static enum bc_scan_kind scan_kind_of(const struct bc_wire_head *head) {
    switch (head->kind) {
        case BC_WIRE_BATCH:
            return BC_SCAN_BATCH;
        case BC_WIRE_DICTIONARY:
            return BC_SCAN_DICTIONARY;
        default:
            return BC_SCAN_SCHEMA;
    }
}

int bc__scanner_peek(struct bc_scanner *scanner, int64_t end,
                     struct bc_scan_result *out_result, struct bc_error *error) {
    bc_assert(scanner->offset >= 0);
    memset(out_result, 0, sizeof(*out_result));
    out_result->kind = BC_SCAN_NOTHING;
    if (scanner->offset >= end) return 0;
    int64_t left = end - scanner->offset;
    size_t wanted = left < READ_AHEAD ? (size_t)left : READ_AHEAD;
    size_t got;
    int code = read_scratch(scanner, scanner->offset, wanted, &got, error);
    if (code != 0) return code;
    struct bc_frame frame;
    out_result->kind = BC_SCAN_PART;
    code = bc__frame_parse(scanner->scratch, (int64_t)got, &frame);
    if (code != 0) return code == EAGAIN ? 0 : code;
    if (frame.metadata_size == 0) {
        /* Zeros have no continuation marker. */
        bool is_zero = frame.metadata == sizeof(int32_t);
        if (!is_zero || !scanner->is_ours) out_result->kind = BC_SCAN_END;
        return 0;
    }
    if (frame.metadata_size > left - frame.metadata) return 0;
    code = read_metadata(scanner, &frame, got, error);
    if (code != 0) return code == EAGAIN ? 0 : code;
    struct bc_wire_head *head = &out_result->head;
    code = bc__metadata_peek(scanner->scratch, (size_t)frame.metadata_size, head);
    if (code != 0) return code;
    if (head->kind == BC_WIRE_OTHER) return EINVAL;
    bool is_supported =
        head->version == BC_METADATA_V4 || head->version == BC_METADATA_V5;
    if (head->kind != BC_WIRE_SCHEMA && !is_supported) return ENOTSUP;
    int64_t before = frame.metadata + frame.metadata_size;
    if (head->body_bytes > left - before) return 0;
    out_result->kind = scan_kind_of(head);
    out_result->metadata_size = (size_t)frame.metadata_size;
    out_result->size = before + head->body_bytes;
    return 0;
}
