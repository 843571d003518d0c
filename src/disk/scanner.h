/* Finds the messages of a file without an index.
 *
 * The scanner reads prefixes and metadata only, by system calls. The file may therefore
 * grow or shrink meanwhile. In a recording, zeros are no end: the bytes there are not
 * published yet. The scanner verifies the checksum of a recording's metadata. An Arrow
 * *file* frames the same messages, and lists them in its footer. */
#ifndef BC_DISK_SCANNER_H
#define BC_DISK_SCANNER_H

#include "disk/dictionary.h"
#include "ipc/message.h"

/* The kind of data at an offset. */
enum bc_scan_kind {
    BC_SCAN_BATCH,
    BC_SCAN_DICTIONARY,
    BC_SCAN_SCHEMA,
    BC_SCAN_END,     /* the end marker of the stream */
    BC_SCAN_NOTHING, /* the file's end */
    BC_SCAN_PART     /* an incomplete or unpublished message */
};

struct bc_scan_result {
    enum bc_scan_kind kind;
    int64_t size; /* size of the whole message */
    size_t metadata_size;
    struct bc_wire_head head;
};

struct bc_scanner {
    const struct bc_file *file; /* borrowed */
    bool is_ours;
    int64_t offset;   /* of the next message */
    uint8_t *scratch; /* the last metadata */
    size_t capacity;
};

void bc__scanner_finish(struct bc_scanner *scanner);

/* Scans the message at `scanner->offset`, in a file of `end` bytes. The offset stays. On
 * success, the metadata is in `scratch`.
 * EINVAL: no message.
 * ENOTSUP: a batch or dictionary with an unsupported version of metadata.
 * ENOMEM: out of memory.
 * Other errnos: reading failed, as bc__file_read() does. */
int bc__scanner_peek(struct bc_scanner *scanner, int64_t end,
                     struct bc_scan_result *out_result, struct bc_error *error);

#endif
