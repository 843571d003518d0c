/* Opens a file of any bytes and reads it in each way. */
#ifndef BC_TESTS_FUZZ_READ_H
#define BC_TESTS_FUZZ_READ_H

#include <stddef.h>
#include <stdint.h>

/* Opens the file mapped and read into memory, complete and partial, with and without
 * verification. Reads all columns, one and none, and resumes the file. */
void fuzz_read(const uint8_t *bytes, size_t size);

#endif
