#include "arrow/schema.h"
#include "counting_source.h"

static void release(struct ArrowSchema *schema) { schema->release = NULL; }

/* Imports a schema of nested static structs. */
static int make(struct ArrowSchema *root, struct bc_schema **out,
                struct bc_error *error) {
    return bc__schema_new(root, out, error);
}

static void test_breadth_first(void) {
    struct ArrowSchema a = {.format = "l", .name = "a", .release = release};
    struct ArrowSchema b = {.format = "u", .name = "b", .release = release};
    struct ArrowSchema *inner[] = {&a, &b};
    struct ArrowSchema pair = {.format = "+s",
                               .name = "pair",
                               .n_children = 2,
                               .children = inner,
                               .release = release};
    struct ArrowSchema last = {.format = "b", .name = "last", .release = release};
    struct ArrowSchema *columns[] = {&pair, &last};
    struct ArrowSchema root = {
        .format = "+s", .n_children = 2, .children = columns, .release = release};
    struct bc_schema *schema;
    CHECK(make(&root, &schema, NULL) == 0);
    CHECK(schema->n_fields == 5);
    CHECK(schema->fields[0].first_child == 1 && schema->fields[1].first_child == 3);
    CHECK(schema->fields[2].kind == BC_LAYOUT_FIXED && schema->fields[2].bits == 1);
    CHECK(schema->fields[4].kind == BC_LAYOUT_BINARY && schema->fields[4].parent == 1);
    char path[32];
    bc__schema_field_path(schema, 4, path, sizeof(path));
    CHECK(strcmp(path, "pair.b") == 0);
    bc__schema_free(schema);
}

static void test_dictionary_is_a_field(void) {
    struct ArrowSchema values = {.format = "u", .release = release};
    struct ArrowSchema column = {
        .format = "i", .name = "d", .dictionary = &values, .release = release};
    struct ArrowSchema *columns[] = {&column};
    struct ArrowSchema root = {
        .format = "+s", .n_children = 1, .children = columns, .release = release};
    struct bc_schema *schema;
    CHECK(make(&root, &schema, NULL) == 0);
    CHECK(schema->n_fields == 3 && schema->fields[1].dictionary == 2);
    bc__schema_free(schema);
}

static void refuse(const char *format, int64_t n_children) {
    struct ArrowSchema child = {.format = "l", .name = "c", .release = release};
    struct ArrowSchema *children[] = {&child, &child};
    struct ArrowSchema column = {.format = format,
                                 .name = "odd",
                                 .n_children = n_children,
                                 .children = children,
                                 .release = release};
    struct ArrowSchema *columns[] = {&column};
    struct ArrowSchema root = {
        .format = "+s", .n_children = 1, .children = columns, .release = release};
    struct bc_schema *schema = NULL;
    struct bc_error error = {0};
    CHECK(make(&root, &schema, &error) == EINVAL && schema == NULL);
    CHECK(strstr(error.message, "odd") != NULL);
}

static void test_invalid_types_are_named(void) {
    refuse("", 0);
    refuse("nonsense", 0);
    refuse("w:-1", 0);
    refuse("+us:0,0", 2);
    refuse("+us:0,128", 2);
    refuse("+us:0", 2);
    refuse("+us:0,1,2", 2);
    refuse("+ud:0,-1", 2);
    refuse("+l", 2);
}

static void test_run_ends_are_integers(void) {
    static const char *const formats[] = {"n", "b", "c", "S", "u", "g", "w:8"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct ArrowSchema ends = {
            .format = formats[i], .name = "run_ends", .release = release};
        struct ArrowSchema values = {.format = "l", .name = "values", .release = release};
        struct ArrowSchema *children[] = {&ends, &values};
        struct ArrowSchema column = {.format = "+r",
                                     .name = "runs",
                                     .n_children = 2,
                                     .children = children,
                                     .release = release};
        struct ArrowSchema *columns[] = {&column};
        struct ArrowSchema root = {
            .format = "+s", .n_children = 1, .children = columns, .release = release};
        struct bc_schema *schema = NULL;
        struct bc_error error = {0};
        CHECK(make(&root, &schema, &error) == EINVAL && schema == NULL);
        CHECK(strstr(error.message, "runs") != NULL);
    }
}

static void test_not_a_struct(void) {
    struct ArrowSchema root = {.format = "l", .release = release};
    struct bc_schema *schema = NULL;
    CHECK(make(&root, &schema, NULL) == EINVAL && schema == NULL);
    root.format = "+s";
    root.n_children = 1; /* and no children */
    struct ArrowSchema *none[] = {NULL};
    root.children = none;
    CHECK(make(&root, &schema, NULL) == EINVAL && schema == NULL);
    root.children = NULL;
    CHECK(make(&root, &schema, NULL) == EINVAL && schema == NULL);
    root.release = NULL;
    CHECK(make(&root, &schema, NULL) == EINVAL && schema == NULL);
}

static void test_depth_is_bounded(void) {
    enum { DEPTH = 200 };
    static struct ArrowSchema levels[DEPTH];
    static struct ArrowSchema *below[DEPTH];
    for (int i = 0; i < DEPTH; i++) {
        levels[i] = (struct ArrowSchema){.format = "+s", .name = "n", .release = release};
        if (i + 1 == DEPTH) break;
        below[i] = &levels[i + 1];
        levels[i].n_children = 1;
        levels[i].children = &below[i];
    }
    struct bc_schema *schema = NULL;
    CHECK(make(&levels[0], &schema, NULL) == EINVAL && schema == NULL);
    CHECK(make(&levels[DEPTH - 100], &schema, NULL) == 0);
    bc__schema_free(schema);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_breadth_first),
                                            TAP_CASE(test_dictionary_is_a_field),
                                            TAP_CASE(test_invalid_types_are_named),
                                            TAP_CASE(test_run_ends_are_integers),
                                            TAP_CASE(test_not_a_struct),
                                            TAP_CASE(test_depth_is_bounded)};
    return TAP_RUN(cases);
}
