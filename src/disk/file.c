#include "disk/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

static const char file_name[] = "cache.arrow";
static const char dir_prefix[] = "batchcorder-";

int bc__file_create(struct bc_file *file, const char *path, uint64_t bytes_max,
                    struct bc_error *error) {
    bc_assert(file != NULL && path != NULL);
    memset(file, 0, sizeof(*file));
    file->dir = -1;
    file->file = -1;
    file->limit = bytes_max;
    file->process = bc__sys_process();
    const char *what = "directory";
    int code = bc__sys_make_dirs(path);
    if (code == 0) {
        code = bc__sys_make_private_dir(path, dir_prefix, &file->dir_path, &file->dir);
    }
    if (code == 0) {
        what = "file";
        code = bc__sys_create(file->dir, file_name, &file->file);
    }
    if (code == 0) {
        size_t size = strlen(file->dir_path) + 1 + sizeof(file_name);
        file->path = bc__malloc(size);
        if (file->path == NULL) {
            code = ENOMEM;
        } else {
            (void)snprintf(file->path, size, "%s/%s", file->dir_path, file_name);
        }
    }
    if (code == 0) {
        bc__sys_reclaim(path, dir_prefix, file_name);
        return 0;
    }
    bc__file_finish(file);
    return bc__error_set(error, code, "Failed to create cache %s: %s: '%s'", what,
                         strerror(code), path);
}

int bc__file_append(struct bc_file *file, const struct bc_piece *pieces, size_t n_pieces,
                    int64_t size, int64_t *out_offset, struct bc_error *error) {
    bc_assert(file->file >= 0 && size > 0);
    int64_t end = atomic_load_explicit(&file->size, memory_order_relaxed);
    if ((uint64_t)size > file->limit || (uint64_t)end > file->limit - (uint64_t)size) {
        return bc__error_set(
            error, ENOMEM,
            "Disk cache capacity (%llu bytes) exceeded: %lld bytes already "
            "written, cannot fit %lld more bytes",
            (unsigned long long)file->limit, (long long)end, (long long)size);
    }
    int code = bc__sys_write(file->file, pieces, n_pieces, end);
    if (code != 0) {
        /* No torn message at the end, for others who read the file meanwhile. */
        (void)bc__sys_truncate(file->file, end);
        return bc__error_set(error, code, "Disk write failed: %s", strerror(code));
    }
    atomic_store_explicit(&file->size, end + size, memory_order_release);
    *out_offset = end;
    return 0;
}

void bc__file_remove(struct bc_file *file) {
    bc_assert(file != NULL);
    bool owner = file->process == bc__sys_process();
    if (file->file >= 0) {
        if (owner) (void)bc__sys_remove(file->dir, file_name, file->file);
        bc__sys_close(file->file);
    }
    if (file->dir >= 0) {
        bc__sys_close(file->dir);
        if (owner) (void)bc__sys_remove_dir(file->dir_path);
    }
    file->file = -1;
    file->dir = -1;
}

void bc__file_finish(struct bc_file *file) {
    bc__file_remove(file);
    bc__free(file->dir_path);
    bc__free(file->path);
    file->dir_path = NULL;
    file->path = NULL;
}
