/* Recordings that are continued. */
#include "recording.h"

/* A recording that was interrupted at batch `stop` is resumed there. */
static void test_resume(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int grows = 0; grows < 2; grows++) {
        for (uint64_t stop = 0; stop <= BATCHES; stop++) {
            struct counting_source source;
            struct bc_cache *cache = start_recording(&source, dir.path, 0, grows);
            uint64_t batches;
            CHECK(bc_cache_ingest_to(cache, stop, &batches, NULL) == 0);
            struct bc_cache *busy;
            struct ArrowArrayStream stream = counting_source_stream(&source);
            struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
            options.record_path = dir.path;
            options.resume = 1;
            CHECK(bc_cache_new(&stream, &options, &busy, NULL) == EBUSY);
            atomic_store(&source.stream_alive, 1);
            bc_cache_unref(cache);
            CHECK(open_recording(dir.path, 0, 0, &cache) == ENODATA);
            CHECK(open_recording(dir.path, 1, 0, &cache) == 0);
            check_batches(cache, grows, (int64_t)stop);
            bc_cache_unref(cache);
            /* Unpublished bytes do no harm. */
            int file = open(dir.path, O_WRONLY | O_APPEND);
            char rest[200];
            memset(rest, 'x', sizeof(rest));
            memset(rest, 0, 8);
            CHECK(write(file, rest, sizeof(rest)) == sizeof(rest) && close(file) == 0);
            cache = start_recording(&source, dir.path, 1, grows);
            CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
            check_batches(cache, grows, BATCHES);
            struct bc_stats stats = {.struct_size = sizeof(stats)};
            bc_cache_stats(cache, &stats);
            CHECK(stats.resumed == stop);
            bc_cache_unref(cache);
            counting_source_check_released(&source);
            CHECK(open_recording(dir.path, 0, 0, &cache) == 0);
            check_batches(cache, grows, BATCHES);
            bc_cache_unref(cache);
            CHECK(bc_cache_new(&stream, &options, &busy, NULL) == EEXIST);
            CHECK(unlink(dir.path) == 0);
        }
    }
    recording_dir_finish_clean(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_resume),
    };
    return TAP_RUN(cases);
}
