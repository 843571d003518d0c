/* A file of messages that has no index, scanned: which messages there are, and where.
 *
 * Only prefixes and metadata are read, by system calls, so that a file which is being
 * written, or made shorter, does no harm. In a file of ours zeros are no end: what stands
 * there is not published yet, and the checksum of a message's metadata is looked at. An
 * Arrow *file* frames the same messages, and lists them in its footer. */
#ifndef BC_DISK_SCANNER_H
#define BC_DISK_SCANNER_H

#include "disk/dictionary.h"
#include "ipc/message.h"

/* What stands at a place. */
enum bc_scan_kind {
    BC_SCAN_BATCH,
    BC_SCAN_DICTIONARY,
    BC_SCAN_SCHEMA,
    BC_SCAN_END,     /* the end of the stream, said in so many words */
    BC_SCAN_NOTHING, /* the file ends here */
    BC_SCAN_PART     /* a message that is not all there, or not published */
};

struct bc_scan_result {
    enum bc_scan_kind kind;
    int64_t size; /* of the whole message */
    size_t metadata_size;
    struct bc_wire_head head;
};

struct bc_scanner {
    int file; /* borrowed */
    bool is_ours;
    int64_t at;       /* where the next message is */
    uint8_t *scratch; /* the metadata last read */
    size_t capacity;
};

void bc__scanner_finish(struct bc_scanner *scanner);

/* Looks at what is at `scanner->at`, which stays, in a file of `end` bytes. EINVAL: no
 * message; ENOTSUP: a batch or dictionary with metadata of a version that is not read;
 * errnos of reading; ENOMEM. The metadata is in `scratch` then. */
int bc__scanner_peek(struct bc_scanner *scanner, int64_t end,
                     struct bc_scan_result *out_result);

#endif
