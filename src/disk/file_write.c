/* Writing the file: room, the block of small messages, and the group commit. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "disk/file.h"

/* Messages above COLLECT_BYTES_MAX are written at once. */
enum { BLOCK_BYTES = 1 << 16, COLLECT_BYTES_MAX = 1 << 13, PREFIX = 8 };

uint64_t bc__file_used(const struct bc_file *file) {
    return (uint64_t)atomic_load_explicit(&file->size, memory_order_relaxed) -
           bc__page_refs_punched_bytes(file->page_refs);
}

static bool has_room(const struct bc_file *file, int64_t size) {
    uint64_t used = bc__file_used(file);
    uint64_t capacity = atomic_load_explicit(&file->capacity, memory_order_relaxed);
    return (uint64_t)size <= capacity && used <= capacity - (uint64_t)size;
}

static int check_room(const struct bc_file *file, int64_t size, struct bc_error *error) {
    if (has_room(file, size)) return 0;
    bc__page_refs_reclaim(file->page_refs);
    if (has_room(file, size)) return 0;
    uint64_t capacity = atomic_load_explicit(&file->capacity, memory_order_relaxed);
    return bc__error_set_kind(
        error, BC_ERROR_OVER_BUDGET, ENOMEM,
        "Disk cache capacity (%llu bytes) exceeded: %llu bytes already "
        "written, cannot fit %lld more bytes",
        (unsigned long long)capacity, (unsigned long long)bc__file_used(file),
        (long long)size);
}

/* Synchronises the file. After one failure the system may drop the data and report
 * success, so the failure is permanent. */
static int sync_file(struct bc_file *file) { return bc__file_sync_as(file, file->file); }

/* Returns the errno for all further writes, or 0. */
static int check_writable(const struct bc_file *file) {
    if (bc__file_is_forked(file)) return ECANCELED;
    return atomic_load_explicit(&file->broken, memory_order_relaxed);
}

/* Returns whether the file may have the 8 bytes after their write failed. If they cannot
 * be read, they may be there. */
static bool may_contain(const struct bc_file *file, const void *prefix, int64_t offset) {
    uint8_t found[PREFIX];
    size_t got;
    if (bc__sys_read(file->file, found, PREFIX, offset, &got) != 0) return true;
    return got == PREFIX && memcmp(found, prefix, PREFIX) == 0;
}

static int publish_group(struct bc_file *file, const void *prefix, int64_t offset,
                         int64_t end) {
    bc_assert(offset >= file->published && end > offset);
    if (bc__file_is_forked(file)) return ECANCELED;
    int code = file->durable ? sync_file(file) : 0;
    if (code != 0) return code;
    const struct bc_iovec iovec = {prefix, PREFIX};
    code = bc__sys_write(file->file, &iovec, 1, 0, offset);
    if (code != 0 && !may_contain(file, prefix, offset)) return code;
    file->published = end;
    /* A reader may have the group already, but no append will count it. */
    if (code != 0) atomic_store_explicit(&file->broken, code, memory_order_relaxed);
    return code == 0 && file->durable ? sync_file(file) : code;
}

/* Writes a group of messages at `end`, and publishes it. Until then its first 8 bytes are
 * zeros or beyond the file's end, which every reader takes for the end of the stream. */
static int write_group(struct bc_file *file, const struct bc_iovec *iovecs,
                       size_t n_iovecs, int64_t size, int64_t end) {
    bc_assert(iovecs[0].size > PREFIX);
    /* The file grows by the whole group at once. A process that maps the file takes its
     * size at that moment, and sees later publications. It must not see a part of the
     * group. */
    int code = bc__sys_truncate(file->file, end + size);
    if (code == 0) code = bc__sys_write(file->file, iovecs, n_iovecs, PREFIX, end);
    return code == 0 ? publish_group(file, iovecs[0].data, end, end + size) : code;
}

/* Truncates the file to its published bytes, now or before the next write. Otherwise the
 * rest of a longer failed message would follow a shorter one. */
static int cut_unpublished(struct bc_file *file) {
    if (file->reach <= file->published) return 0;
    int code = bc__sys_truncate(file->file, file->published);
    if (code == 0) file->reach = file->published;
    return code;
}

/* Writes iovecs of `size` bytes at the end of the written bytes. */
static int write_at_end(struct bc_file *file, const struct bc_iovec *iovecs,
                        size_t n_iovecs, int64_t size) {
    int code = cut_unpublished(file);
    if (code != 0) return code;
    int64_t end = atomic_load_explicit(&file->written, memory_order_relaxed);
    file->reach = end + size;
    code = file->publishes_last ? write_group(file, iovecs, n_iovecs, size, end)
                                : bc__sys_write(file->file, iovecs, n_iovecs, 0, end);
    if (code != 0) {
        /* Other processes read the file meanwhile: leave no torn message. */
        (void)cut_unpublished(file);
        return code;
    }
    file->published = end + size;
    atomic_store_explicit(&file->written, end + size, memory_order_release);
    bc__page_refs_written(file->page_refs, end + size);
    return 0;
}

/* Writes the block and empties it. The lock is held. */
static int write_block(struct bc_file *file) {
    if (file->collected == 0) return 0;
    struct bc_iovec iovec = {file->block->memory, file->collected};
    int code = write_at_end(file, &iovec, 1, (int64_t)file->collected);
    if (code != 0) return code;
    file->collected = 0;
    /* Reuse the block, unless a reader still has it. */
    if (atomic_load_explicit(&file->block->refs, memory_order_acquire) > 1) {
        bc__region_unref(file->block);
        file->block = NULL;
    }
    return 0;
}

/* Copies a small message into the block. The lock is held. */
static int collect_message(struct bc_file *file, const struct bc_iovec *iovecs,
                           size_t n_iovecs, size_t size) {
    if (file->collected + size > BLOCK_BYTES) {
        int code = write_block(file);
        if (code != 0) return code;
    }
    if (file->block == NULL) file->block = bc__region_block(BLOCK_BYTES);
    if (file->block == NULL) return ENOMEM;
    if (file->collected == 0) {
        file->block->offset = atomic_load_explicit(&file->written, memory_order_relaxed);
    }
    uint8_t *out = bc__region_bytes(file->block) + file->collected;
    for (size_t i = 0; i < n_iovecs; i++) {
        memcpy(out, iovecs[i].data, iovecs[i].size);
        out += iovecs[i].size;
    }
    file->collected += size;
    return 0;
}

static int append_message(struct bc_file *file, const struct bc_iovec *iovecs,
                          size_t n_iovecs, int64_t size, bool more) {
    int64_t end = atomic_load_explicit(&file->size, memory_order_relaxed);
    int code = check_writable(file);
    if (code == 0) code = bc__page_refs_add(file->page_refs, end, size);
    if (code != 0) return code;
    bc__mutex_lock(&file->lock);
    if (more && size <= COLLECT_BYTES_MAX) {
        code = collect_message(file, iovecs, n_iovecs, (size_t)size);
    } else {
        code = write_block(file);
        if (code == 0) code = write_at_end(file, iovecs, n_iovecs, size);
    }
    bc__mutex_unlock(&file->lock);
    if (code != 0) {
        bc__page_refs_remove(file->page_refs, end, size);
        return code;
    }
    atomic_store_explicit(&file->size, end + size, memory_order_release);
    return 0;
}

static int write_error(int code, struct bc_error *error) {
    if (code == ECANCELED) {
        return bc__error_set_kind(error, BC_ERROR_FORKED, code,
                                  "Disk write failed: only the process that made the "
                                  "file can write it, until its source fails");
    }
    return bc__error_set(error, code, "Disk write failed: %s", bc__error_message(code));
}

int bc__file_append(struct bc_file *file, const struct bc_iovec *iovecs, size_t n_iovecs,
                    int64_t size, bool more, int64_t *out_offset,
                    struct bc_error *error) {
    bc_assert(file->file >= 0 && size > 0 && size % 64 == 0);
    int code = check_room(file, size, error);
    if (code != 0) return code;
    int64_t offset = atomic_load_explicit(&file->size, memory_order_relaxed);
    code = append_message(file, iovecs, n_iovecs, size, more);
    if (code != 0) return write_error(code, error);
    *out_offset = offset;
    return 0;
}

bool bc__file_is_flushed(const struct bc_file *file) {
    return atomic_load_explicit(&file->written, memory_order_relaxed) ==
           atomic_load_explicit(&file->size, memory_order_relaxed);
}

int bc__file_flush(struct bc_file *file, struct bc_error *error) {
    int code = check_writable(file);
    /* ECANCELED is no failure if no message waits. */
    if (code == ECANCELED && bc__file_is_flushed(file)) return 0;
    if (code != 0) return write_error(code, error);
    if (bc__file_is_flushed(file)) return 0;
    bc__mutex_lock(&file->lock);
    code = write_block(file);
    bc__mutex_unlock(&file->lock);
    return code == 0 ? 0 : write_error(code, error);
}

int bc__file_sync_as(struct bc_file *file, int descriptor) {
    int code = atomic_load_explicit(&file->broken, memory_order_relaxed);
    if (code == 0) code = bc__sys_sync(descriptor);
    if (code != 0) atomic_store_explicit(&file->broken, code, memory_order_relaxed);
    return code;
}

int bc__file_sync(struct bc_file *file, struct bc_error *error) {
    int code = sync_file(file);
    return code == 0 ? 0 : write_error(code, error);
}

int bc__file_write_behind(struct bc_file *file, const void *data, size_t size,
                          int64_t offset, struct bc_error *error) {
    bc_assert(offset >= atomic_load_explicit(&file->written, memory_order_relaxed));
    int code = check_writable(file);
    int64_t end = offset + (int64_t)size;
    if (code == 0 && file->reach < end) file->reach = end;
    const struct bc_iovec iovec = {data, size};
    if (code == 0) code = bc__sys_write(file->file, &iovec, 1, 0, offset);
    return code == 0 ? 0 : write_error(code, error);
}

int bc__file_publish(struct bc_file *file, const void *prefix, int64_t offset,
                     int64_t end, struct bc_error *error) {
    int code = publish_group(file, prefix, offset, end);
    return code == 0 ? 0 : write_error(code, error);
}

int bc__file_start_appending(struct bc_file *file, int64_t end, struct bc_error *error) {
    file->is_named = true;
    file->publishes_last = true;
    file->published = end;
    file->reach = INT64_MAX;
    atomic_store(&file->size, end);
    atomic_store(&file->written, end);
    return bc__file_cut(file, error);
}

int bc__file_cut(struct bc_file *file, struct bc_error *error) {
    int code = bc__file_is_forked(file) ? ECANCELED : cut_unpublished(file);
    return code == 0 ? 0 : write_error(code, error);
}

struct bc_region *bc__file_collected(struct bc_file *file, int64_t offset) {
    if (offset < atomic_load_explicit(&file->written, memory_order_acquire)) return NULL;
    struct bc_region *block = NULL;
    bc__mutex_lock(&file->lock);
    if (offset >= atomic_load_explicit(&file->written, memory_order_relaxed)) {
        block = bc__region_ref(file->block);
    }
    bc__mutex_unlock(&file->lock);
    return block;
}

void bc__file_release(struct bc_file *file, int64_t offset, int64_t size) {
    bc__page_refs_remove(file->page_refs, offset, size);
}
