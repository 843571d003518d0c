/* Recordings of one small stream, for tests that change or reopen their files. */
#ifndef BC_TESTS_LIB_RECORDING_H
#define BC_TESTS_LIB_RECORDING_H

#include "recording_dir.h"
#include "save.h"

enum { BATCHES = 9, ROWS = 5 };

static inline struct bc_cache *start_recording(struct counting_source *source,
                                               const char *path, int resume, int grows) {
    counting_source_init(source, BATCHES, ROWS);
    source->grows = grows;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.memory_capacity = 0;
    options.resume = resume;
    return counting_source_cache(source, &options);
}

static inline void record_all(const char *path, int grows) {
    struct counting_source source;
    struct bc_cache *cache = start_recording(&source, path, 0, grows);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static inline int open_recording(const char *path, int partial, int copies,
                                 struct bc_cache **out_cache) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.partial = partial;
    options.read_into_memory = copies;
    options.verify = 1;
    struct bc_error error = {0};
    int code = bc_file_open(path, &options, out_cache, &error);
    if (code != 0) CHECK(error.code == code && error.message[0] != '\0');
    return code;
}

static inline void check_batches(struct bc_cache *cache, int grows, int64_t batches) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    source.grows = grows;
    atomic_store(&source.arrays_alive, batches);
    struct bc_reader *reader = new_reader(cache);
    CHECK(counting_source_drain(&source, reader, 0) == batches);
    bc_reader_unref(reader);
}

static inline int64_t file_size(const char *path) {
    struct stat status;
    CHECK(stat(path, &status) == 0);
    return status.st_size;
}

#endif
