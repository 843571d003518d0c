/* The plan of a hostile producer: the schema of its arrays. */
#ifndef BC_TESTS_FUZZ_PRODUCER_PLAN_H
#define BC_TESTS_FUZZ_PRODUCER_PLAN_H

#include <stdbool.h>

#include "producer.h"

enum { DEPTH_MAX = 4, FIELDS_MAX = 24, ROWS_MAX = 40, TEXT_MAX = 2048 };

enum shape {
    FLAT,
    BITS,
    BINARY,
    VIEWS,
    NOTHING,
    LIST,
    LIST_VIEW,
    FIXED_LIST,
    STRUCT,
    SPARSE,
    DENSE,
    RUNS
};

struct kind {
    const char *format;
    enum shape shape;
    int bits; /* of a value, an offset; or the size of a fixed-size list */
};

struct field {
    const struct kind *kind;
    int n_children;
    int children[3];
    int dictionary; /* -1: none */
};

struct plan {
    struct field fields[FIELDS_MAX];
    int n;
};

/* The private data of a release callback. */
struct held {
    int64_t *alive;
    void *allocations[16];
    int n;
    int64_t n_children; /* the true number of children */
};

struct producer {
    struct choices *choices;
    int64_t *alive;
    struct plan plan;
    int64_t batches;
};

/* Returns true for a lie, mostly one in sixteen. */
bool fuzz_lies(struct choices *choices);
/* Returns a number near a limit. */
int64_t fuzz_number(struct choices *choices);

struct held *fuzz_hold(int64_t *alive);
/* Allocates zeros that are freed with `held`. */
void *fuzz_make(struct held *held, size_t size);
void fuzz_let_go(struct held *held);

/* Plans a struct of a few fields of any kinds. */
void fuzz_plan(struct plan *plan, struct choices *choices);
/* Makes the schema of a field and its children. The schema may lie. */
void fuzz_make_schema(struct producer *producer, int number, struct ArrowSchema *out);

#endif
