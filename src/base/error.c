#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

void bc__text_end(char *text) {
    size_t end = strlen(text);
    size_t start = end;
    while (start > 0 && end - start < 3 &&
           ((unsigned char)text[start - 1] & 0xC0) == 0x80) {
        start--;
    }
    if (start == 0) return;
    unsigned char first = (unsigned char)text[start - 1];
    size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    if (end - (start - 1) < wanted) text[start - 1] = '\0';
}

/* Returns the kind that follows from an errno. A marked errno is of the system. */
static enum bc_error_kind kind_of_errno(int code) {
    switch (code) {
        case EINVAL:
        case E2BIG:
            return BC_ERROR_INVALID;
        case ENOMEM:
            return BC_ERROR_NO_MEMORY;
        case EBADMSG:
            return BC_ERROR_CORRUPT;
        case ENODATA:
            return BC_ERROR_INCOMPLETE;
        case ENOTSUP:
            return BC_ERROR_UNSUPPORTED;
        case EOWNERDEAD:
            return BC_ERROR_WRITER_DIED;
        case ENOLCK:
            return BC_ERROR_NO_LOCK;
        case ECANCELED:
            return BC_ERROR_CANCELLED;
        case EDEADLK:
            return BC_ERROR_DEADLOCK;
        case EEXIST:
            return BC_ERROR_EXISTS;
        case EBUSY:
            return BC_ERROR_BUSY;
        default:
            return BC_ERROR_SYSTEM;
    }
}

static void fill_error(struct bc_error *error, enum bc_error_kind kind, int code,
                       const char *format, va_list args) {
    memset(error, 0, offsetof(struct bc_error, message));
    error->code = code;
    error->kind = (int32_t)kind;
    int needed = vsnprintf(error->message, sizeof(error->message), format, args);
    if (needed >= (int)sizeof(error->message)) bc__text_end(error->message);
}

int bc__error_set(struct bc_error *error, int code, const char *format, ...) {
    bc_assert(code != 0 && format != NULL);
    enum bc_error_kind kind = kind_of_errno(code);
    if (code >= BC_SYSTEM_ERROR) code = EIO;
    if (error == NULL) return code;
    va_list args;
    va_start(args, format);
    fill_error(error, kind, code, format, args);
    va_end(args);
    return code;
}

int bc__error_set_kind(struct bc_error *error, enum bc_error_kind kind, int code,
                       const char *format, ...) {
    bc_assert(code != 0 && code < BC_SYSTEM_ERROR && format != NULL);
    if (error == NULL) return code;
    va_list args;
    va_start(args, format);
    fill_error(error, kind, code, format, args);
    va_end(args);
    return code;
}

int bc__error_copy(struct bc_error *error, int code, const struct bc_error *from) {
    if (error == NULL) return code;
    *error = *from;
    error->code = code;
    return code;
}

void bc__text_append(char *out, size_t size, const char *format, ...) {
    size_t used = strlen(out);
    bc_assert(used < size);
    va_list args;
    va_start(args, format);
    int needed = vsnprintf(out + used, size - used, format, args);
    va_end(args);
    if (needed < 0 || (size_t)needed >= size - used) bc__text_end(out);
}

int bc__error_of_system(int code) {
    switch (code) {
        case EAGAIN:
        case EBADMSG:
        case ECANCELED:
        case EDEADLK:
        case EINVAL:
        case ENODATA:
        case ENOSYS:
        case ENOTSUP:
        case EOWNERDEAD:
            return code + BC_SYSTEM_ERROR;
        default:
            return code;
    }
}

int bc__error_of_callback(int code) {
    return code < 0 || code >= BC_SYSTEM_ERROR ? EIO : code;
}

const char *bc__error_message(int code) {
    return strerror(code >= BC_SYSTEM_ERROR ? code - BC_SYSTEM_ERROR : code);
}

int bc__error_memory(struct bc_error *error) {
    return bc__error_set(error, ENOMEM, "Out of memory");
}

int bc__error_closed(struct bc_error *error) {
    return bc__error_set_kind(error, BC_ERROR_CLOSED, EINVAL, "Dataset has been closed");
}

/* No struct of any version is larger. A larger struct_size was never set. */
enum { STRUCT_SIZE_MAX = 4096 };

int bc__struct_check_size(size_t size, struct bc_error *error) {
    if (size >= sizeof(size) && size <= STRUCT_SIZE_MAX) return 0;
    return bc__error_set(error, EINVAL,
                         "The struct_size is %zu: set it to the struct's size, as an "
                         "initialiser does",
                         size);
}

int bc__struct_read(void *known, size_t size, const void *given, struct bc_error *error) {
    if (given == NULL) return 0;
    size_t given_size;
    memcpy(&given_size, given, sizeof(given_size));
    int code = bc__struct_check_size(given_size, error);
    if (code != 0) return code;
    const char *tail = given;
    for (size_t i = size; i < given_size; i++) {
        if (tail[i] == 0) continue;
        return bc__error_set(error, E2BIG,
                             "The options have a member at byte %zu that version %s of "
                             "the library does not know",
                             i, bc_version());
    }
    memcpy(known, given, given_size < size ? given_size : size);
    return 0;
}

void bc__struct_write(void *out, size_t out_size, const void *known, size_t size) {
    memcpy(out, known, out_size < size ? out_size : size);
    if (out_size <= size || out_size > STRUCT_SIZE_MAX) return;
    memset((char *)out + size, 0, out_size - size);
}
