/* A file of messages that has no index, walked: which messages there are, and where.
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
enum bc_found {
    BC_FOUND_BATCH,
    BC_FOUND_DICTIONARY,
    BC_FOUND_SCHEMA,
    BC_FOUND_END,     /* the end of the stream, said in so many words */
    BC_FOUND_NOTHING, /* the file ends here */
    BC_FOUND_PART     /* a message that is not all there, or not published */
};

struct bc_finding {
    enum bc_found found;
    int64_t size; /* of the whole message */
    size_t metadata_size;
    struct bc_wire_head head;
};

struct bc_scan {
    int file; /* borrowed */
    bool is_ours;
    int64_t at;       /* where the next message is */
    uint8_t *scratch; /* the metadata last read */
    size_t capacity;
};

void bc__scan_finish(struct bc_scan *scan);

/* Looks at what is at `scan->at`, which stays, in a file of `end` bytes. EINVAL: no
 * message; ENOTSUP: a batch or dictionary with metadata of a version that is not read;
 * errnos of reading; ENOMEM. The metadata is in `scratch` then. */
int bc__scan_look(struct bc_scan *scan, int64_t end, struct bc_finding *out_finding);

#endif
