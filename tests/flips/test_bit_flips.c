/* Flips each bit of a recording of every type, and cuts the recording at each byte.
 * EVERY_TYPE is its path; tests/python/faults/test_recording_bit_flips.py recorded it. */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "counting_source.h"

/* From docs/file-format.md. */
enum {
    ALIGNMENT = 64,
    MARKER = 8,
    BATCH_ENTRY = 32,
    DICTIONARY_ENTRY = 40,
    FOOTER = 128
};

/* The recording in memory, and values of its footer. */
struct file {
    int descriptor;
    size_t size;
    uint8_t *bytes;
    int64_t end;
    int64_t batches;
    int64_t dictionaries;
};

static int64_t footer_number(const struct file *file, size_t at) {
    int64_t number;
    memcpy(&number, file->bytes + file->size - FOOTER + at, sizeof(number));
    return number;
}

static struct file load(void) {
    FILE *source = fopen(EVERY_TYPE, "rb");
    CHECK(source != NULL && fseek(source, 0, SEEK_END) == 0);
    struct file file = {.descriptor = memfd_create("recording", 0)};
    file.size = (size_t)ftell(source);
    rewind(source);
    CHECK(file.descriptor >= 0 && ftruncate(file.descriptor, (off_t)file.size) == 0);
    file.bytes =
        mmap(NULL, file.size, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0);
    CHECK(file.bytes != MAP_FAILED);
    CHECK(fread(file.bytes, 1, file.size, source) == file.size);
    CHECK(fclose(source) == 0);
    file.end = footer_number(&file, 16);
    file.batches = footer_number(&file, 32);
    file.dictionaries = footer_number(&file, 56);
    return file;
}

static void unload(struct file *file) {
    CHECK(munmap(file->bytes, file->size) == 0 && close(file->descriptor) == 0);
}

/* Opens the file, and reads every batch and the statistics. Returns 0 or the first
 * error. */
static int verify(const struct file *file, int partial, int64_t *out_batches) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.file = file->descriptor;
    options.verify = 1;
    options.partial = partial;
    struct bc_cache *cache;
    struct bc_error error = {0};
    *out_batches = 0;
    int code = bc_file_open("recording", &options, &cache, &error);
    if (code == 0) {
        uint64_t batches;
        CHECK(bc_cache_ingest(cache, &batches, NULL) == 0);
        while (code == 0 && *out_batches < (int64_t)batches) {
            struct ArrowArray array;
            code = bc_cache_batch(cache, (uint64_t)*out_batches, &array, NULL, &error);
            if (code != 0) break;
            ++*out_batches;
            array.release(&array);
        }
        if (code == 0) code = bc_cache_verify_statistics(cache, &error);
        bc_cache_unref(cache);
    }
    if (code != 0) CHECK(error.code == code && error.message[0] != '\0');
    return code;
}

/* Returns true for padding between the parts of the trailer, which no checksum covers. */
static bool is_between(const struct file *file, int64_t at) {
    int64_t entries = file->end + ALIGNMENT;
    int64_t behind =
        entries + BATCH_ENTRY * file->batches + DICTIONARY_ENTRY * file->dictionaries;
    return (at >= file->end + MARKER && at < entries) ||
           (at >= behind && at < (behind + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

enum { WORKERS = 2, ERRNO_MAX = 134 };

/* Returns the distance between two tested bytes: BC_FLIP_EVERY, or 1. */
static size_t stride(void) {
    const char *every = getenv("BC_FLIP_EVERY");
    return every == NULL ? 1 : strtoul(every, NULL, 10);
}

/* A thread that flips the bits of every WORKERS-th byte in its own copy. */
struct worker {
    pthread_t thread;
    size_t first;
    int64_t codes[ERRNO_MAX];
};

static void *flip_bits(void *context) {
    struct worker *worker = context;
    struct file file = load();
    int64_t batches;
    CHECK(verify(&file, 0, &batches) == 0 && batches == file.batches && batches == 3);
    for (size_t at = worker->first; at < file.size; at += WORKERS * stride()) {
        for (int bit = 0; bit < 8; bit++) {
            file.bytes[at] ^= (uint8_t)(1 << bit);
            int code = verify(&file, 0, &batches);
            file.bytes[at] ^= (uint8_t)(1 << bit);
            bool is_noticed = code == EBADMSG || code == ENODATA;
            if (is_noticed == is_between(&file, (int64_t)at)) {
                printf("# byte %zu, bit %d: %d\n", at, bit, code);
            }
            CHECK(is_between(&file, (int64_t)at) ? code == 0 : is_noticed);
            worker->codes[code]++;
        }
    }
    CHECK(verify(&file, 0, &batches) == 0 && batches == file.batches);
    unload(&file);
    return NULL;
}

static void test_every_bit(void) {
    struct worker workers[WORKERS] = {0};
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i].first = i;
        CHECK(pthread_create(&workers[i].thread, NULL, flip_bits, &workers[i]) == 0);
    }
    int64_t codes[ERRNO_MAX] = {0};
    for (int i = 0; i < WORKERS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        for (int code = 0; code < ERRNO_MAX; code++)
            codes[code] += workers[i].codes[code];
    }
    printf("# EBADMSG %lld, ENODATA %lld, between %lld\n", (long long)codes[EBADMSG],
           (long long)codes[ENODATA], (long long)codes[0]);
}

/* A cut recording is incomplete. With `partial`, exactly its whole batches can be
 * read. */
static void test_every_cut(void) {
    struct file file = load();
    int64_t batches;
    int64_t more = file.batches;
    for (size_t size = file.size; size-- > 0;) {
        if (size % stride() != 0) continue;
        CHECK(ftruncate(file.descriptor, (off_t)size) == 0);
        CHECK(verify(&file, 0, &batches) == ENODATA && batches == 0);
        int code = verify(&file, 1, &batches);
        CHECK((code == 0 || code == ENODATA) && batches <= more);
        CHECK(code == 0 || batches == 0);
        CHECK(batches == file.batches || (int64_t)size < file.end);
        more = batches;
    }
    CHECK(more == 0);
    unload(&file);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_every_bit),
                                            TAP_CASE(test_every_cut)};
    return TAP_RUN(cases);
}
