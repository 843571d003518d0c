/* What a writer left is removed, and never what took its place: at every system call of
 * the removal, another process saves a recording under the name. */
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "disk/disk.h"
#include "place.h"

enum { BATCHES = 4, ROWS = 5, LEFT = 2, NEW_ROWS = 3 };

struct moment {
    const struct place *place;
    unsigned long calls, nth;
};

static void replace(void *context, enum bc_fault_moment moment, int file) {
    (void)file;
    struct moment *now = context;
    if (moment != BC_MOMENT_CALL || ++now->calls != now->nth) return;
    CHECK(rename(now->place->other, now->place->path) == 0);
}

static void leave(const struct place *place) {
    struct fixture fixture;
    fixture_init(&fixture, BATCHES, ROWS);
    place_record(place->path, fixture, LEFT);
    fixture_init(&fixture, BATCHES, NEW_ROWS);
    place_record(place->other, fixture, UINT64_MAX);
}

static void test_only_what_was_left(void) {
    struct place place;
    place_init(&place);
    for (int poverty = 0; poverty < 2; poverty++) {
        bool happened = true;
        for (unsigned long nth = 1; happened; nth++) {
            leave(&place);
            struct moment moment = {&place, 0, nth};
            bc__fault_make_poor(poverty);
            bc__fault_watch(replace, &moment);
            int code = bc_file_discard(place.path, NULL);
            bc__fault_watch(NULL, NULL);
            bc__fault_make_poor(0);
            happened = moment.calls >= nth;
            CHECK(code == (happened ? code : 0));
            CHECK(code == 0 || code == EBUSY || code == EEXIST);
            CHECK(place_has(place.path) == happened);
            if (happened) {
                bool complete;
                CHECK(place_batches(place.path, NEW_ROWS, false, &complete) == BATCHES);
                CHECK(complete && place_count(place.dir) == 1);
            }
            place_empty(place.dir);
            CHECK(happened || nth > 5);
        }
    }
    place_finish(&place);
}

/* Whatever fails: the file is there, or nothing is. */
static void test_faults(void) {
    static const int codes[] = {EIO, ENOLCK, EACCES, EINVAL, EINTR};
    struct place place;
    place_init(&place);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        bool fired = true;
        for (unsigned long nth = 1; fired; nth++) {
            leave(&place);
            struct bc_error error = {0};
            bc__fault_arm(BC_FAULT_SYS, nth, codes[i]);
            int code = bc_file_discard(place.path, &error);
            fired = bc__fault_fired(BC_FAULT_SYS);
            bc__fault_arm(BC_FAULT_SYS, 0, 0);
            CHECK(code == error.code && (code == 0 || error.message[0] != '\0'));
            CHECK(fired || code == 0);
            CHECK(place_has(place.path) == (code != 0));
            CHECK(place_count(place.dir) == (code != 0) + 1);
            place_empty(place.dir);
        }
    }
    place_finish(&place);
}

static void test_other_files(void) {
    struct place place;
    place_init(&place);
    CHECK(bc_file_discard(place.path, NULL) == ENOENT);
    place_write(place.path, "precious", 8);
    CHECK(bc_file_discard(place.path, NULL) == EINVAL);
    CHECK(place_has(place.path) && unlink(place.path) == 0);
    CHECK(mkfifo(place.path, 0600) == 0);
    CHECK(bc_file_discard(place.path, NULL) == ESPIPE);
    CHECK(place_has(place.path) && unlink(place.path) == 0);
    CHECK(symlink(place.other, place.path) == 0);
    CHECK(bc_file_discard(place.path, NULL) != 0 && unlink(place.path) == 0);
    leave(&place);
    CHECK(bc_file_discard(place.other, NULL) == EEXIST && place_has(place.other));
    int file = open(place.path, O_RDWR);
    CHECK(file >= 0 && bc__sys_lock(file) == 0);
    CHECK(bc_file_discard(place.path, NULL) == EBUSY && place_has(place.path));
    CHECK(close(file) == 0);
    CHECK(bc_file_discard(place.path, NULL) == 0 && !place_has(place.path));
    place_write(place.path, "", 0);
    CHECK(bc_file_discard(place.path, NULL) == 0 && !place_has(place.path));
    place_finish(&place);
}

/* A lock call that fails, whatever it says, never makes two writers. */
static void test_locks_that_are_refused(void) {
    static const int codes[] = {ENOLCK, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, EIO, EBADF};
    struct place place;
    place_init(&place);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        bool fired = true;
        for (unsigned long nth = 1; fired; nth++) {
            struct fixture fixture;
            fixture_init(&fixture, BATCHES, ROWS);
            struct ArrowArrayStream stream = fixture_stream(&fixture);
            struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
            options.record_path = place.path;
            options.memory_capacity = 0;
            struct bc_cache *cache;
            bc__fault_arm(BC_FAULT_SYS, nth, codes[i]);
            int code = bc_cache_new(&stream, &options, &cache, NULL);
            fired = bc__fault_fired(BC_FAULT_SYS);
            bc__fault_arm(BC_FAULT_SYS, 0, 0);
            if (code != 0) {
                CHECK(!place_has(place.path));
                stream.release(&stream);
                continue;
            }
            struct fixture second;
            fixture_init(&second, BATCHES, ROWS);
            struct ArrowArrayStream again = fixture_stream(&second);
            struct bc_cache *other;
            options.resume = 1;
            CHECK(bc_cache_new(&again, &options, &other, NULL) == EBUSY);
            CHECK(bc_file_discard(place.path, NULL) == EBUSY);
            again.release(&again);
            bc_cache_unref(cache);
            CHECK(bc_file_discard(place.path, NULL) == 0);
        }
    }
    place_finish(&place);
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
