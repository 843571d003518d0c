/* A file that a writer left is removed, and a new file of the same name is not. Another
 * process saves a recording at each system call of the removal. */
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "disk/disk.h"
#include "recording_dir.h"
#include "sweep.h"

enum { BATCHES = 4, ROWS = 5, LEFT = 2, NEW_ROWS = 3 };

struct moment {
    const struct recording_dir *dir;
    unsigned long calls, nth;
};

static void replace(void *context, enum bc_fault_moment moment, int file) {
    (void)file;
    struct moment *now = context;
    if (moment != BC_MOMENT_CALL || ++now->calls != now->nth) return;
    CHECK(rename(now->dir->other, now->dir->path) == 0);
}

static void leave(const struct recording_dir *dir) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    recording_write(dir->path, source, LEFT);
    counting_source_init(&source, BATCHES, NEW_ROWS);
    recording_write(dir->other, source, UINT64_MAX);
}

static void test_only_what_was_left(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int poverty = 0; poverty < 2; poverty++) {
        bool happened = true;
        for (unsigned long nth = 1; happened; nth = sweep_next(nth)) {
            leave(&dir);
            struct moment moment = {&dir, 0, nth};
            bc__fault_make_poor(poverty);
            bc__fault_watch(replace, &moment);
            int code = bc_file_discard(dir.path, NULL);
            bc__fault_watch(NULL, NULL);
            bc__fault_make_poor(0);
            happened = moment.calls >= nth;
            CHECK(code == (happened ? code : 0));
            CHECK(code == 0 || code == EBUSY || code == EEXIST);
            CHECK(file_exists(dir.path) == happened);
            if (happened) {
                bool complete;
                CHECK(recording_batches(dir.path, NEW_ROWS, false, &complete) == BATCHES);
                CHECK(complete && directory_count(dir.root) == 1);
            }
            directory_clear(dir.root);
            CHECK(happened || nth > 5);
        }
    }
    recording_dir_finish(&dir);
}

/* Checks that the name has a complete file or none, after any failure. */
static void test_faults(void) {
    static const int codes[] = {EIO, ENOLCK, EACCES, EINVAL, EINTR};
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        bool fired = true;
        for (unsigned long nth = 1; fired; nth = sweep_next(nth)) {
            leave(&dir);
            struct bc_error error = {0};
            bc__fault_arm(BC_FAULT_SYS, nth, codes[i]);
            int code = bc_file_discard(dir.path, &error);
            fired = bc__fault_fired(BC_FAULT_SYS);
            bc__fault_arm(BC_FAULT_SYS, 0, 0);
            CHECK(code == error.code && (code == 0 || error.message[0] != '\0'));
            CHECK(fired || code == 0);
            CHECK(file_exists(dir.path) == (code != 0));
            CHECK(directory_count(dir.root) == (code != 0) + 1);
            directory_clear(dir.root);
        }
    }
    recording_dir_finish(&dir);
}

static void test_other_files(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    CHECK(bc_file_discard(dir.path, NULL) == ENOENT);
    file_write(dir.path, "precious", 8);
    CHECK(bc_file_discard(dir.path, NULL) == EINVAL);
    CHECK(file_exists(dir.path) && unlink(dir.path) == 0);
    CHECK(mkfifo(dir.path, 0600) == 0);
    CHECK(bc_file_discard(dir.path, NULL) == ESPIPE);
    CHECK(file_exists(dir.path) && unlink(dir.path) == 0);
    CHECK(symlink(dir.other, dir.path) == 0);
    CHECK(bc_file_discard(dir.path, NULL) != 0 && unlink(dir.path) == 0);
    leave(&dir);
    CHECK(bc_file_discard(dir.other, NULL) == EEXIST && file_exists(dir.other));
    int file = open(dir.path, O_RDWR);
    CHECK(file >= 0 && bc__sys_lock(file) == 0);
    CHECK(bc_file_discard(dir.path, NULL) == EBUSY && file_exists(dir.path));
    CHECK(close(file) == 0);
    CHECK(bc_file_discard(dir.path, NULL) == 0 && !file_exists(dir.path));
    file_write(dir.path, "", 0);
    CHECK(bc_file_discard(dir.path, NULL) == 0 && !file_exists(dir.path));
    recording_dir_finish(&dir);
}

/* A failed lock call never allows two writers, with any errno. */
static void test_locks_that_are_refused(void) {
    static const int codes[] = {ENOLCK, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, EIO, EBADF};
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        bool fired = true;
        for (unsigned long nth = 1; fired; nth = sweep_next(nth)) {
            struct counting_source source;
            counting_source_init(&source, BATCHES, ROWS);
            struct ArrowArrayStream stream = counting_source_stream(&source);
            struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
            options.record_path = dir.path;
            options.memory_capacity = 0;
            struct bc_cache *cache;
            bc__fault_arm(BC_FAULT_SYS, nth, codes[i]);
            int code = bc_cache_new(&stream, &options, &cache, NULL);
            fired = bc__fault_fired(BC_FAULT_SYS);
            bc__fault_arm(BC_FAULT_SYS, 0, 0);
            if (code != 0) {
                CHECK(!file_exists(dir.path));
                stream.release(&stream);
                continue;
            }
            struct counting_source second;
            counting_source_init(&second, BATCHES, ROWS);
            struct ArrowArrayStream again = counting_source_stream(&second);
            struct bc_cache *other;
            options.resume = 1;
            CHECK(bc_cache_new(&again, &options, &other, NULL) == EBUSY);
            CHECK(bc_file_discard(dir.path, NULL) == EBUSY);
            again.release(&again);
            bc_cache_unref(cache);
            CHECK(bc_file_discard(dir.path, NULL) == 0);
        }
    }
    recording_dir_finish(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_only_what_was_left),
        TAP_CASE(test_faults),
        TAP_CASE(test_other_files),
        TAP_CASE(test_locks_that_are_refused),
    };
    return TAP_RUN(cases);
}
