/* Writes the trailer, which makes a recording complete and quick to open. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/statistics.h"

enum { CHUNK_ENTRIES = 1024 };

/* Collects entries in chunks and writes each chunk to the file. */
struct entry_writer {
    struct bc_file *file;
    uint8_t *chunk;
    size_t used;
    int64_t offset; /* of the chunk in the file */
    struct bc_error *error;
};

static int flush_entries(struct entry_writer *writer) {
    int code = bc__file_write_behind(writer->file, writer->chunk, writer->used,
                                     writer->offset, writer->error);
    writer->offset += (int64_t)writer->used;
    writer->used = 0;
    return code;
}

/* Returns memory for an entry of `size` bytes, or NULL and an errno in `*code`. */
static uint8_t *reserve_entry(struct entry_writer *writer, size_t size, int *code) {
    if (writer->used + size > (size_t)CHUNK_ENTRIES * BC_TRAILER_DICTIONARY) {
        *code = flush_entries(writer);
        if (*code != 0) return NULL;
    }
    uint8_t *out = writer->chunk + writer->used;
    writer->used += size;
    return out;
}

static int put_batches(struct entry_writer *writer, const struct bc_index *index) {
    for (uint64_t i = 0; i < index->batches; i++) {
        struct bc_index_entry entry;
        int code = index->entry(index->context, i, &entry, writer->error);
        if (code != 0) return code;
        if (entry.extent.size == 0) {
            return bc__error_set_kind(
                writer->error, BC_ERROR_NOT_ON_DISK, EINVAL,
                "Batch %llu is not in the file, so the file cannot be completed",
                (unsigned long long)i);
        }
        const struct bc_trailer_batch batch = {entry.extent.offset, entry.extent.size,
                                               (int64_t)entry.first_row};
        uint8_t *out = reserve_entry(writer, BC_TRAILER_BATCH, &code);
        if (out == NULL) return code;
        bc__trailer_put_batch(out, &batch, (int64_t)i);
    }
    return 0;
}

static int put_dictionaries(struct entry_writer *writer,
                            struct bc_dictionaries *dictionaries) {
    int64_t number = 0;
    for (int32_t i = 0; i < dictionaries->n; i++) {
        const struct bc_dictionary *dictionary = &dictionaries->all[i];
        bc_assert(dictionary->n_released == 0);
        for (size_t v = 0; v < dictionary->n_versions; v++) {
            const struct bc_dictionary_version *version = &dictionary->versions[v];
            const struct bc_trailer_dictionary entry = {
                .offset = version->extent.offset,
                .size = version->extent.size,
                .length = version->length,
                .id = (int32_t)bc__dictionaries_id(dictionaries, i),
                .is_delta = version->base != version->number,
            };
            int code = 0;
            uint8_t *out = reserve_entry(writer, BC_TRAILER_DICTIONARY, &code);
            if (out == NULL) return code;
            bc__trailer_put_dictionary(out, &entry, number++);
        }
    }
    return 0;
}

/* Pads the entries, and writes the statistics. */
static int put_statistics(struct entry_writer *writer,
                          const struct bc_statistics_section *statistics,
                          const struct bc_trailer *trailer) {
    int64_t at = bc__trailer_statistics_at(trailer);
    int code = flush_entries(writer);
    if (code != 0) return code;
    int64_t padding = at - writer->offset;
    bc_assert(padding >= 0 && padding < 64);
    memset(writer->chunk, 0, (size_t)padding);
    writer->used = (size_t)padding;
    code = flush_entries(writer);
    if (code == 0 && trailer->statistics_bytes > 0) {
        code = bc__statistics_write(statistics, writer->file, at, writer->error);
        writer->offset += trailer->statistics_bytes;
    }
    return code;
}

static int put_footer(struct entry_writer *writer, const struct bc_trailer *trailer) {
    bc__trailer_put_footer(writer->chunk, trailer);
    writer->used = BC_TRAILER_FOOTER;
    return flush_entries(writer);
}

/* Writes all but the marker, then publishes the marker, which completes the recording. */
static int write_trailer(struct bc_disk *disk, const struct bc_index *index,
                         const struct bc_statistics_section *statistics,
                         const struct bc_trailer *trailer, struct bc_error *error) {
    static const uint8_t marker[BC_TRAILER_MARKER] = {0xff, 0xff, 0xff, 0xff};
    struct entry_writer writer = {&disk->file, NULL, 0, trailer->end + BC_TRAILER_MARKER,
                                  error};
    writer.chunk = bc__malloc((size_t)CHUNK_ENTRIES * BC_TRAILER_DICTIONARY);
    if (writer.chunk == NULL) return bc__error_memory(error);
    int code = bc__file_cut(&disk->file, error);
    if (code == 0) code = put_batches(&writer, index);
    if (code == 0) code = put_dictionaries(&writer, &disk->dictionaries);
    if (code == 0) code = put_statistics(&writer, statistics, trailer);
    if (code == 0) code = put_footer(&writer, trailer);
    if (code == 0) {
        code = bc__file_publish(&disk->file, marker, trailer->end,
                                bc__trailer_file_size(trailer), error);
    }
    bc__free(writer.chunk);
    return code;
}

int bc__disk_finalize(struct bc_disk *disk, const struct bc_index *index,
                      struct bc_error *error) {
    if (atomic_load_explicit(&disk->has_trailer, memory_order_acquire)) return 0;
    int code = disk->schema_bytes == 0 ? bc__disk_append_schema(disk, error) : 0;
    if (code == 0) code = bc__file_flush(&disk->file, error);
    if (code != 0) return code;
    struct bc_trailer trailer = {
        .end = atomic_load(&disk->file.size),
        .schema_bytes = disk->schema_bytes,
        .batches = (int64_t)index->batches,
        .rows = (int64_t)index->rows,
        .bytes = (int64_t)index->bytes,
        .schema_checksum = disk->schema_checksum,
        .checksums = disk->encoder.checksums,
    };
    for (int32_t i = 0; i < disk->dictionaries.n; i++) {
        trailer.dictionaries += (int64_t)disk->dictionaries.all[i].n_versions;
    }
    struct bc_statistics_section statistics;
    code = bc__statistics_encode(&statistics, index, error);
    if (code != 0) return code;
    trailer.statistics_bytes = bc__statistics_section_bytes(&statistics);
    if (trailer.statistics_bytes > 0) {
        trailer.statistics_schema_bytes = statistics.schema_bytes;
        trailer.statistics_schema_checksum =
            bc__checksum(statistics.schema, (size_t)statistics.schema_bytes);
        const struct bc_iovec *metadata = &statistics.batch.iovecs[0];
        trailer.statistics_checksum =
            bc__trailer_tie(&trailer, metadata->data, metadata->size);
    }
    code = write_trailer(disk, index, &statistics, &trailer, error);
    bc__statistics_section_finish(&statistics);
    if (code != 0) {
        (void)bc__file_cut(&disk->file, NULL);
        return code;
    }
    disk->trailer = trailer;
    atomic_store_explicit(&disk->has_trailer, true, memory_order_release);
    /* A recording without a name stays locked, or another process would take it for
     * abandoned. */
    if (disk->file.is_named) bc__sys_unlock(disk->file.file);
    return 0;
}
