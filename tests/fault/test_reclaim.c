/* A new cache removes the files of dead processes. The cost does not grow with the
 * directory. */
#include <sys/wait.h>

#include "base/fault.h"
#include "recording_dir.h"

enum { CACHES = 60, ALWAYS = 8 };

static void count(void *context, enum bc_fault_moment moment, int file) {
    (void)moment;
    (void)file;
    ++*(int *)context;
}

struct maker {
    const struct recording_dir *dir;
    struct counting_source sources[CACHES + 4];
    struct bc_cache *caches[CACHES + 4];
    int n;
};

/* Returns how many system calls it took to create one more cache. */
static int make(struct maker *maker) {
    int calls = 0;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = maker->dir->caches;
    counting_source_init(&maker->sources[maker->n], 1, 5);
    bc__fault_watch(count, &calls);
    maker->caches[maker->n] = counting_source_cache(&maker->sources[maker->n], &options);
    bc__fault_watch(NULL, NULL);
    maker->n++;
    return calls;
}

/* Creates the directory that a killed process leaves. */
static void leave(const struct recording_dir *dir, char *out_dir, size_t size) {
    char file[PATH_SIZE];
    (void)snprintf(out_dir, size, "%s/batchcorder-0123456789abcdef", dir->caches);
    (void)snprintf(file, sizeof(file), "%s/cache.arrow", out_dir);
    CHECK(mkdir(out_dir, 0700) == 0);
    file_write(file, "left", 4);
}

/* A fork's child looks again, whenever its parent did. */
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
    struct recording_dir dir;
    char left[PATH_SIZE];
    recording_dir_init(&dir);
    maker.dir = &dir;
    bc__fault_clock(1000);
    int first = make(&maker);
    for (int i = 1; i < ALWAYS; i++) (void)make(&maker);
    /* Each cache looks at a few directories. */
    leave(&dir, left, sizeof(left));
    (void)make(&maker);
    CHECK(!file_exists(left));
    /* Each cache does not look at many. */
    while (maker.n < CACHES) (void)make(&maker);
    CHECK(make(&maker) <= first + 2);
    leave(&dir, left, sizeof(left));
    (void)make(&maker);
    CHECK(file_exists(left));
    make_in_child(&maker);
    CHECK(!file_exists(left));
    leave(&dir, left, sizeof(left));
    bc__fault_clock(3000);
    (void)make(&maker);
    CHECK(!file_exists(left));
    bc__fault_clock(-1);
    for (int i = 0; i < maker.n; i++) {
        bc_cache_unref(maker.caches[i]);
        counting_source_check_released(&maker.sources[i]);
    }
    CHECK(directory_count(dir.caches) == 0);
    recording_dir_finish(&dir);
}

/* Pipes, directories and links with the name of a cache file stay, and block no call. */
static void test_names_that_are_no_files(void) {
    static struct maker maker;
    struct recording_dir dir;
    recording_dir_init(&dir);
    maker.dir = &dir;
    for (int i = 0; i < 3; i++) {
        char hidden[PATH_SIZE];
        char file[PATH_SIZE + 20];
        (void)snprintf(hidden, sizeof(hidden), "%s/batchcorder-%016x", dir.caches, i);
        (void)snprintf(file, sizeof(file), "%s/cache.arrow", hidden);
        CHECK(mkdir(hidden, 0700) == 0);
        CHECK((i == 0   ? mkfifo(file, 0600)
               : i == 1 ? mkdir(file, 0700)
                        : symlink(dir.other, file)) == 0);
    }
    (void)make(&maker);
    bc_cache_unref(maker.caches[0]);
    CHECK(directory_count(dir.caches) == 3);
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_large_directories),
        TAP_CASE(test_names_that_are_no_files),
    };
    return TAP_RUN(cases);
}
