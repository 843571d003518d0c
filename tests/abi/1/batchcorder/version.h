/** The version of the library, and of its binary interface. */
#ifndef BATCHCORDER_VERSION_H
#define BATCHCORDER_VERSION_H

/** The version of this header. bc_version() returns that of the library in use. */
#define BC_VERSION_MAJOR 0
#define BC_VERSION_MINOR 9
#define BC_VERSION_PATCH 0

/** The same as one number, for comparisons: 0.9.0 is 9000. */
#define BC_VERSION_NUMBER \
    (BC_VERSION_MAJOR * 1000000 + BC_VERSION_MINOR * 1000 + BC_VERSION_PATCH)

/** The binary interface, and the number in the shared library's name (soname).
 *
 * A release that removes a function, or changes the meaning or the place of a member,
 * raises it. A release that adds functions, or members at the end of a struct, keeps it.
 */
#define BC_ABI_VERSION 1

#endif /* BATCHCORDER_VERSION_H */
