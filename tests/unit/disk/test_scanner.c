/* A recording scanned message by message, whole and cut anywhere. */
#include "disk/scanner.h"
#include "disk/trailer.h"
#include "recording.h"

struct counts {
    int64_t schemas, batches, dictionaries;
};

/* Scans the first `end` bytes: the kind that ended the scan, and the counts before. */
static enum bc_scan_kind scan(int file, int64_t end, struct counts *out_counts,
                              int64_t *out_at) {
    struct bc_file opened = {.file = file};
    struct bc_scanner scanner = {.file = &opened};
    struct bc_scan_result result;
    *out_counts = (struct counts){0};
    for (;;) {
        /* The schema has no checksum of its own. */
        scanner.is_ours = scanner.offset > 0;
        CHECK(bc__scanner_peek(&scanner, end, &result, NULL) == 0);
        int64_t before = scanner.offset;
        CHECK(bc__scanner_peek(&scanner, end, &result, NULL) == 0 &&
              scanner.offset == before);
        out_counts->schemas += result.kind == BC_SCAN_SCHEMA;
        out_counts->batches += result.kind == BC_SCAN_BATCH;
        out_counts->dictionaries += result.kind == BC_SCAN_DICTIONARY;
        if (result.kind > BC_SCAN_SCHEMA) break;
        CHECK(result.size > 0 && result.size % 8 == 0);
        scanner.offset += result.size;
        CHECK(scanner.offset <= end);
    }
    *out_at = scanner.offset;
    bc__scanner_finish(&scanner);
    return result.kind;
}

static void test_every_cut(void) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    record_all(dir.path, 1);
    int file = open(dir.path, O_RDONLY);
    int64_t size = file_size(dir.path);
    struct bc_trailer trailer;
    bool complete;
    struct bc_file opened = {.file = file};
    CHECK(bc__trailer_read(&opened, size, &trailer, &complete, NULL) == 0 && complete);
    struct counts counts;
    int64_t at;
    CHECK(scan(file, size, &counts, &at) == BC_SCAN_END && at == trailer.end);
    CHECK(counts.schemas == 1 && counts.batches == BATCHES);
    CHECK(counts.dictionaries == trailer.dictionaries);
    /* A cut between two messages ends the file, and each other cut is in a message. */
    int64_t whole = 0;
    for (int64_t end = 1; end <= trailer.end; end++) {
        enum bc_scan_kind kind = scan(file, end, &counts, &at);
        CHECK(kind == (at == end ? BC_SCAN_NOTHING : BC_SCAN_PART));
        whole += kind == BC_SCAN_NOTHING;
        CHECK(whole == counts.schemas + counts.batches + counts.dictionaries);
    }
    CHECK(whole == 1 + BATCHES + trailer.dictionaries);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
}

/* Peeks into a file of 64 bytes that begins with `size` as a message's length. */
static int peek_at_size(int32_t size, enum bc_scan_kind *out_kind) {
    struct recording_dir dir;
    recording_dir_init(&dir);
    const int32_t words[16] = {size};
    file_write(dir.path, words, sizeof(words));
    int file = open(dir.path, O_RDONLY);
    struct bc_file opened = {.file = file};
    struct bc_scanner scanner = {.file = &opened};
    struct bc_scan_result result;
    int code = bc__scanner_peek(&scanner, sizeof(words), &result, NULL);
    *out_kind = result.kind;
    bc__scanner_finish(&scanner);
    CHECK(close(file) == 0);
    recording_dir_finish(&dir);
    return code;
}

static void test_sizes_that_are_wrong(void) {
    enum bc_scan_kind kind;
    CHECK(peek_at_size(-5, &kind) == EINVAL);
    CHECK(peek_at_size(INT32_MAX, &kind) == 0 && kind == BC_SCAN_PART);
    CHECK(peek_at_size(0, &kind) == 0 && kind == BC_SCAN_END);
    /* Metadata of zeros is no flatbuffer. */
    CHECK(peek_at_size(40, &kind) == EINVAL);
}

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_every_cut),
        TAP_CASE(test_sizes_that_are_wrong),
    };
    return TAP_RUN(cases);
}
