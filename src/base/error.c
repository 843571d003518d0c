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

int bc__error_set(struct bc_error *error, int code, const char *format, ...) {
    bc_assert(code != 0);
    bc_assert(format != NULL);
    if (code >= BC_SYSTEM_ERROR) code = EIO;
    if (error == NULL) return code;
    error->code = code;
    va_list args;
    va_start(args, format);
    int needed = vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    if (needed >= (int)sizeof(error->message)) bc__text_end(error->message);
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

const char *bc__error_message(int code) {
    return strerror(code >= BC_SYSTEM_ERROR ? code - BC_SYSTEM_ERROR : code);
}

int bc__error_memory(struct bc_error *error) {
    return bc__error_set(error, ENOMEM, "Out of memory");
}

int bc__error_closed(struct bc_error *error) {
    return bc__error_set(error, EINVAL, "Dataset has been closed");
}

int bc__error_struct_size(size_t is, size_t expected, const char *initialiser,
                          struct bc_error *error) {
    if (is == expected) return 0;
    return bc__error_set(error, EINVAL,
                         "The options' struct_size is %zu, expected %zu: use %s", is,
                         expected, initialiser);
}
