/* The version of the library. */
#include "batchcorder/batchcorder.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

const char *bc_version(void) {
    return TEXT(BC_VERSION_MAJOR) "." TEXT(BC_VERSION_MINOR) "." TEXT(BC_VERSION_PATCH);
}
