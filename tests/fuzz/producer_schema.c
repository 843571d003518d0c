#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consume.h"
#include "producer_plan.h"

uint8_t fuzz_choose(struct choices *choices) {
    if (choices->size == 0) return 0;
    choices->size--;
    return *choices->bytes++;
}

int64_t fuzz_below(struct choices *choices, int64_t n) {
    FUZZ_CHECK(n > 0);
    int64_t value = fuzz_choose(choices);
    if (n > 256) value = value << 8 | fuzz_choose(choices);
    return value % n;
}

bool fuzz_lies(struct choices *choices) { return fuzz_choose(choices) % 16 == 15; }

int64_t fuzz_number(struct choices *choices) {
    static const int64_t numbers[] = {-1,
                                      0,
                                      1,
                                      2,
                                      7,
                                      8,
                                      9,
                                      63,
                                      64,
                                      255,
                                      4096,
                                      INT32_MAX,
                                      INT32_MIN,
                                      INT64_MAX,
                                      INT64_MIN,
                                      INT64_MAX / 4096,
                                      INT64_MAX / 4096 + 1,
                                      100000,
                                      -2,
                                      -3};
    enum { N = sizeof(numbers) / sizeof(numbers[0]) };
    return numbers[fuzz_below(choices, N)];
}

/* ---- the plan of a schema ---- */

static const struct kind kinds[] = {
    {"c", FLAT, 8},          {"s", FLAT, 16},        {"i", FLAT, 32},
    {"l", FLAT, 64},         {"b", BITS, 1},         {"w:3", FLAT, 24},
    {"d:38,10", FLAT, 128},  {"tin", FLAT, 128},     {"u", BINARY, 32},
    {"z", BINARY, 32},       {"U", BINARY, 64},      {"Z", BINARY, 64},
    {"vu", VIEWS, 0},        {"vz", VIEWS, 0},       {"n", NOTHING, 0},
    {"+l", LIST, 32},        {"+L", LIST, 64},       {"+m", LIST, 32},
    {"+vl", LIST_VIEW, 32},  {"+vL", LIST_VIEW, 64}, {"+w:2", FIXED_LIST, 2},
    {"+w:0", FIXED_LIST, 0}, {"+s", STRUCT, 0},      {"+us:0,5", SPARSE, 0},
    {"+ud:0,5", DENSE, 0},   {"+r", RUNS, 0}};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), FLAT_KINDS = 15, STRUCT_KIND = 22 };

static int plan_field(struct plan *plan, struct choices *choices, int depth,
                      const struct kind *kind);

/* Plans a field of any kind. Returns -1 if there is no room. */
static int plan_any(struct plan *plan, struct choices *choices, int depth) {
    int64_t n = depth >= DEPTH_MAX ? FLAT_KINDS : KINDS;
    return plan_field(plan, choices, depth, &kinds[fuzz_below(choices, n)]);
}

static int children_of(const struct kind *kind, struct choices *choices) {
    switch (kind->shape) {
        case LIST:
        case LIST_VIEW:
        case FIXED_LIST:
            return 1;
        case STRUCT:
            return (int)fuzz_below(choices, 4);
        case SPARSE:
        case DENSE:
        case RUNS:
            return 2;
        default:
            return 0;
    }
}

static int plan_field(struct plan *plan, struct choices *choices, int depth,
                      const struct kind *kind) {
    if (plan->n + 4 > FIELDS_MAX) kind = &kinds[0];
    if (plan->n == FIELDS_MAX) return FIELDS_MAX - 1;
    int number = plan->n++;
    struct field *field = &plan->fields[number];
    *field = (struct field){.kind = kind, .dictionary = -1};
    field->n_children = children_of(kind, choices);
    for (int c = 0; c < field->n_children; c++) {
        const struct kind *child = NULL;
        if (kind->format[1] == 'm') child = &kinds[STRUCT_KIND];
        if (kind->shape == RUNS && c == 0) child = &kinds[1 + fuzz_below(choices, 3)];
        field->children[c] = child == NULL ? plan_any(plan, choices, depth + 1)
                                           : plan_field(plan, choices, depth + 1, child);
    }
    bool is_index = kind->shape == FLAT && strchr("cSil", kind->format[0]) != NULL;
    if (is_index && fuzz_choose(choices) % 4 == 1 && plan->n + 4 < FIELDS_MAX) {
        field->dictionary = plan_any(plan, choices, depth + 1);
    }
    return number;
}

/* ---- schemas ---- */

void *fuzz_make(struct held *held, size_t size) {
    void *memory = calloc(1, size == 0 ? 1 : size);
    FUZZ_CHECK(memory != NULL && held->n < 16);
    held->allocations[held->n++] = memory;
    return memory;
}

struct held *fuzz_hold(int64_t *alive) {
    struct held *held = calloc(1, sizeof(*held));
    FUZZ_CHECK(held != NULL);
    held->alive = alive;
    (*alive)++;
    return held;
}

void fuzz_let_go(struct held *held) {
    (*held->alive)--;
    for (int i = 0; i < held->n; i++) free(held->allocations[i]);
    free(held);
}

static void release_schema(struct ArrowSchema *schema) {
    FUZZ_CHECK(schema->release == release_schema);
    struct held *held = schema->private_data;
    for (int64_t i = 0; i < held->n_children; i++) {
        struct ArrowSchema *child = schema->children[i];
        if (child != NULL && child->release != NULL) child->release(child);
    }
    if (schema->dictionary != NULL && schema->dictionary->release != NULL) {
        schema->dictionary->release(schema->dictionary);
    }
    schema->release = NULL;
    fuzz_let_go(held);
}

/* A number of a blob of key-value metadata, which is then cut where it lies. */
static const char *make_metadata(struct producer *producer, struct held *held) {
    static const char good[] = "\1\0\0\0\1\0\0\0k\2\0\0\0vv";
    static const char none[] = "\0\0\0\0";
    static const char negative[] = "\xff\xff\xff\xff";
    static const char text[] = "\1\0\0\0\2\0\0\0\xc3\x28\1\0\0\0\x80";
    const char *all[] = {good, none, negative, text};
    const size_t sizes[] = {sizeof(good), sizeof(none), sizeof(negative), sizeof(text)};
    int64_t which = fuzz_below(producer->choices, 4);
    char *blob = fuzz_make(held, sizes[which]);
    memcpy(blob, all[which], sizes[which]);
    return blob;
}

void fuzz_make_schema(struct producer *producer, int number, struct ArrowSchema *out) {
    /* No format of another layout: its buffers would be too small, which no checker can
     * detect. */
    static const char *const formats[] = {
        "", "+", "+w:", "+w:-1", "d:1", "+ud", "tsx:", "w:0", "\xff", "+w:99999999999"};
    struct choices *choices = producer->choices;
    const struct field *field = &producer->plan.fields[number];
    struct held *held = fuzz_hold(producer->alive);
    *out = (struct ArrowSchema){.format = field->kind->format,
                                .flags = ARROW_FLAG_NULLABLE,
                                .private_data = held};
    out->release = release_schema;
    char *name = fuzz_make(held, 8);
    name[0] = (char)('a' + number % 26);
    out->name = name;
    bool lied = fuzz_lies(choices);
    int64_t lie = lied ? fuzz_below(choices, 8) : -1;
    if (lie == 0) out->format = formats[fuzz_below(choices, 10)];
    if (lie == 1) out->flags = fuzz_number(choices);
    if (lie == 2) out->metadata = make_metadata(producer, held);
    if (lie == 3) out->name = fuzz_choose(choices) % 2 == 0 ? NULL : "\xc3\x28";
    out->n_children = field->n_children;
    if (lie == 4 && out->n_children > 0) out->n_children--;
    if (lie == 5) out->format = NULL;
    if (field->n_children > 0) {
        out->children = fuzz_make(held, (size_t)field->n_children * sizeof(void *));
    }
    held->n_children = out->n_children;
    for (int64_t c = 0; c < out->n_children; c++) {
        if (lie == 6 && c == 0) continue;
        out->children[c] = fuzz_make(held, sizeof(struct ArrowSchema));
        fuzz_make_schema(producer, field->children[c], out->children[c]);
    }
    if (field->dictionary >= 0) {
        out->dictionary = fuzz_make(held, sizeof(struct ArrowSchema));
        fuzz_make_schema(producer, field->dictionary, out->dictionary);
    }
    if (lie == 7) out->n_children = -1;
}

void fuzz_plan(struct plan *plan, struct choices *choices) {
    (void)plan_field(plan, choices, 0, &kinds[STRUCT_KIND]);
}
