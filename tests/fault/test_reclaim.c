/* What dead processes left of their caches is taken back, at a cost that does not grow
 * with the directory. */
#include <sys/wait.h>

#include "base/fault.h"
#include "place.h"

enum { CACHES = 60, ALWAYS = 8 };

static void count(void *context, enum bc_fault_moment moment, int file) {
    (void)moment;
    (void)file;
    ++*(int *)context;
}

struct maker {
    const struct place *place;
    struct fixture fixtures[CACHES + 4];
    struct bc_cache *caches[CACHES + 4];
    int n;
};

/* System calls that making one more took. */
static int make(struct maker *maker) {
    int calls = 0;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = maker->place->caches;
    fixture_init(&maker->fixtures[maker->n], 1, 5);
    bc__fault_watch(count, &calls);
    maker->caches[maker->n] = fixture_cache(&maker->fixtures[maker->n], &options);
    bc__fault_watch(NULL, NULL);
    maker->n++;
    return calls;
}

/* As a process that died leaves it. */
static void leave(const struct place *place, char *out_dir, size_t size) {
    char file[PLACE_PATH];
    (void)snprintf(out_dir, size, "%s/batchcorder-0123456789abcdef", place->caches);
    (void)snprintf(file, sizeof(file), "%s/cache.arrow", out_dir);
    CHECK(mkdir(out_dir, 0700) == 0);
    place_write(file, "left", 4);
}

/* A child of a fork looks for itself, whenever its parent looked. */
static void make_in_child(struct maker *maker) {
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)make(maker);
        bc_cache_unref(maker->caches[maker->n - 1]);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void test_large_directories(void) {
    static struct maker maker;
    struct place place;
    char left[PLACE_PATH];
    place_init(&place);
    maker.place = &place;
    bc__fault_clock(1000);
    int first = make(&maker);
    for (int i = 1; i < ALWAYS; i++) (void)make(&maker);
    /* Few are looked at each time. */
    leave(&place, left, sizeof(left));
    (void)make(&maker);
    CHECK(!place_has(left));
    /* Many are not. */
    while (maker.n < CACHES) (void)make(&maker);
    CHECK(make(&maker) <= first + 2);
    leave(&place, left, sizeof(left));
    (void)make(&maker);
    CHECK(place_has(left));
    make_in_child(&maker);
    CHECK(!place_has(left));
    leave(&place, left, sizeof(left));
    bc__fault_clock(3000);
    (void)make(&maker);
    CHECK(!place_has(left));
    bc__fault_clock(-1);
    for (int i = 0; i < maker.n; i++) {
        bc_cache_unref(maker.caches[i]);
        fixture_check_released(&maker.fixtures[i]);
    }
    CHECK(place_count(place.caches) == 0);
    place_finish(&place);
}

/* Pipes, directories and links of the file's name are left alone, and make nothing wait.
 */
static void test_names_that_are_no_files(void) {
    static struct maker maker;
    struct place place;
    place_init(&place);
    maker.place = &place;
    for (int i = 0; i < 3; i++) {
        char dir[PLACE_PATH];
        char file[PLACE_PATH + 20];
        (void)snprintf(dir, sizeof(dir), "%s/batchcorder-%016x", place.caches, i);
        (void)snprintf(file, sizeof(file), "%s/cache.arrow", dir);
        CHECK(mkdir(dir, 0700) == 0);
        CHECK((i == 0   ? mkfifo(file, 0600)
               : i == 1 ? mkdir(file, 0700)
                        : symlink(place.other, file)) == 0);
    }
    (void)make(&maker);
    bc_cache_unref(maker.caches[0]);
    CHECK(place_count(place.caches) == 3);
    place_finish(&place);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_large_directories),
        TAP_CASE(test_names_that_are_no_files),
    };
    return TAP_RUN(cases);
}
