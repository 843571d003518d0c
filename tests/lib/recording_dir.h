/* A directory for the recordings and caches of a test, and the files in it. */
#ifndef BC_TESTS_LIB_RECORDING_DIR_H
#define BC_TESTS_LIB_RECORDING_DIR_H

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counting_source.h"

enum { PATH_SIZE = 4300 };

struct recording_dir {
    char *root;   /* holds the recordings */
    char *caches; /* holds the files of disk tiers */
    char path[PATH_SIZE];
    char other[PATH_SIZE];
};

/* Uses a file system in memory if there is one, because synchronising is fast there. */
static inline void recording_dir_init(struct recording_dir *dir) {
    if (access("/dev/shm", W_OK) == 0) (void)setenv("TMPDIR", "/dev/shm", 0);
    dir->root = new_directory();
    dir->caches = new_directory();
    (void)snprintf(dir->path, sizeof(dir->path), "%s/x.arrows", dir->root);
    (void)snprintf(dir->other, sizeof(dir->other), "%s/y.arrows", dir->root);
}

/* Removes everything in the directory, subdirectories included. */
static inline void directory_clear(const char *path) {
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char name[PATH_SIZE];
        int size = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        CHECK(size > 0 && (size_t)size < sizeof(name));
        if (unlink(name) == 0) continue;
        directory_clear(name);
        CHECK(rmdir(name) == 0);
    }
    CHECK(closedir(dir) == 0);
}

static inline void recording_dir_finish(struct recording_dir *dir) {
    directory_clear(dir->root);
    directory_clear(dir->caches);
    CHECK(rmdir(dir->root) == 0 && rmdir(dir->caches) == 0);
    free(dir->root);
    free(dir->caches);
}

/* Returns how many entries the directory has. */
static inline int directory_count(const char *path) {
    int n = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    CHECK(closedir(dir) == 0);
    return n;
}

/* Removes the directory and the two named files. No other file may be in it. */
static inline void recording_dir_finish_clean(struct recording_dir *dir) {
    (void)unlink(dir->path);
    (void)unlink(dir->other);
    CHECK(directory_count(dir->root) == 0);
    recording_dir_finish(dir);
}

static inline bool file_exists(const char *path) { return access(path, F_OK) == 0; }

/* Opens a recording and checks its batches. Returns how many there are. */
static inline int64_t recording_batches(const char *path, int64_t rows, bool grows,
                                        bool *out_complete) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.verify = 1;
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_file_open(path, &options, &cache, &error);
    *out_complete = code == 0;
    if (code != 0) {
        if (code != ENODATA) printf("# %d %s\n", code, error.message);
        CHECK(code == ENODATA);
        options.partial = 1;
        CHECK(bc_file_open(path, &options, &cache, &error) == 0);
    }
    struct counting_source source;
    counting_source_init(&source, 0, rows);
    source.grows = grows;
    struct bc_reader *reader = new_reader(cache);
    int64_t batches = counting_source_drain(&source, reader, 0);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    return batches;
}

/* Records the first `end` batches of the source. */
static inline void recording_write(const char *path, struct counting_source source,
                                   uint64_t end) {
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(cache, end, &batches, NULL) == 0);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

/* Returns the bytes of the file, freed by the caller. */
static inline char *file_read(const char *path, size_t *out_size) {
    int file = open(path, O_RDONLY);
    struct stat status;
    CHECK(file >= 0 && fstat(file, &status) == 0);
    char *bytes = malloc((size_t)status.st_size + 1);
    CHECK(bytes != NULL);
    CHECK(read(file, bytes, (size_t)status.st_size) == status.st_size);
    CHECK(close(file) == 0);
    *out_size = (size_t)status.st_size;
    return bytes;
}

static inline void file_write(const char *path, const void *bytes, size_t size) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && write(file, bytes, size) == (ssize_t)size && close(file) == 0);
}

#endif
