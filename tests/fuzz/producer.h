/* A hostile producer: streams of the C data interface, made of any bytes.
 *
 * The interface gives no size of a buffer. Each buffer is therefore an allocation of
 * exactly the bytes for its array's format, length, offset and last offset. A checker can
 * detect each lie: in offsets, ids, views, counts, formats, null counts, numbers of
 * children and missing pointers. */
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

/* Makes a stream that draws from `choices`. The caller releases the stream and each of
 * its results once. `*out_alive` counts the objects that are not released yet. */
void fuzz_producer(struct choices *choices, struct ArrowArrayStream *out_stream,
                   int64_t *out_alive);

#endif
