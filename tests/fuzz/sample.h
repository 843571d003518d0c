/* Recordings to damage: of all types, whose batches and dictionaries are small. */
#ifndef BC_TESTS_FUZZ_SAMPLE_H
#define BC_TESTS_FUZZ_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

enum { SAMPLES = 7 };

/* A complete recording, for the caller to free. */
uint8_t *fuzz_sample(int number, size_t *out_size);

#endif
