#include "disk/stored_message.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/errors.h"
#include "disk/read_ahead.h"
#include "ipc/column_ranges.h"

/* A smaller message is read whole. */
enum { WHOLE = 8192 };
/* The size of metadata in the first read, and the largest size to remember. */
enum { HEAD_FIRST = 4096, METADATA_MAX = 1 << 20, ALIGNMENT = 64 };

struct bc_range bc__stored_head(const struct bc_disk *disk, struct bc_extent extent) {
    int64_t size = atomic_load_explicit(&disk->metadata_bytes, memory_order_relaxed);
    if (size == 0) size = HEAD_FIRST;
    if (extent.size <= WHOLE || size > extent.size) size = extent.size;
    return (struct bc_range){extent.offset, size};
}

/* Remembers the size of a message's metadata, of which `size` bytes are in memory. The
 * metadata of other batches has about the same size. */
static void remember_metadata(struct bc_disk *disk, const uint8_t *bytes, int64_t size) {
    struct bc_frame frame;
    if (bc__frame_parse(bytes, size, &frame) != 0 || frame.metadata_size > METADATA_MAX) {
        return;
    }
    int64_t framed = bc__round_up(frame.metadata + frame.metadata_size, ALIGNMENT);
    int64_t known = atomic_load_explicit(&disk->metadata_bytes, memory_order_relaxed);
    if (framed > known) {
        atomic_store_explicit(&disk->metadata_bytes, framed, memory_order_relaxed);
    }
}

int bc__stored_columns(struct bc_disk *disk, struct bc_extent extent,
                       const struct bc_projection *projection,
                       struct bc_range **out_ranges, size_t *out_n) {
    *out_ranges = NULL;
    *out_n = 0;
    const struct bc_range head = bc__stored_head(disk, extent);
    if (head.size == extent.size) return 0;
    uint8_t *bytes = bc__malloc((size_t)head.size);
    if (bytes == NULL) return ENOMEM;
    size_t got;
    int code =
        bc__file_read(&disk->file, bytes, (size_t)head.size, head.offset, &got, NULL);
    struct bc_frame frame;
    if (code == 0) code = bc__frame_parse(bytes, (int64_t)got, &frame);
    if (code == 0 && frame.metadata_size > (int64_t)got - frame.metadata) code = EINVAL;
    struct bc_message message;
    if (code == 0) code = bc__message_parse(&message, bytes, extent.size);
    if (code == 0) {
        code = bc__column_ranges(disk->encoder.schema, projection, &message, out_ranges,
                                 out_n);
    }
    for (size_t i = 0; i < *out_n; i++) (*out_ranges)[i].offset += extent.offset;
    bc__free(bytes);
    return code;
}

/* Reads the ranges of the message that begins at `at` into its memory. The first `got`
 * bytes are there already. */
static int read_ranges(struct bc_disk *disk, int64_t at, uint8_t *memory, int64_t got,
                       struct bc_range *ranges, size_t n, struct bc_error *error) {
    void **buffers = bc__malloc((n + 1) * sizeof(*buffers));
    if (buffers == NULL) return bc__error_memory(error);
    size_t n_left = 0;
    for (size_t i = 0; i < n; i++) {
        struct bc_range range = ranges[i];
        int64_t end = range.offset + range.size;
        if (end <= got) continue;
        if (range.offset < got) range.offset = got;
        buffers[n_left] = memory + range.offset;
        ranges[n_left++] = (struct bc_range){at + range.offset, end - range.offset};
    }
    int code = 0;
    if (n_left > 0) {
        code = bc__file_read_ranges(&disk->file, ranges, (void *const *)buffers, n_left,
                                    error);
    }
    bc__free(buffers);
    return code;
}

/* Reads the rest of the message, whose first `head` bytes are in its memory. Invalid
 * metadata is no error here: parsing finds it again. */
static int read_rest(struct bc_disk *disk, struct bc_extent extent, uint8_t *memory,
                     int64_t head, const struct bc_projection *projection,
                     struct bc_error *error) {
    struct bc_frame frame;
    if (bc__frame_parse(memory, head, &frame) != 0 ||
        frame.metadata_size > extent.size - frame.metadata) {
        return 0;
    }
    int64_t framed = frame.metadata + frame.metadata_size;
    struct bc_range rest = {0, framed};
    int code = 0;
    if (framed > head) {
        code = read_ranges(disk, extent.offset, memory, head, &rest, 1, error);
        if (code != 0) return code;
        head = framed;
    }
    struct bc_message message;
    struct bc_range *ranges;
    size_t n;
    code = bc__message_parse(&message, memory, extent.size);
    if (code == 0) {
        code = bc__column_ranges(disk->encoder.schema, projection, &message, &ranges, &n);
    }
    if (code != 0) return code == ENOMEM ? bc__error_memory(error) : 0;
    code = read_ranges(disk, extent.offset, memory, head, ranges, n, error);
    bc__free(ranges);
    return code;
}

int bc__stored_load(struct bc_disk *disk, struct bc_extent extent, uint64_t number,
                    const struct bc_tier_read *request, struct bc_loaded_message *out,
                    struct bc_error *error) {
    const struct bc_projection *projection = request->projection;
    struct bc_range head = {extent.offset, extent.size};
    if (projection != NULL) head = bc__stored_head(disk, extent);
    bool is_whole = head.size == extent.size;
    size_t size = (size_t)extent.size;
    if (extent.size > disk->file.storage.size - extent.offset) {
        return bc__disk_error_reading(disk, EIO, error);
    }
    if ((uint64_t)extent.size > PTRDIFF_MAX) return bc__error_memory(error);
    struct bc_region *region = is_whole ? bc__region_block(size) : bc__region_zeros(size);
    if (region == NULL) return bc__error_memory(error);
    region->offset = extent.offset;
    void *memory = bc__region_bytes(region);
    if (is_whole) bc__read_ahead(disk, number, extent, request);
    int code = bc__file_read_ranges(&disk->file, &head, &memory, 1, error);
    if (code == 0 && !is_whole) {
        remember_metadata(disk, memory, head.size);
        bc__read_ahead(disk, number, extent, request);
        code = read_rest(disk, extent, memory, head.size, projection, error);
    }
    if (code != 0) {
        bc__region_unref(region);
        return code;
    }
    *out =
        (struct bc_loaded_message){.region = region, .bytes = memory, .extent = extent};
    return 0;
}
