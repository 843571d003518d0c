#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"

int bc__error_set(struct bc_error *error, int code, const char *format, ...) {
    bc_assert(code != 0);
    bc_assert(format != NULL);
    if (error == NULL) return code;
    error->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    return code;
}

int bc__error_memory(struct bc_error *error) {
    return bc__error_set(error, ENOMEM, "Out of memory");
}
