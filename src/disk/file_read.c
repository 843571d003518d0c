/* Reads of a file's bytes: by its descriptor, or by the functions of its storage. */
#include <errno.h>

#include "base/check.h"
#include "base/error.h"
#include "disk/file.h"

int bc__file_size(const struct bc_file *file, int64_t *out_size) {
    if (!bc__file_has_storage(file)) return bc__sys_size(file->file, out_size);
    *out_size = file->storage.size;
    return 0;
}

bool bc__file_is_whole(const struct bc_file *file, int64_t offset, int64_t end) {
    if (bc__file_has_storage(file)) return true;
    size_t size = (size_t)(end - offset);
    return bc__sys_bytes_before_hole(file->file, offset, size) == size;
}

/* Returns the errno of a storage. Above, some errnos have a meaning of this library. */
static int storage_code(int code) {
    code = bc__error_of_callback(code);
    bool is_the_callers = code == EINTR || code == ECANCELED;
    return is_the_callers || bc__error_of_system(code) == code ? code : EIO;
}

int bc__file_read_ranges(const struct bc_file *file, const struct bc_range *ranges,
                         void *const *buffers, size_t n, struct bc_error *error) {
    bc_assert(bc__file_has_storage(file) && n > 0);
    bc__assert_no_lock();
    if (bc__file_is_forked(file)) {
        return bc__error_set_kind(error, BC_ERROR_FORKED, ECANCELED,
                                  "The file was opened before a fork: open it again in "
                                  "the child: '%s'",
                                  file->path);
    }
    const struct bc_storage *storage = &file->storage;
    struct bc_error failure = {0};
    if (error != NULL) error->code = 0;
    int code = storage->read(storage->context, ranges, buffers, n, &failure);
    if (code == 0) return 0;
    code = storage_code(code);
    failure.message[sizeof(failure.message) - 1] = '\0';
    if (failure.message[0] != '\0')
        return bc__error_set(error, code, "%s", failure.message);
    return bc__error_set(error, code, "Failed to read: %s: '%s'", bc__error_message(code),
                         file->path);
}

int bc__file_read(const struct bc_file *file, void *bytes, size_t size, int64_t offset,
                  size_t *out_size, struct bc_error *error) {
    if (!bc__file_has_storage(file)) {
        return bc__sys_read(file->file, bytes, size, offset, out_size);
    }
    bc_assert(offset >= 0);
    *out_size = 0;
    if (error != NULL) error->code = 0;
    if (offset >= file->storage.size) return 0;
    int64_t left = file->storage.size - offset;
    if ((uint64_t)left < size) size = (size_t)left;
    const struct bc_range range = {offset, (int64_t)size};
    int code = size == 0 ? 0 : bc__file_read_ranges(file, &range, &bytes, 1, error);
    if (code == 0) *out_size = size;
    return code;
}

int bc__file_read_ahead(const struct bc_file *file, const struct bc_range *ranges,
                        size_t n) {
    bc__assert_no_lock();
    const struct bc_storage *storage = &file->storage;
    return storage->ahead == NULL ? ENOBUFS : storage->ahead(storage->context, ranges, n);
}

bool bc__file_distrust(const struct bc_file *file) {
    const struct bc_storage *storage = &file->storage;
    if (storage->distrust == NULL || bc__file_is_forked(file)) return false;
    bc__assert_no_lock();
    storage->distrust(storage->context);
    return true;
}
