#include "disk/read_ahead.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/check.h"
#include "disk/stored_message.h"
#include "ipc/column_ranges.h"

enum {
    READERS = 4,
    METADATA_AHEAD = 64, /* batches */
    METADATA_STEP = 16
};
/* The window of a reader in bytes of its columns, and the least that is started. */
static const int64_t WINDOW = (int64_t)32 << 20;
static const int64_t STEP = (int64_t)4 << 20;

struct reader {
    uint64_t next;                          /* the batch that it needs next; 0: none */
    const struct bc_projection *projection; /* compared only; it may be freed */
    int64_t bytes_to;                 /* of all columns: where reading has started */
    uint64_t metadata_to, columns_to; /* of some columns */
};

struct bc_read_ahead {
    struct bc_mutex lock; /* guards the members below */
    struct reader readers[READERS];
    unsigned turn;
};

int bc__read_ahead_new(struct bc_read_ahead **out_ahead) {
    struct bc_read_ahead *ahead = bc__calloc(1, sizeof(*ahead));
    if (ahead == NULL) return ENOMEM;
    if (bc__mutex_init(&ahead->lock) != 0) {
        bc__free(ahead);
        return ENOMEM;
    }
    *out_ahead = ahead;
    return 0;
}

void bc__read_ahead_free(struct bc_read_ahead *ahead) {
    if (ahead == NULL) return;
    bc__mutex_finish(&ahead->lock);
    bc__free(ahead);
}

/* Copies the reader that reads batch `number` now. Returns NULL if no reader has read the
 * batch before: the next call may find it. */
static struct reader *find_reader(struct bc_read_ahead *ahead, uint64_t number,
                                  const struct bc_projection *projection,
                                  struct reader *out) {
    struct reader *found = NULL;
    bc__mutex_lock(&ahead->lock);
    for (size_t i = 0; i < READERS && number > 0; i++) {
        struct reader *one = &ahead->readers[i];
        if (one->next == number && one->projection == projection) found = one;
    }
    bool is_first = found == NULL;
    if (is_first) {
        found = &ahead->readers[ahead->turn++ % READERS];
        *found = (struct reader){.projection = projection};
    }
    found->next = number + 1;
    *out = *found;
    bc__mutex_unlock(&ahead->lock);
    return is_first && number > 0 ? NULL : found;
}

/* Keeps the progress of a reader, unless another reader has its place now. */
static void keep_reader(struct bc_read_ahead *ahead, struct reader *reader,
                        const struct reader *now) {
    bc__mutex_lock(&ahead->lock);
    if (reader->next == now->next && reader->projection == now->projection)
        *reader = *now;
    bc__mutex_unlock(&ahead->lock);
}

/* Finds the message of a batch. */
static bool find_range(struct bc_disk *disk, uint64_t number, struct bc_extent *out) {
    struct bc_index_entry entry;
    if (bc__disk_locate(&disk->tier, number, &entry, NULL) != 0) return false;
    *out = entry.extent;
    return true;
}

/* ---- all columns ---- */

/* Returns the end of the messages that a reader needs. */
static int64_t end_of(struct bc_disk *disk, uint64_t stop) {
    if (!disk->tier.has_index) return disk->file.storage.size;
    struct bc_extent last;
    bool has_all = stop >= (uint64_t)disk->trailer.batches;
    if (has_all || !find_range(disk, stop - 1, &last)) return disk->trailer.end;
    return last.offset + last.size;
}

static void start_bytes(struct bc_disk *disk, struct reader *now, struct bc_extent extent,
                        uint64_t stop) {
    int64_t begin = extent.offset + extent.size;
    int64_t end = end_of(disk, stop);
    int64_t from = now->bytes_to > begin ? now->bytes_to : begin;
    int64_t to = end - begin > WINDOW ? begin + WINDOW : end;
    if (from >= to || (to - from < STEP && to < end)) return;
    const struct bc_range range = {from, to - from};
    int code = bc__file_read_ahead(&disk->file, &range, 1);
    if (code == 0 || code == EAGAIN) now->bytes_to = to;
}

/* ---- some columns ---- */

static void start_metadata(struct bc_disk *disk, struct reader *now, uint64_t stop) {
    uint64_t n_batches = (uint64_t)disk->trailer.batches;
    if (stop < n_batches) n_batches = stop;
    if (n_batches <= now->next) return;
    uint64_t from = now->metadata_to > now->next ? now->metadata_to : now->next;
    uint64_t to =
        n_batches - now->next > METADATA_AHEAD ? now->next + METADATA_AHEAD : n_batches;
    if (from >= to || (to - from < METADATA_STEP && to < n_batches)) return;
    struct bc_range ranges[METADATA_AHEAD];
    size_t n = 0;
    for (uint64_t i = from; i < to; i++) {
        struct bc_extent extent;
        if (!find_range(disk, i, &extent)) return;
        ranges[n++] = bc__stored_head(disk, extent);
    }
    int code = bc__file_read_ahead(&disk->file, ranges, n);
    if (code == 0 || code == EAGAIN) now->metadata_to = to;
}

/* Starts to read the columns of batch `number`. Returns false if its metadata is not in
 * memory yet, or if enough is being read. Adds the bytes to `*bytes`. */
static bool start_columns(struct bc_disk *disk, uint64_t number,
                          const struct bc_projection *projection, int64_t *bytes) {
    struct bc_extent extent;
    if (!find_range(disk, number, &extent)) return false;
    const struct bc_range head = bc__stored_head(disk, extent);
    if (bc__file_read_ahead(&disk->file, &head, 1) != 0) return false;
    struct bc_range *ranges;
    size_t n;
    if (bc__stored_columns(disk, extent, projection, &ranges, &n) != 0) return false;
    int code = n == 0 ? 0 : bc__file_read_ahead(&disk->file, ranges, n);
    for (size_t i = 0; i < n; i++) *bytes += ranges[i].size;
    bc__free(ranges);
    return code == 0 || code == EAGAIN;
}

static void start_some(struct bc_disk *disk, struct reader *now,
                       const struct bc_tier_read *request) {
    if (!disk->tier.has_index) return;
    start_metadata(disk, now, request->stop);
    uint64_t first = now->columns_to > now->next ? now->columns_to : now->next;
    /* The batches that were started before are about as large as those started now. */
    uint64_t n_before = first - now->next;
    int64_t bytes = 0;
    for (uint64_t i = first; i < now->metadata_to; i++) {
        uint64_t n_started = i - first;
        int64_t each = n_started == 0 ? 0 : bytes / (int64_t)n_started;
        if (each * (int64_t)(n_before + n_started) > WINDOW) break;
        if (!start_columns(disk, i, request->projection, &bytes)) break;
        now->columns_to = i + 1;
    }
}

void bc__read_ahead(struct bc_disk *disk, uint64_t number, struct bc_extent extent,
                    const struct bc_tier_read *request) {
    struct bc_read_ahead *ahead = disk->ahead;
    /* In a fork's child, another thread may have had the lock. */
    if (disk->file.storage.ahead == NULL || bc__file_is_forked(&disk->file)) return;
    if (number + 1 >= request->stop) return;
    struct reader now;
    struct reader *reader = find_reader(ahead, number, request->projection, &now);
    if (reader == NULL) return;
    if (request->projection == NULL) {
        start_bytes(disk, &now, extent, request->stop);
    } else {
        start_some(disk, &now, request);
    }
    keep_reader(ahead, reader, &now);
}
