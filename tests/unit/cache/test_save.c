/* Caches saved as recordings. */
#include "recording.h"

/* Saves from memory, from a disk tier and from a recording, and replaces files. */
static void test_save(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    for (int disk = 0; disk < 2; disk++) {
        struct counting_source source;
        counting_source_init(&source, BATCHES, ROWS);
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        if (disk) options.disk_path = dir.root;
        struct bc_cache *cache = counting_source_cache(&source, &options);
        CHECK(save_cache(cache, dir.path, disk, 1, NULL) == 0);
        check_batches(cache, 0, BATCHES);
        CHECK(save_cache(cache, dir.path, 0, 0, NULL) == EEXIST);
        CHECK(save_cache(cache, dir.other, 1, 0, NULL) == 0);
        bc_cache_unref(cache);
        counting_source_check_released(&source);
        struct bc_cache *saved = NULL;
        CHECK(open_recording(dir.path, 0, 0, &saved) == 0);
        check_batches(saved, 0, BATCHES);
        CHECK(save_cache(saved, dir.other, 1, 0, NULL) == 0);
        bc_cache_unref(saved);
        CHECK(open_recording(dir.other, 0, 0, &saved) == 0);
        check_batches(saved, 0, BATCHES);
        bc_cache_unref(saved);
    }
    recording_dir_finish_clean(&dir);
}

/* A later eviction must not punch holes into the saved file. */
static void test_save_before_batches_are_evicted(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    struct counting_source source;
    counting_source_init(&source, BATCHES, 2000);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = dir.root;
    options.memory_capacity = 0;
    options.max_readers = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    CHECK(save_cache(cache, dir.path, 0, 0, NULL) == 0);
    uint64_t batches;
    CHECK(bc_cache_publish(cache, &batches, NULL) == EINVAL);
    struct bc_reader *reader = new_reader(cache);
    atomic_store(&source.arrays_alive, BATCHES);
    CHECK(counting_source_drain(&source, reader, 0) == BATCHES);
    bc_reader_unref(reader);
    CHECK(save_cache(cache, dir.other, 0, 0, NULL) == EINVAL);
    bc_cache_unref(cache);
    CHECK(bc_file_verify(dir.path, NULL, &batches, NULL) == 0 && batches == BATCHES);
    recording_dir_finish_clean(&dir);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_save),
        TAP_CASE(test_save_before_batches_are_evicted),
    };
    return TAP_RUN(cases);
}
