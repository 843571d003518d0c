/* A consumer that trusts an array as far as the C data interface lets it, and reads all
 * that it reaches. What it should not have been given ends the process. */
#ifndef BC_TESTS_FUZZ_CONSUME_H
#define BC_TESTS_FUZZ_CONSUME_H

#include "batchcorder/batchcorder.h"

/* The array is the schema's: a batch, or a column. */
void fuzz_consume(const struct ArrowSchema *schema, const struct ArrowArray *array);

/* Ends the process where the condition does not hold, in every build. */
#define FUZZ_CHECK(condition) \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *words);

#endif
