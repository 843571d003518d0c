/* Opens a file of any bytes and reads it in each way. */
#ifndef BC_TESTS_FUZZ_READ_H
#define BC_TESTS_FUZZ_READ_H

#include <stddef.h>
#include <stdint.h>

/* Opens it mapped and copied, whole and partial, with and without looking at what the
 * batches hold; reads all columns, one, and none; resumes it. */
void fuzz_read(const uint8_t *bytes, size_t size);

#endif
