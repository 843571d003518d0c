/* A consumer that trusts an array as the C data interface allows. It reads all memory of
 * the array. An invalid array ends the process. */
#ifndef BC_TESTS_FUZZ_CONSUME_H
#define BC_TESTS_FUZZ_CONSUME_H

#include "batchcorder/batchcorder.h"

/* Reads an array of this schema: a batch or a column. */
void fuzz_consume(const struct ArrowSchema *schema, const struct ArrowArray *array);

/* Reads the statistics of a cache, which may fail. */
void fuzz_consume_statistics(struct bc_cache *cache);

/* Ends the process if the condition is false, in every build. */
#define FUZZ_CHECK(condition) \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *words);

#endif
