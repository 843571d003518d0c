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

static struct bc_file *file_of(struct bc_member *member) {
    return BC_CONTAINER(member, struct bc_file, member);
}

static void lock_file(struct bc_member *member) {
    bc__mutex_lock(&file_of(member)->lock);
}

static void unlock_file(struct bc_member *member) {
    bc__mutex_unlock(&file_of(member)->lock);
}

/* In a forked child, opens the file anew without the lock: the lock must not outlive the
 * parent. */
static void drop_inherited_lock(struct bc_member *member) {
    struct bc_file *file = file_of(member);
    if (file->is_locked && file->file >= 0) bc__sys_reopen(file->file, file->path);
    unlock_file(member);
}

/* Removes the names of files whose caches are not closed when the process exits. The data
 * stays readable until the end. If a process is killed, the next cache reclaims its
 * files. */
static void unlink_at_exit(struct bc_member *member) {
    lock_file(member);
    (void)bc__file_unlink(file_of(member));
    unlock_file(member);
}

static const struct bc_member_calls member_calls = {lock_file, unlock_file,
                                                    drop_inherited_lock, unlink_at_exit};

static int init_file(struct bc_file *file, uint64_t capacity) {
    memset(file, 0, sizeof(*file));
    file->dir = -1;
    file->file = -1;
    file->naming = BC_NAMING_NONE;
    atomic_init(&file->capacity, capacity);
    file->process = bc__sys_process();
    int code = bc__mutex_init(&file->lock);
    if (code == 0) bc__member_add(BC_MEMBER_FILE, &file->member, &member_calls);
    return code;
}

/* Returns the name of a cache's file. */
static const char *cache_file_name(const struct bc_file *file) {
    return file->refused == 0 ? file_name : unlocked_name;
}

int bc__file_create(struct bc_file *file, const char *path, uint64_t capacity,
                    bool evicts, struct bc_error *error) {
    bc_assert(file != NULL && path != NULL);
    if (init_file(file, capacity) != 0) return bc__error_memory(error);
    const char *kind = "directory";
    int code = bc__sys_make_dirs(path);
    if (code == 0) {
        code = bc__sys_make_private_dir(path, dir_prefix, &file->dir_path, &file->dir);
    }
    if (code == 0) {
        kind = "file";
        code = bc__sys_create(file->dir, file_name, unlocked_name, &file->file,
                              &file->refused);
    }
    if (code == 0) {
        size_t size = strlen(file->dir_path) + 1 + sizeof(unlocked_name);
        file->path = bc__malloc(size);
        if (file->path == NULL) {
            code = ENOMEM;
        } else {
            (void)snprintf(file->path, size, "%s/%s", file->dir_path,
                           cache_file_name(file));
        }
    }
    if (code == 0 && evicts) code = bc__page_refs_new(file->file, &file->page_refs);
    if (code == 0) {
        bc__sys_reclaim(path, dir_prefix, file_name);
        return 0;
    }
    bc__file_finish(file);
    return bc__error_set(error, code, "Failed to create cache %s: %s: '%s'", kind,
                         bc__error_message(code), path);
}

/* Sets the error message for a failed creation of a recording. */
static int creation_error(int code, const char *path, struct bc_error *error) {
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
    if (init_file(file, BC_BYTES_DEFAULT) != 0) return bc__error_memory(error);
    file->publishes_last = true;
    file->is_locked = true;
    atomic_init(&file->is_public, true);
    file->durable = durable;
    file->needs_lock = needs_lock;
    file->path = bc__strdup(path);
    int code = file->path == NULL ? ENOMEM : 0;
    if (code == 0) code = bc__naming_init(&file->naming, path);
    /* A forked child with an unregistered descriptor would keep the file locked. */
    bc__process_block_forks();
    if (code == 0) code = bc__naming_create(&file->naming, needs_lock, &file->file);
    bc__process_allow_forks();
    if (code == 0) return 0;
    bc__file_finish(file);
    return creation_error(code, path, error);
}

static void release_storage(struct bc_storage *storage) {
    bc__assert_no_lock();
    if (storage->release != NULL) storage->release(storage->context);
    storage->release = NULL;
}

/* Initialises all members of an opened file but its descriptor and its size. */
static int init_opened_file(struct bc_file *file, const char *path) {
    int code = init_file(file, BC_BYTES_DEFAULT);
    if (code != 0) return code;
    atomic_init(&file->is_public, true);
    file->path = bc__strdup(path);
    if (file->path != NULL) return 0;
    bc__file_finish(file);
    return ENOMEM;
}

int bc__file_adopt(struct bc_file *file, int descriptor, const char *path, int64_t size) {
    bc_assert(file != NULL && descriptor >= 0 && path != NULL && size >= 0);
    int code = init_opened_file(file, path);
    if (code != 0) {
        bc__sys_close(descriptor);
        return code;
    }
    file->file = descriptor;
    atomic_init(&file->size, size);
    atomic_init(&file->written, size);
    return 0;
}

int bc__file_adopt_storage(struct bc_file *file, const struct bc_storage *storage,
                           const char *path) {
    bc_assert(file != NULL && path != NULL && storage->read != NULL);
    int code = init_opened_file(file, path);
    if (code != 0) return code;
    file->storage = *storage;
    atomic_init(&file->size, storage->size);
    atomic_init(&file->written, storage->size);
    return 0;
}

int bc__file_adopt_locked(struct bc_file *file, const char *path, bc_file_opener *open) {
    bc_assert(file != NULL && path != NULL && open != NULL);
    int code = init_opened_file(file, path);
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
        /* A file that replaced another one stays: the other one is gone. */
        if (code != 0 && !replaces) bc__naming_unlink(naming, file->file);
    }
    if (code != 0) return creation_error(code, file->path, error);
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

void bc__file_abort(struct bc_file *file) {
    if (!file->publishes_last || bc__file_is_forked(file)) return;
    bc__mutex_lock(&file->lock);
    if (atomic_load_explicit(&file->broken, memory_order_relaxed) == 0) {
        atomic_store_explicit(&file->broken, ECANCELED, memory_order_relaxed);
    }
    bc__sys_unlock(file->file);
    bc__mutex_unlock(&file->lock);
}

bool bc__file_unlink(struct bc_file *file) {
    if (file->dir < 0 || bc__file_is_forked(file)) return true;
    if (file->file >= 0)
        (void)bc__sys_remove(file->dir, cache_file_name(file), file->file);
    return bc__sys_remove_dir(file->dir_path) == 0;
}

void bc__file_remove(struct bc_file *file) {
    bc_assert(file != NULL);
    /* Removes a recording without a name. */
    if (!bc__file_is_forked(file)) bc__naming_finish(&file->naming, file->file);
    bc__page_refs_close(file->page_refs);
    bc__mutex_lock(&file->lock);
    bc__region_unref(file->block);
    file->block = NULL;
    file->collected = 0;
    bool is_removed = bc__file_unlink(file);
    /* Unlock explicitly: a mapping may keep the open file, and with it the lock. */
    bool unlocks = file->is_locked && !bc__file_is_forked(file);
    if (unlocks && file->file >= 0) bc__sys_unlock(file->file);
    if (file->file >= 0) bc__sys_close(file->file);
    if (file->dir >= 0) bc__sys_close(file->dir);
    /* FUSE and NFS keep an open file in its directory, under another name. */
    if (!is_removed) (void)bc__sys_remove_dir(file->dir_path);
    file->file = -1;
    file->dir = -1;
    bc__mutex_unlock(&file->lock);
    /* Last: until the file is closed, a forked child must know of it. */
    bc__member_remove(BC_MEMBER_FILE, &file->member);
    /* In a fork's child, the context belongs to the parent. */
    if (!bc__file_is_forked(file)) release_storage(&file->storage);
}

void bc__file_finish(struct bc_file *file) {
    bc__file_remove(file);
    bc__free(file->dir_path);
    bc__free(file->path);
    bc__page_refs_unref(file->page_refs);
    bc__mutex_finish(&file->lock);
}
