/* Errors: functions return an errno, the words go into the caller's struct bc_error. */
#ifndef BC_BASE_ERROR_H
#define BC_BASE_ERROR_H

#include <errno.h>

#include "batchcorder/batchcorder.h"

/* Fills `error` (which may be NULL) and returns `code`, so that a caller can
 * `return bc__error_set(error, EINVAL, ...)`. */
__attribute__((format(printf, 3, 4))) int bc__error_set(struct bc_error *error, int code,
                                                        const char *format, ...);

/* The same with a kind that the errno does not tell. */
__attribute__((format(printf, 4, 5))) int bc__error_set_kind(struct bc_error *error,
                                                             enum bc_error_kind kind,
                                                             int code, const char *format,
                                                             ...);

/* Errnos of the system that mean something of our own above src/base (EINVAL: data that
 * is invalid, ENOTSUP: data that is not supported, EAGAIN: not yet, ...) come out of it
 * as themselves plus this. bc__error_set makes EIO of them. */
enum { BC_SYSTEM_ERROR = 1 << 16 };
/* What src/base returns for an errno of the system, or 0. */
int bc__error_of_system(int code);
/* The system's words for what src/base returned. */
const char *bc__error_message(int code);

/* Formats behind the text in `out`, of `size` bytes in all; what is too long is cut
 * between two characters. */
__attribute__((format(printf, 3, 4))) void bc__text_append(char *out, size_t size,
                                                           const char *format, ...);
/* Drops the character at the end of a text that was cut in its middle, if there is one.
 */
void bc__text_end(char *text);

/* Fills `error` with `code` and the message and kind of another error. Returns `code`. */
int bc__error_copy(struct bc_error *error, int code, const struct bc_error *from);

/* Out of memory: needs no memory to say so. */
int bc__error_memory(struct bc_error *error);

/* The cache is closed: EINVAL. */
int bc__error_closed(struct bc_error *error);

/* Reads a caller's options into `known`, which has the defaults; `options` may be NULL.
 * Members that an older caller does not know keep their defaults. E2BIG: a newer caller
 * has set a member that this library does not know. EINVAL: there is no struct_size. */
#define BC_READ_OPTIONS(known, options, error) \
    bc__struct_read((known), sizeof(*(known)), (options), (error))
int bc__struct_read(void *known, size_t size, const void *given, struct bc_error *error);
/* Writes as much of a struct as the caller's has. */
void bc__struct_write(void *out, size_t out_size, const void *known, size_t size);

#endif
