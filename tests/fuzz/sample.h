/* Recordings to damage: of all types, with small batches and dictionaries. */
#ifndef BC_TESTS_FUZZ_SAMPLE_H
#define BC_TESTS_FUZZ_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

enum { SAMPLES = 7 };

/* Returns a complete recording, freed by the caller. */
uint8_t *fuzz_sample(int number, size_t *out_size);

#endif
