/* A hostile producer: streams of the C data interface, made of any bytes.
 *
 * The interface says nothing of the size of a buffer. So each buffer is an allocation of
 * exactly the bytes that its array's format, length, offset and last offset ask for, and
 * the lies are those that a checker can see: offsets, ids, views, counts, formats, null
 * counts, numbers of children, pointers that are missing. */
#ifndef BC_TESTS_FUZZ_PRODUCER_H
#define BC_TESTS_FUZZ_PRODUCER_H

#include <stddef.h>
#include <stdint.h>

#include "batchcorder/batchcorder.h"

/* The bytes of the input; zeros after its end. */
struct choices {
    const uint8_t *bytes;
    size_t size;
};

uint8_t fuzz_choose(struct choices *choices);
/* Returns a choice from 0 to `n` - 1. */
int64_t fuzz_below(struct choices *choices, int64_t n);

/* Makes a stream, which draws from `choices` as it is asked. Everything that it gives
 * must be released once; `*out_alive` counts what is not yet, the stream included. */
void fuzz_producer(struct choices *choices, struct ArrowArrayStream *out_stream,
                   int64_t *out_alive);

#endif
