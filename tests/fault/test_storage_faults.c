/* An object of an object store is read while an allocation or a read fails. The failure
 * loses no batch, and the call can be repeated. */
#include "base/fault.h"
#include "object.h"

enum { COLUMN = 1 };

/* Reads all batches of one column or of all columns. Returns 0 or an errno. The reader
 * then goes on with the batch that failed. */
static int drain(struct bc_reader *reader, uint64_t *n) {
    for (;; (*n)++) {
        struct ArrowArray array;
        struct bc_error error = {0};
        int code = bc_reader_next(reader, &array, NULL, &error);
        if (code != 0) {
            CHECK(error.code == code && error.message[0] != '\0');
            return code;
        }
        if (array.release == NULL) return 0;
        CHECK(array.length == OBJECT_ROWS);
        array.release(&array);
    }
}

/* Opens the object and reads it. Repeats a failed call. Returns true if the fault fired.
 */
static bool read_with_fault(struct object *object, const int32_t *column,
                            unsigned long nth, int64_t fail_at) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    options.max_batches = 3;
    struct bc_cache *cache;
    object->reads = 0;
    object->releases = 0;
    object->fail_at = fail_at;
    object->fail_code = EIO;
    bc__fault_arm(BC_FAULT_ALLOC, nth, ENOMEM);
    int expected = nth > 0 ? ENOMEM : EIO;
    int code = object_open(object, options, &cache, NULL);
    if (code != 0) {
        CHECK(code == expected && object->releases == 0);
        CHECK(object_open(object, options, &cache, NULL) == 0);
    }
    struct bc_reader_options wanted = BC_READER_OPTIONS_INIT;
    wanted.columns = column;
    wanted.n_columns = column != NULL;
    struct bc_reader *reader;
    code = bc_cache_reader(cache, &wanted, &reader, NULL);
    if (code != 0) {
        CHECK(code == expected);
        CHECK(bc_cache_reader(cache, &wanted, &reader, NULL) == 0);
    }
    uint64_t n = 0;
    code = drain(reader, &n);
    if (code != 0) {
        CHECK(code == expected);
        CHECK(drain(reader, &n) == 0);
    }
    CHECK(n == 3);
    bool fired = nth > 0 ? bc__fault_fired(BC_FAULT_ALLOC) : object->reads > fail_at;
    bc__fault_arm(BC_FAULT_ALLOC, 0, 0);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    CHECK(object->releases == 1);
    return fired;
}

static void make(struct object *object) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, 3, OBJECT_ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = dir.path;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    bc_cache_unref(cache);
    object_init(object, dir.path);
    recording_dir_finish(&dir);
}

static void sweep(const int32_t *column) {
    struct object object;
    make(&object);
    for (int ahead = 0; ahead < 2; ahead++) {
        object.ahead_code = ahead == 0 ? 0 : EAGAIN;
        unsigned long nth = 1;
        while (read_with_fault(&object, column, nth, -1)) nth++;
        CHECK(nth > 10);
        int64_t fail_at = 0;
        while (read_with_fault(&object, column, 0, fail_at)) fail_at++;
        CHECK(fail_at > 6);
    }
    object_finish(&object);
}

static void test_all_columns(void) { sweep(NULL); }

static void test_one_column(void) {
    static const int32_t column = COLUMN;
    sweep(&column);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_all_columns),
                                            TAP_CASE(test_one_column)};
    return TAP_RUN(cases);
}
