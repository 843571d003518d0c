/* Calls that read a batch only if that is quick: from memory, small ones, and those whose
 * bytes need not be looked at. */
#include "place.h"

enum { BATCHES = 3, FEW = 100, MANY = 100000 };

static void check_quick(struct bc_reader *reader, const struct fixture *fixture,
                        int64_t number, bool quick) {
    struct ArrowArray array = {0};
    struct bc_error error = {0, ""};
    int code = bc_reader_next_quick(reader, &array, NULL, &error);
    CHECK(code == (quick ? 0 : EAGAIN));
    if (!quick) {
        CHECK(array.release == NULL && bc_reader_position(reader) == (uint64_t)number);
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
    }
    fixture_check(fixture, &array, number);
}

static void check_get(struct bc_cache *cache, const struct fixture *fixture, bool quick) {
    struct ArrowArray array = {0};
    CHECK(bc_cache_get_quick(cache, 1, &array, NULL, NULL) == (quick ? 0 : EAGAIN));
    if (!quick) CHECK(bc_cache_get(cache, 1, &array, NULL, NULL) == 0);
    fixture_check(fixture, &array, 1);
}

/* `first`: a first read is quick; `later`: the next ones are. */
static void replay(struct bc_cache *cache, struct fixture *fixture, bool first,
                   bool later) {
    for (int pass = 0; pass < 3; pass++) {
        struct bc_reader *reader = fixture_reader(cache);
        bool quick = pass == 0 ? first : later;
        for (int i = 0; i < BATCHES; i++) check_quick(reader, fixture, i, quick);
        struct ArrowArray array;
        CHECK(bc_reader_next_quick(reader, &array, NULL, NULL) == 0);
        CHECK(array.release == NULL);
        bc_reader_unref(reader);
    }
    check_get(cache, fixture, later);
}

static void record(int64_t rows, const struct bc_cache_options *options, bool first,
                   bool later) {
    struct fixture fixture;
    fixture_init(&fixture, BATCHES, rows);
    struct bc_cache *cache = fixture_cache(&fixture, options);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
    replay(cache, &fixture, first, later);
    bc_cache_unref(cache);
    fixture_check_released(&fixture);
}

static void test_quick_reads(void) {
    struct place place;
    place_init(&place);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    record(MANY, &options, true, true);
    options.disk_path = place.caches;
    record(MANY, &options, true, true);
    options.memory_bytes_max = 0;
    record(FEW, &options, true, true);
    record(MANY, &options, false, true);
    options.checksums = 0;
    record(MANY, &options, true, true);
    options.compression = BC_COMPRESSION_LZ4;
    record(FEW, &options, true, true);
    /* What was decompressed is kept. */
    record(MANY, &options, false, true);
    place_finish(&place);
}

static void test_quick_reads_of_files(void) {
    struct place place;
    place_init(&place);
    for (int copies = 0; copies < 2; copies++) {
        struct fixture fixture;
        fixture_init(&fixture, BATCHES, MANY);
        struct bc_cache *cache = fixture_cache(&fixture, NULL);
        CHECK(bc_cache_save(cache, place.path, 1, 0, NULL) == 0);
        bc_cache_unref(cache);
        struct bc_file_options options = BC_FILE_OPTIONS_INIT;
        options.copies = copies;
        CHECK(bc_file_open(place.path, &options, &cache, NULL) == 0);
        atomic_store(&fixture.arrays_alive, BATCHES);
        replay(cache, &fixture, false, true);
        bc_cache_unref(cache);
    }
    place_finish(&place);
}

static void test_a_quick_call_asks_the_source(void) {
    struct fixture fixture;
    fixture_init(&fixture, BATCHES, FEW);
    struct bc_cache *cache = fixture_cache(&fixture, NULL);
    struct bc_reader *reader = fixture_reader(cache);
    for (int i = 0; i < BATCHES; i++) check_quick(reader, &fixture, i, true);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    fixture_check_released(&fixture);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_quick_reads),
        TAP_CASE(test_quick_reads_of_files),
        TAP_CASE(test_a_quick_call_asks_the_source),
    };
    return TAP_RUN(cases);
}
