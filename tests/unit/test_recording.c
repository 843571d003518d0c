/* Recordings: written, opened, resumed, followed, cut at every byte. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counting_source.h"
#include "save.h"

enum { BATCHES = 9, ROWS = 5 };

/* A directory with room for the names of files in it. */
struct place {
    char *dir;
    char path[4200];
    char other[4200];
};

static void recording_dir_init(struct place *place) {
    place->dir = new_directory();
    (void)snprintf(place->path, sizeof(place->path), "%s/x.arrows", place->dir);
    (void)snprintf(place->other, sizeof(place->other), "%s/y.arrows", place->dir);
}

/* Nothing but the two files was left there. */
static void recording_dir_finish(struct place *place) {
    (void)unlink(place->path);
    (void)unlink(place->other);
    CHECK(rmdir(place->dir) == 0);
    free(place->dir);
}

static struct bc_cache *start(struct counting_source *source, const char *path,
                              int resume, int grows) {
    counting_source_init(source, BATCHES, ROWS);
    source->grows = grows;
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = path;
    options.memory_capacity = 0;
    options.resume = resume;
    return counting_source_cache(source, &options);
}

static void record(const char *path, int grows) {
    struct counting_source source;
    struct bc_cache *cache = start(&source, path, 0, grows);
    uint64_t batches;
    CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static int open_file(const char *path, int partial, int copies,
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

static void check_all(struct bc_cache *cache, int grows, int64_t batches) {
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    source.grows = grows;
    atomic_store(&source.arrays_alive, batches);
    struct bc_reader *reader = new_reader(cache);
    CHECK(counting_source_drain(&source, reader, 0) == batches);
    bc_reader_unref(reader);
}

static int64_t size_of(const char *path) {
    struct stat status;
    CHECK(stat(path, &status) == 0);
    return status.st_size;
}

static void test_record_and_open(void) {
    struct place place;
    recording_dir_init(&place);
    for (int grows = 0; grows < 2; grows++) {
        record(place.path, grows);
        for (int copies = 0; copies < 2; copies++) {
            struct bc_cache *cache = NULL;
            CHECK(open_file(place.path, 0, copies, &cache) == 0);
            check_all(cache, grows, BATCHES);
            struct bc_stats stats = {.struct_size = sizeof(stats)};
            bc_cache_stats(cache, &stats);
            CHECK(stats.state == BC_STATE_EXHAUSTED && stats.batches == BATCHES);
            CHECK(stats.rows == BATCHES * ROWS && stats.bytes > 0);
            for (uint64_t row = 0; row < BATCHES * ROWS; row++) {
                uint64_t batch;
                uint64_t within;
                CHECK(bc_cache_find_row(cache, row, &batch, &within, NULL) == 0);
                CHECK(batch == row / ROWS && within == row % ROWS);
            }
            struct ArrowArray array;
            CHECK(bc_cache_batch(cache, UINT64_MAX, &array, NULL, NULL) == 0);
            CHECK(array.release == NULL);
            uint64_t none;
            CHECK(bc_cache_find_row(cache, BATCHES * ROWS, &none, &none, NULL) == EINVAL);
            bc_cache_unref(cache);
        }
        uint64_t batches = 0;
        CHECK(bc_file_verify(place.path, NULL, &batches, NULL) == 0 &&
              batches == BATCHES);
        CHECK(unlink(place.path) == 0);
        CHECK(bc_file_verify(place.path, NULL, &batches, NULL) == ENOENT &&
              batches == BATCHES);
    }
    recording_dir_finish(&place);
}

static void test_name_is_taken(void) {
    struct place place;
    recording_dir_init(&place);
    int file = open(place.path, O_CREAT | O_WRONLY, 0600);
    CHECK(file >= 0 && write(file, "mine", 4) == 4 && close(file) == 0);
    CHECK(symlink("elsewhere", place.other) == 0);
    struct counting_source source;
    counting_source_init(&source, BATCHES, ROWS);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    const char *names[] = {place.path, place.other};
    for (int i = 0; i < 2; i++) {
        struct ArrowArrayStream stream = counting_source_stream(&source);
        struct bc_cache *cache = NULL;
        options.record_path = names[i];
        CHECK(bc_cache_new(&stream, &options, &cache, NULL) == EEXIST && cache == NULL);
        CHECK(stream.release != NULL && source.next == 0);
        stream.release(&stream);
        struct bc_cache *full = counting_source_cache(&source, NULL);
        CHECK(save_cache(full, names[i], 0, 0, NULL) == EEXIST);
        bc_cache_unref(full);
        counting_source_init(&source, BATCHES, ROWS);
    }
    CHECK(size_of(place.path) == 4);
    recording_dir_finish(&place);
}

/* From memory, from a disk tier, from a recording; over what was there. */
static void test_save(void) {
    struct place place;
    recording_dir_init(&place);
    for (int disk = 0; disk < 2; disk++) {
        struct counting_source source;
        counting_source_init(&source, BATCHES, ROWS);
        struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
        if (disk) options.disk_path = place.dir;
        struct bc_cache *cache = counting_source_cache(&source, &options);
        CHECK(save_cache(cache, place.path, disk, 1, NULL) == 0);
        check_all(cache, 0, BATCHES);
        CHECK(save_cache(cache, place.path, 0, 0, NULL) == EEXIST);
        CHECK(save_cache(cache, place.other, 1, 0, NULL) == 0);
        bc_cache_unref(cache);
        counting_source_check_released(&source);
        struct bc_cache *saved = NULL;
        CHECK(open_file(place.path, 0, 0, &saved) == 0);
        check_all(saved, 0, BATCHES);
        CHECK(save_cache(saved, place.other, 1, 0, NULL) == 0);
        bc_cache_unref(saved);
        CHECK(open_file(place.other, 0, 0, &saved) == 0);
        check_all(saved, 0, BATCHES);
        bc_cache_unref(saved);
    }
    recording_dir_finish(&place);
}

/* What was saved is nobody's to punch holes into. */
static void test_save_before_batches_are_evicted(void) {
    struct place place;
    recording_dir_init(&place);
    struct counting_source source;
    counting_source_init(&source, BATCHES, 2000);
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.disk_path = place.dir;
    options.memory_capacity = 0;
    options.max_readers = 1;
    struct bc_cache *cache = counting_source_cache(&source, &options);
    CHECK(save_cache(cache, place.path, 0, 0, NULL) == 0);
    uint64_t batches;
    CHECK(bc_cache_publish(cache, &batches, NULL) == EINVAL);
    struct bc_reader *reader = new_reader(cache);
    atomic_store(&source.arrays_alive, BATCHES);
    CHECK(counting_source_drain(&source, reader, 0) == BATCHES);
    bc_reader_unref(reader);
    CHECK(save_cache(cache, place.other, 0, 0, NULL) == EINVAL);
    bc_cache_unref(cache);
    CHECK(bc_file_verify(place.path, NULL, &batches, NULL) == 0 && batches == BATCHES);
    recording_dir_finish(&place);
}

/* A recording that was left at batch `stop` goes on from there. */
static void test_resume(void) {
    struct place place;
    recording_dir_init(&place);
    for (int grows = 0; grows < 2; grows++) {
        for (uint64_t stop = 0; stop <= BATCHES; stop++) {
            struct counting_source source;
            struct bc_cache *cache = start(&source, place.path, 0, grows);
            uint64_t batches;
            CHECK(bc_cache_ingest_to(cache, stop, &batches, NULL) == 0);
            struct bc_cache *busy;
            struct ArrowArrayStream stream = counting_source_stream(&source);
            struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
            options.record_path = place.path;
            options.resume = 1;
            CHECK(bc_cache_new(&stream, &options, &busy, NULL) == EBUSY);
            atomic_store(&source.stream_alive, 1);
            bc_cache_unref(cache);
            CHECK(open_file(place.path, 0, 0, &cache) == ENODATA);
            CHECK(open_file(place.path, 1, 0, &cache) == 0);
            check_all(cache, grows, (int64_t)stop);
            bc_cache_unref(cache);
            /* What was never published does not matter. */
            int file = open(place.path, O_WRONLY | O_APPEND);
            char rest[200];
            memset(rest, 'x', sizeof(rest));
            memset(rest, 0, 8);
            CHECK(write(file, rest, sizeof(rest)) == sizeof(rest) && close(file) == 0);
            cache = start(&source, place.path, 1, grows);
            CHECK(bc_cache_ingest(cache, &batches, NULL) == 0 && batches == BATCHES);
            check_all(cache, grows, BATCHES);
            struct bc_stats stats = {.struct_size = sizeof(stats)};
            bc_cache_stats(cache, &stats);
            CHECK(stats.resumed == stop);
            bc_cache_unref(cache);
            counting_source_check_released(&source);
            CHECK(open_file(place.path, 0, 0, &cache) == 0);
            check_all(cache, grows, BATCHES);
            bc_cache_unref(cache);
            CHECK(bc_cache_new(&stream, &options, &busy, NULL) == EEXIST);
            CHECK(unlink(place.path) == 0);
        }
    }
    recording_dir_finish(&place);
}

/* Cut anywhere: an error, or exactly the batches that are whole. */
static void test_cut(void) {
    struct place place;
    recording_dir_init(&place);
    record(place.path, 1);
    int64_t size = size_of(place.path);
    int64_t before = 0;
    for (int64_t cut = 0; cut < size; cut++) {
        CHECK(unlink(place.other) == 0 || errno == ENOENT);
        int from = open(place.path, O_RDONLY);
        int to = open(place.other, O_CREAT | O_WRONLY, 0600);
        char *bytes = malloc((size_t)cut + 1);
        CHECK(read(from, bytes, (size_t)cut) == cut);
        CHECK(write(to, bytes, (size_t)cut) == cut);
        CHECK(close(from) == 0 && close(to) == 0);
        free(bytes);
        struct bc_cache *cache = NULL;
        int code = open_file(place.other, 0, 0, &cache);
        if (code != ENODATA) printf("# cut at %lld: %d\n", (long long)cut, code);
        CHECK(code == ENODATA);
        if (open_file(place.other, 1, 0, &cache) != 0) {
            CHECK(before == 0);
            continue;
        }
        struct bc_stats stats = {.struct_size = sizeof(stats)};
        bc_cache_stats(cache, &stats);
        CHECK((int64_t)stats.batches >= before);
        before = (int64_t)stats.batches;
        check_all(cache, 1, before);
        bc_cache_unref(cache);
    }
    CHECK(before == BATCHES);
    recording_dir_finish(&place);
}

static void *follow(void *argument) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *cache;
    CHECK(bc_file_open(argument, &options, &cache, NULL) == 0);
    check_all(cache, 0, BATCHES);
    bc_cache_unref(cache);
    return NULL;
}

static void test_follow(void) {
    struct place place;
    recording_dir_init(&place);
    struct counting_source source;
    struct bc_cache *cache = start(&source, place.path, 0, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, follow, place.path) == 0);
    for (uint64_t i = 0; i <= BATCHES; i++) {
        uint64_t batches;
        CHECK(usleep(3000) == 0);
        CHECK(bc_cache_ingest_to(cache, i + 1, &batches, NULL) == 0);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    bc_cache_unref(cache);
    CHECK(unlink(place.path) == 0);
    /* A writer that goes away. */
    cache = start(&source, place.path, 0, 0);
    uint64_t batches;
    CHECK(bc_cache_ingest_to(cache, 2, &batches, NULL) == 0);
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *follower;
    CHECK(bc_file_open(place.path, &options, &follower, NULL) == 0);
    CHECK(bc_cache_is_being_written(follower) == 1);
    bc_cache_close(cache);
    bc_cache_unref(cache);
    CHECK(bc_cache_is_being_written(follower) == 0);
    struct bc_reader *reader = new_reader(follower);
    for (int64_t i = 0; i < 2; i++) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        atomic_store(&source.arrays_alive, 1);
        counting_source_check(&source, &array, i);
    }
    for (int i = 0; i < 2; i++) {
        struct ArrowArray array;
        struct bc_error error;
        CHECK(bc_reader_next(reader, &array, NULL, &error) == EOWNERDEAD);
    }
    bc_reader_unref(reader);
    bc_cache_unref(follower);
    recording_dir_finish(&place);
}

/* One thread alone: the follower has the rest brought, also when nobody else has the
 * writer any more; and its error. */
static void test_follow_in_one_thread(void) {
    struct place place;
    recording_dir_init(&place);
    for (int fails = 0; fails < 2; fails++) {
        struct counting_source source;
        struct bc_cache *cache = start(&source, place.path, 0, 0);
        source.fail_at = fails ? 4 : -1;
        source.fail_code = EIO;
        source.fail_text = "the source broke";
        struct bc_file_options options = BC_FILE_OPTIONS_INIT;
        options.follow = 1;
        struct bc_cache *follower;
        CHECK(bc_file_open(place.path, &options, &follower, NULL) == 0);
        bc_cache_unref(cache);
        uint64_t batches = 0;
        struct bc_error error = {0};
        int code = bc_cache_ingest(follower, &batches, &error);
        if (fails) {
            CHECK(code == EIO && strstr(error.message, "source") != NULL);
            CHECK(bc_cache_is_being_written(follower) == 0);
        } else {
            CHECK(code == 0 && batches == BATCHES);
        }
        bc_cache_unref(follower);
        counting_source_check_released(&source);
        struct bc_cache *left = NULL;
        CHECK(open_file(place.path, 0, 0, &left) == (fails ? ENODATA : 0));
        bc_cache_unref(left);
        CHECK(unlink(place.path) == 0);
    }
    recording_dir_finish(&place);
}

static void test_select_and_step(void) {
    struct place place;
    recording_dir_init(&place);
    record(place.path, 0);
    struct bc_cache *cache = NULL;
    CHECK(open_file(place.path, 0, 0, &cache) == 0);
    const int32_t columns[] = {1, 0};
    CHECK(bc_cache_select(cache, columns, 2, NULL) == 0);
    struct bc_error error = {0};
    CHECK(bc_cache_select(cache, columns, 1, &error) == EBUSY);
    CHECK(strstr(error.message, "selected already") != NULL);
    struct ArrowSchema schema;
    CHECK(bc_cache_schema(cache, &schema, NULL) == 0);
    CHECK(schema.n_children == 2 && strcmp(schema.children[0]->name, "s") == 0);
    schema.release(&schema);
    const int32_t second = 1;
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.columns = &second;
    options.n_columns = 1;
    options.start = 1;
    options.step = 3;
    struct bc_reader *reader;
    CHECK(bc_cache_reader(cache, &options, &reader, NULL) == 0);
    for (int64_t number = 1; number < BATCHES; number += 3) {
        struct ArrowArray array;
        CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0);
        CHECK(array.n_children == 1 && array.length == ROWS);
        CHECK(((const int64_t *)array.children[0]->buffers[1])[0] == number * ROWS);
        array.release(&array);
    }
    struct ArrowArray array;
    CHECK(bc_reader_next(reader, &array, NULL, NULL) == 0 && array.release == NULL);
    CHECK(bc_cache_select(cache, columns, 1, NULL) == EBUSY);
    bc_reader_unref(reader);
    bc_cache_unref(cache);
    recording_dir_finish(&place);
}

static void test_shuffle(void) {
    enum { N = 1000 };
    static uint64_t order[N];
    static int seen[N];
    bc_permutation(1, 2, N, order);
    for (int i = 0; i < N; i++) CHECK(order[i] < N && seen[order[i]]++ == 0);
    /* For ever. */
    uint64_t five[5];
    bc_permutation(7, 0, 5, five);
    static const uint64_t known[] = {3, 1, 0, 2, 4};
    CHECK(memcmp(five, known, sizeof(known)) == 0);
    bc_permutation(0, 0, 0, NULL);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_record_and_open),
        TAP_CASE(test_name_is_taken),
        TAP_CASE(test_save),
        TAP_CASE(test_save_before_batches_are_evicted),
        TAP_CASE(test_resume),
        TAP_CASE(test_cut),
        TAP_CASE(test_follow),
        TAP_CASE(test_follow_in_one_thread),
        TAP_CASE(test_select_and_step),
        TAP_CASE(test_shuffle),
    };
    return TAP_RUN(cases);
}
