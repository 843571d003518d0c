#include "disk/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

static const char file_name[] = "cache.arrow";
static const char unlocked_name[] = "unlocked.arrow";
static const char dir_prefix[] = "batchcorder-";

/* A message as large as this gains nothing from waiting for others. */
enum { BLOCK_BYTES = 1 << 16, COLLECT_BYTES_MAX = 1 << 13, PREFIX = 8 };

static struct bc_file *file_of(struct bc_member *member) {
    return BC_CONTAINER(member, struct bc_file, member);
}

static void hold(struct bc_member *member) { bc__mutex_lock(&file_of(member)->lock); }

static void let(struct bc_member *member) { bc__mutex_unlock(&file_of(member)->lock); }

/* A recording's lock is the parent's: it must not outlive that in a child. */
static void leave_lock(struct bc_member *member) {
    struct bc_file *file = file_of(member);
    if (file->is_locked && file->file >= 0) bc__sys_reopen(file->file, file->path);
    let(member);
}

/* Files that a process which ends in good order takes with it, though their caches were
 * not closed. The data stays readable to the very end; the names go. What a killed
 * process leaves, the next cache reclaims. */
static void unlink_at_exit(struct bc_member *member) {
    hold(member);
    (void)bc__file_unlink(file_of(member));
    let(member);
}

static const struct bc_member_calls member_calls = {hold, let, leave_lock,
                                                    unlink_at_exit};

static int start(struct bc_file *file, uint64_t bytes_max) {
    memset(file, 0, sizeof(*file));
    file->dir = -1;
    file->file = -1;
    file->naming = BC_NAMING_NONE;
    atomic_init(&file->limit, bytes_max);
    file->process = bc__sys_process();
    int code = bc__mutex_init(&file->lock);
    if (code == 0) bc__member_add(BC_MEMBER_FILE, &file->member, &member_calls);
    return code;
}

/* Of a cache's file. */
static const char *name_of(const struct bc_file *file) {
    return file->refused == 0 ? file_name : unlocked_name;
}

int bc__file_create(struct bc_file *file, const char *path, uint64_t bytes_max,
                    bool evicts, struct bc_error *error) {
    bc_assert(file != NULL && path != NULL);
    if (start(file, bytes_max) != 0) return bc__error_memory(error);
    const char *what = "directory";
    int code = bc__sys_make_dirs(path);
    if (code == 0) {
        code = bc__sys_make_private_dir(path, dir_prefix, &file->dir_path, &file->dir);
    }
    if (code == 0) {
        what = "file";
        code = bc__sys_create(file->dir, file_name, unlocked_name, &file->file,
                              &file->refused);
    }
    if (code == 0) {
        size_t size = strlen(file->dir_path) + 1 + sizeof(unlocked_name);
        file->path = bc__malloc(size);
        if (file->path == NULL) {
            code = ENOMEM;
        } else {
            (void)snprintf(file->path, size, "%s/%s", file->dir_path, name_of(file));
        }
    }
    if (code == 0 && evicts) code = bc__page_refs_new(file->file, &file->page_refs);
    if (code == 0) {
        bc__sys_reclaim(path, dir_prefix, file_name);
        return 0;
    }
    bc__file_finish(file);
    return bc__error_set(error, code, "Failed to create cache %s: %s: '%s'", what,
                         bc__error_message(code), path);
}

/* The words for the errno with which a recording could not be made. */
static int fail_to_record(int code, const char *path, struct bc_error *error) {
    if (code == ENOLCK) {
        return bc__error_set(error, code,
                             "Failed to create recording: the file system refuses locks, "
                             "and without one two processes may write it: '%s'",
                             path);
    }
    return bc__error_set(error, code, "Failed to create recording: %s: '%s'",
                         bc__error_message(code), path);
}

int bc__file_record(struct bc_file *file, const char *path, bool durable, bool needs_lock,
                    struct bc_error *error) {
    bc_assert(file != NULL && path != NULL);
    if (start(file, BC_BYTES_DEFAULT) != 0) return bc__error_memory(error);
    file->publishes_last = true;
    file->is_locked = true;
    atomic_init(&file->is_public, true);
    file->durable = durable;
    file->needs_lock = needs_lock;
    file->path = bc__strdup(path);
    int code = file->path == NULL ? ENOMEM : 0;
    if (code == 0) code = bc__naming_init(&file->naming, path);
    /* A child that had the file, and did not know, would keep it locked. */
    bc__process_block_forks();
    if (code == 0) code = bc__naming_create(&file->naming, needs_lock, &file->file);
    bc__process_allow_forks();
    if (code == 0) return 0;
    bc__file_finish(file);
    return fail_to_record(code, path, error);
}

/* A file that was written before: all but its descriptor and its size. */
static int start_opened(struct bc_file *file, const char *path) {
    int code = start(file, BC_BYTES_DEFAULT);
    if (code != 0) return code;
    atomic_init(&file->is_public, true);
    file->path = bc__strdup(path);
    if (file->path != NULL) return 0;
    bc__file_finish(file);
    return ENOMEM;
}

int bc__file_adopt(struct bc_file *file, int descriptor, const char *path, int64_t size) {
    bc_assert(file != NULL && descriptor >= 0 && path != NULL && size >= 0);
    int code = start_opened(file, path);
    if (code != 0) {
        bc__sys_close(descriptor);
        return code;
    }
    file->file = descriptor;
    atomic_init(&file->size, size);
    atomic_init(&file->written, size);
    return 0;
}

int bc__file_adopt_locked(struct bc_file *file, const char *path, bc_file_opener *open) {
    bc_assert(file != NULL && path != NULL && open != NULL);
    int code = start_opened(file, path);
    if (code != 0) return code;
    bc__process_block_forks();
    code = open(path, &file->naming, &file->file);
    file->is_locked = code == 0;
    bc__process_allow_forks();
    if (code != 0) bc__file_finish(file);
    return code;
}

int bc__file_name(struct bc_file *file, bool replaces, struct bc_error *error) {
    bc_assert(file->file >= 0);
    struct bc_naming *naming = &file->naming;
    int code = bc__naming_publish(naming, file->file, replaces, file->needs_lock);
    if (code == 0 && file->durable) {
        code = bc__naming_sync(naming);
        /* What took another file's place stays: that one is gone. */
        if (code != 0 && !replaces) bc__naming_unlink(naming, file->file);
    }
    if (code != 0) return fail_to_record(code, file->path, error);
    file->is_named = true;
    bc__naming_finish(naming, file->file);
    return 0;
}

void bc__file_unlink_name(struct bc_file *file) {
    struct bc_naming naming;
    if (!file->is_named || bc__naming_init(&naming, file->path) != 0) return;
    bc__naming_unlink(&naming, file->file);
    bc__naming_finish(&naming, file->file);
    file->is_named = false;
}

uint64_t bc__file_used(const struct bc_file *file) {
    return (uint64_t)atomic_load_explicit(&file->size, memory_order_relaxed) -
           bc__page_refs_punched_bytes(file->page_refs);
}

static bool has_room(const struct bc_file *file, int64_t size) {
    uint64_t used = bc__file_used(file);
    uint64_t limit = atomic_load_explicit(&file->limit, memory_order_relaxed);
    return (uint64_t)size <= limit && used <= limit - (uint64_t)size;
}

static int check_room(const struct bc_file *file, int64_t size, struct bc_error *error) {
    if (has_room(file, size)) return 0;
    bc__page_refs_reclaim(file->page_refs);
    if (has_room(file, size)) return 0;
    uint64_t limit = atomic_load_explicit(&file->limit, memory_order_relaxed);
    return bc__error_set_kind(
        error, BC_ERROR_OVER_BUDGET, ENOMEM,
        "Disk cache capacity (%llu bytes) exceeded: %llu bytes already "
        "written, cannot fit %lld more bytes",
        (unsigned long long)limit, (unsigned long long)bc__file_used(file),
        (long long)size);
}

/* Synchronises the file. What failed once is not known to be on the disk ever again,
 * whatever the system says later, so that stays. */
static int sync(struct bc_file *file) { return bc__file_sync_as(file, file->file); }

static bool is_forked(const struct bc_file *file) {
    return file->process != bc__sys_process();
}

/* The errno with which nothing can be written any more, or 0. */
static int check_writable(const struct bc_file *file) {
    if (is_forked(file)) return ECANCELED;
    return atomic_load_explicit(&file->broken, memory_order_relaxed);
}

/* Whether the 8 bytes are in the file, after their write failed. What cannot be read may
 * be there. */
static bool may_have(const struct bc_file *file, const void *prefix, int64_t offset) {
    uint8_t there[PREFIX];
    size_t got;
    if (bc__sys_read(file->file, there, PREFIX, offset, &got) != 0) return true;
    return got == PREFIX && memcmp(there, prefix, PREFIX) == 0;
}

static int publish(struct bc_file *file, const void *prefix, int64_t offset,
                   int64_t end) {
    bc_assert(offset >= file->published && end > offset);
    if (is_forked(file)) return ECANCELED;
    int code = file->durable ? sync(file) : 0;
    if (code != 0) return code;
    const struct bc_iovec iovec = {prefix, PREFIX};
    code = bc__sys_write(file->file, &iovec, 1, 0, offset);
    if (code != 0 && !may_have(file, prefix, offset)) return code;
    file->published = end;
    /* A reader may have it already, and no append of ours will count it. */
    if (code != 0) atomic_store_explicit(&file->broken, code, memory_order_relaxed);
    return code == 0 && file->durable ? sync(file) : code;
}

/* Writes a group of messages at `end`, and publishes it: until then its first 8 bytes are
 * zeros, or not there, which is the end of the stream to every reader. */
static int write_group(struct bc_file *file, const struct bc_iovec *iovecs,
                       size_t n_iovecs, int64_t size, int64_t end) {
    bc_assert(iovecs[0].size > PREFIX);
    /* All of it at once is part of the file: others who mapped that know its size of that
     * moment, and see what is published later; they must not see a part of it. */
    int code = bc__sys_truncate(file->file, end + size);
    if (code == 0) code = bc__sys_write(file->file, iovecs, n_iovecs, PREFIX, end);
    return code == 0 ? publish(file, iovecs[0].data, end, end + size) : code;
}

/* Cuts off what is not published, now, or else before anything is written again: a
 * message that is shorter than what stands there would be followed by the rest of it. */
static int cut(struct bc_file *file) {
    if (file->reach <= file->published) return 0;
    int code = bc__sys_truncate(file->file, file->published);
    if (code == 0) file->reach = file->published;
    return code;
}

/* Writes iovecs of `size` bytes behind what is written. */
static int write(struct bc_file *file, const struct bc_iovec *iovecs, size_t n_iovecs,
                 int64_t size) {
    int code = cut(file);
    if (code != 0) return code;
    int64_t end = atomic_load_explicit(&file->written, memory_order_relaxed);
    file->reach = end + size;
    code = file->publishes_last ? write_group(file, iovecs, n_iovecs, size, end)
                                : bc__sys_write(file->file, iovecs, n_iovecs, 0, end);
    if (code != 0) {
        /* No torn message at the end, for others who read the file meanwhile. */
        (void)cut(file);
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
    int code = write(file, &iovec, 1, (int64_t)file->collected);
    if (code != 0) return code;
    file->collected = 0;
    /* Used again, unless somebody still reads from it. */
    if (atomic_load_explicit(&file->block->refs, memory_order_acquire) > 1) {
        bc__region_unref(file->block);
        file->block = NULL;
    }
    return 0;
}

/* Puts a small message into the block. The lock is held. */
static int collect(struct bc_file *file, const struct bc_iovec *iovecs, size_t n_iovecs,
                   size_t size) {
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

static int append(struct bc_file *file, const struct bc_iovec *iovecs, size_t n_iovecs,
                  int64_t size, bool more) {
    int64_t end = atomic_load_explicit(&file->size, memory_order_relaxed);
    int code = check_writable(file);
    if (code == 0) code = bc__page_refs_add(file->page_refs, end, size);
    if (code != 0) return code;
    bc__mutex_lock(&file->lock);
    if (more && size <= COLLECT_BYTES_MAX) {
        code = collect(file, iovecs, n_iovecs, (size_t)size);
    } else {
        code = write_block(file);
        if (code == 0) code = write(file, iovecs, n_iovecs, size);
    }
    bc__mutex_unlock(&file->lock);
    if (code != 0) {
        bc__page_refs_remove(file->page_refs, end, size);
        return code;
    }
    atomic_store_explicit(&file->size, end + size, memory_order_release);
    return 0;
}

static int fail(int code, struct bc_error *error) {
    if (code == ECANCELED) {
        return bc__error_set_kind(
            error, BC_ERROR_FORKED, code,
            "Disk write failed: only the process that made the file can "
            "write it, until its source fails");
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
    code = append(file, iovecs, n_iovecs, size, more);
    if (code != 0) return fail(code, error);
    *out_offset = offset;
    return 0;
}

bool bc__file_is_flushed(const struct bc_file *file) {
    return atomic_load_explicit(&file->written, memory_order_relaxed) ==
           atomic_load_explicit(&file->size, memory_order_relaxed);
}

int bc__file_flush(struct bc_file *file, struct bc_error *error) {
    int code = check_writable(file);
    /* Whoever may not write any more has nothing to write either. */
    if (code == ECANCELED && bc__file_is_flushed(file)) return 0;
    if (code != 0) return fail(code, error);
    if (bc__file_is_flushed(file)) return 0;
    bc__mutex_lock(&file->lock);
    code = write_block(file);
    bc__mutex_unlock(&file->lock);
    return code == 0 ? 0 : fail(code, error);
}

int bc__file_sync_as(struct bc_file *file, int descriptor) {
    int code = atomic_load_explicit(&file->broken, memory_order_relaxed);
    if (code == 0) code = bc__sys_sync(descriptor);
    if (code != 0) atomic_store_explicit(&file->broken, code, memory_order_relaxed);
    return code;
}

int bc__file_sync(struct bc_file *file, struct bc_error *error) {
    int code = sync(file);
    return code == 0 ? 0 : fail(code, error);
}

int bc__file_write_behind(struct bc_file *file, const void *data, size_t size,
                          int64_t offset, struct bc_error *error) {
    bc_assert(offset >= atomic_load_explicit(&file->written, memory_order_relaxed));
    int code = check_writable(file);
    int64_t end = offset + (int64_t)size;
    if (code == 0 && file->reach < end) file->reach = end;
    const struct bc_iovec iovec = {data, size};
    if (code == 0) code = bc__sys_write(file->file, &iovec, 1, 0, offset);
    return code == 0 ? 0 : fail(code, error);
}

int bc__file_publish(struct bc_file *file, const void *prefix, int64_t offset,
                     int64_t end, struct bc_error *error) {
    int code = publish(file, prefix, offset, end);
    return code == 0 ? 0 : fail(code, error);
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
    int code = is_forked(file) ? ECANCELED : cut(file);
    return code == 0 ? 0 : fail(code, error);
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

void bc__file_abort(struct bc_file *file) {
    if (!file->publishes_last || is_forked(file)) return;
    bc__mutex_lock(&file->lock);
    if (atomic_load_explicit(&file->broken, memory_order_relaxed) == 0) {
        atomic_store_explicit(&file->broken, ECANCELED, memory_order_relaxed);
    }
    bc__sys_unlock(file->file);
    bc__mutex_unlock(&file->lock);
}

bool bc__file_unlink(struct bc_file *file) {
    if (file->dir < 0 || is_forked(file)) return true;
    if (file->file >= 0) (void)bc__sys_remove(file->dir, name_of(file), file->file);
    return bc__sys_remove_dir(file->dir_path) == 0;
}

void bc__file_remove(struct bc_file *file) {
    bc_assert(file != NULL);
    /* A recording that never got its name goes. */
    if (!is_forked(file)) bc__naming_finish(&file->naming, file->file);
    bc__page_refs_close(file->page_refs);
    bc__mutex_lock(&file->lock);
    bc__region_unref(file->block);
    file->block = NULL;
    file->collected = 0;
    bool is_gone = bc__file_unlink(file);
    /* A mapping may keep the open file, and with it the lock. */
    bool may_last = file->is_locked && !is_forked(file);
    if (may_last && file->file >= 0) bc__sys_unlock(file->file);
    if (file->file >= 0) bc__sys_close(file->file);
    if (file->dir >= 0) bc__sys_close(file->dir);
    /* FUSE and NFS keep an open file in its directory, under a name of their own. */
    if (!is_gone) (void)bc__sys_remove_dir(file->dir_path);
    file->file = -1;
    file->dir = -1;
    bc__mutex_unlock(&file->lock);
    /* Afterwards: until it is closed, a fork's child must know of it. */
    bc__member_remove(BC_MEMBER_FILE, &file->member);
}

void bc__file_finish(struct bc_file *file) {
    bc__file_remove(file);
    bc__free(file->dir_path);
    bc__free(file->path);
    bc__page_refs_unref(file->page_refs);
    bc__mutex_finish(&file->lock);
}
