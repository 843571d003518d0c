/* Arguments of the constructor, with the errors that the API promises. */
#ifndef BC_EXT_ARGUMENTS_H
#define BC_EXT_ARGUMENTS_H

#include "module.h"

/* Each is 0, or -1 and an exception; `name` is the argument's. */

/* A number of bytes: an int, or a string such as "512MB" or "2GiB". */
int argument_bytes(PyObject *value, const char *name, uint64_t *out_bytes);
/* An unsigned 64-bit number. */
int argument_count(PyObject *value, const char *name, uint64_t *out_count);
/* A path (str, bytes, os.PathLike) as bytes of the file system's encoding, a new object.
 */
int argument_path(PyObject *value, const char *name, PyObject **out_bytes);
/* A str, whatever it says. */
int argument_text(PyObject *value, const char *name);
/* A str. */
int argument_policy(PyObject *value, enum bc_write_policy *out_policy);
/* None, "lz4" or "zstd". */
int argument_compression(PyObject *value, enum bc_compression *out_compression);
int argument_flag(PyObject *value, const char *name, int *out_flag);

#endif
