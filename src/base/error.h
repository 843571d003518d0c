/* Errors. A function returns an errno, and writes the message into the caller's struct
 * bc_error. */
#ifndef BC_BASE_ERROR_H
#define BC_BASE_ERROR_H

#include <errno.h>

#include "batchcorder/batchcorder.h"

/* Fills `error` and returns `code`, so that a caller can `return bc__error_set(error,
 * EINVAL, ...)`. The kind follows from `code`. An errno that bc__error_of_system marked
 * becomes EIO. `error`: may be NULL. */
__attribute__((format(printf, 3, 4))) int bc__error_set(struct bc_error *error, int code,
                                                        const char *format, ...);

/* Like bc__error_set(), with a kind that does not follow from the errno. `code` has no
 * mark of bc__error_of_system. */
__attribute__((format(printf, 4, 5))) int bc__error_set_kind(struct bc_error *error,
                                                             enum bc_error_kind kind,
                                                             int code, const char *format,
                                                             ...);

/* The mark of an errno from the system. Above src/base some errnos have a meaning of this
 * library: EINVAL is invalid data, ENOTSUP unsupported data, EAGAIN not yet. If the
 * system returns such an errno, src/base returns the errno plus this mark. */
enum { BC_SYSTEM_ERROR = 1 << 16 };
/* Marks an errno of the system if it has a meaning of this library. 0 stays 0. */
int bc__error_of_system(int code);
/* Returns the errno that a callback of the caller returned, or EIO if it is no errno. */
int bc__error_of_callback(int code);
/* Returns the system's message for an errno, with or without the mark. */
const char *bc__error_message(int code);

/* Appends formatted text to the text in `out`. If the text is too long, it is cut between
 * two UTF-8 characters. `size`: the capacity of `out`; bytes. */
__attribute__((format(printf, 3, 4))) void bc__text_append(char *out, size_t size,
                                                           const char *format, ...);
/* Drops an incomplete UTF-8 character at the end of `text`. */
void bc__text_end(char *text);

/* Copies the message and kind of `from` into `error`, with `code`. Returns `code`.
 * `error`: may be NULL. */
int bc__error_copy(struct bc_error *error, int code, const struct bc_error *from);

/* Sets and returns ENOMEM. Allocates nothing. */
int bc__error_memory(struct bc_error *error);

/* Sets and returns EINVAL: the cache is closed. */
int bc__error_closed(struct bc_error *error);

/* Reads a caller's options into `known`, which holds the defaults. If the caller is older
 * than a member, the member keeps its default. `options`: NULL means the defaults.
 * E2BIG: a newer caller has set a member that this library does not know.
 * EINVAL: the struct_size was never set. */
#define BC_READ_OPTIONS(known, options, error) \
    bc__struct_read((known), sizeof(*(known)), (options), (error))
int bc__struct_read(void *known, size_t size, const void *given, struct bc_error *error);
/* EINVAL: the struct_size was never set. */
int bc__struct_check_size(size_t size, struct bc_error *error);
/* Copies `known` to `out`, but no more than `out_size` bytes: an older caller's struct is
 * shorter. A newer caller's struct is longer, and its unknown members become zero. */
void bc__struct_write(void *out, size_t out_size, const void *known, size_t size);

#endif
