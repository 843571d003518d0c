/* An Arrow IPC file made from a recording: its messages, then a footer with their
 * offsets. */
#ifndef BC_TESTS_LIB_ARROW_FILE_H
#define BC_TESTS_LIB_ARROW_FILE_H

#include "disk/trailer.h"
#include "flatbuffer_builder.h"
#include "ipc/metadata.h"
#include "recording_dir.h"

enum { ARROW_HEAD = 8, MESSAGE_PREFIX = 8 };

/* Returns the footer's block for the message of `size` bytes at `offset` of the
 * recording. */
static inline struct bc_wire_block arrow_block(const char *bytes, int64_t offset,
                                               int64_t size) {
    int32_t metadata;
    memcpy(&metadata, bytes + offset + 4, sizeof(metadata));
    struct bc_wire_block block = {.offset = offset + ARROW_HEAD,
                                  .metadata_bytes = MESSAGE_PREFIX + metadata,
                                  .body_bytes = size - MESSAGE_PREFIX - metadata};
    return block;
}

static inline void put_blocks(struct flatbuffer_builder *out, uint32_t reference,
                              const struct bc_wire_block *blocks, uint32_t n) {
    (void)builder_reserve(out, 4, 8);
    uint32_t at = builder_reserve(out, 4, 4);
    builder_put(out, at, n);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(out->bytes + builder_reserve(out, sizeof(blocks[i]), 8), &blocks[i],
               sizeof(blocks[i]));
    }
    builder_refer(out, reference, at);
}

/* Builds the footer. Its schema is a copy of the recording's schema message. */
static inline struct flatbuffer arrow_footer(const char *bytes,
                                             const struct bc_wire_block *dictionaries,
                                             uint32_t n_dictionaries,
                                             const struct bc_wire_block *batches,
                                             uint32_t n_batches) {
    static const uint16_t fields[] = {16, 4, 8, 12};
    int32_t size;
    memcpy(&size, bytes + 4, sizeof(size));
    const char *message = bytes + MESSAGE_PREFIX;
    struct flatbuffer_builder out = builder_start((uint32_t)size + 4096);
    uint32_t root = builder_table(&out, builder_vtable(&out, 18, 4, fields));
    builder_refer(&out, 0, root);
    out.bytes[root + 16] = 4; /* V5 */
    put_blocks(&out, root + 8, dictionaries, n_dictionaries);
    put_blocks(&out, root + 12, batches, n_batches);
    uint32_t base = builder_reserve(&out, (uint32_t)size, 8);
    memcpy(out.bytes + base, message, (size_t)size);
    uint32_t at;
    int32_t back;
    uint16_t entry;
    uint32_t offset;
    memcpy(&at, message, sizeof(at));
    memcpy(&back, message + at, sizeof(back));
    memcpy(&entry, message + ((int64_t)at - back) + 4 + 2 * 2, sizeof(entry));
    memcpy(&offset, message + at + entry, sizeof(offset));
    builder_refer(&out, root + 4, base + at + entry + offset);
    struct flatbuffer flatbuffer = flatbuffer_copy(out.bytes, out.size);
    free(out.bytes);
    return flatbuffer;
}

/* Rewrites the complete recording at `path` as an Arrow file. */
static inline void arrow_file_from(const char *path) {
    enum { BLOCKS_MAX = 16 };
    size_t size;
    char *bytes = file_read(path, &size);
    int file = open(path, O_RDONLY);
    struct bc_trailer trailer;
    bool complete;
    struct bc_file opened = {.file = file};
    CHECK(bc__trailer_read(&opened, (int64_t)size, &trailer, &complete, NULL) == 0 &&
          complete);
    CHECK(close(file) == 0);
    CHECK(trailer.batches < BLOCKS_MAX && trailer.dictionaries < BLOCKS_MAX);
    struct bc_wire_block batches[BLOCKS_MAX];
    struct bc_wire_block dictionaries[BLOCKS_MAX];
    for (int64_t i = 0; i < trailer.batches; i++) {
        struct bc_trailer_batch batch;
        const uint8_t *at = (const uint8_t *)bytes + bc__trailer_batch_at(&trailer, i);
        CHECK(bc__trailer_get_batch(&trailer, at, i, &batch));
        batches[i] = arrow_block(bytes, batch.offset, batch.size);
    }
    for (int64_t i = 0; i < trailer.dictionaries; i++) {
        struct bc_trailer_dictionary one;
        const uint8_t *at =
            (const uint8_t *)bytes + bc__trailer_dictionary_at(&trailer, i);
        CHECK(bc__trailer_get_dictionary(&trailer, at, i, &one));
        dictionaries[i] = arrow_block(bytes, one.offset, one.size);
    }
    struct flatbuffer footer =
        arrow_footer(bytes, dictionaries, (uint32_t)trailer.dictionaries, batches,
                     (uint32_t)trailer.batches);
    static const char magic[ARROW_HEAD] = "ARROW1\0";
    static const uint8_t marker[8] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    int32_t footer_size = (int32_t)footer.size;
    FILE *out = fopen(path, "wb");
    CHECK(out != NULL);
    CHECK(fwrite(magic, sizeof(magic), 1, out) == 1);
    CHECK(fwrite(bytes, (size_t)trailer.end, 1, out) == 1);
    CHECK(fwrite(marker, sizeof(marker), 1, out) == 1);
    CHECK(fwrite(footer.bytes, footer.size, 1, out) == 1);
    CHECK(fwrite(&footer_size, sizeof(footer_size), 1, out) == 1);
    CHECK(fwrite(magic, 6, 1, out) == 1 && fclose(out) == 0);
    free(footer.bytes);
    free(bytes);
}

#endif
