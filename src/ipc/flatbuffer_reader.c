#include "ipc/flatbuffer_reader.h"

#include <string.h>

#include "base/check.h"

/* Writers may share strings and the like; none shares so much that what a reader visits
 * is more than so many times the size. */
enum { SHARING_MAX = 4 };

/* Sizes of offsets to tables, vectors and strings, of a vtable's entries, and of what a
 * vtable (its own size, the table's) and a table (where its vtable is) begin with. */
enum { OFFSET = 4, ENTRY = 2, VTABLE_HEAD = 4, TABLE_HEAD = 4 };

static uint16_t load_u16(const struct bc_flat *flat, uint32_t at) {
    uint16_t value;
    memcpy(&value, flat->bytes + at, sizeof(value));
    return value;
}

static uint32_t load_u32(const struct bc_flat *flat, uint32_t at) {
    uint32_t value;
    memcpy(&value, flat->bytes + at, sizeof(value));
    return value;
}

/* Notes that something is broken. */
static void fail(struct bc_flat *flat) { flat->broken = true; }

/* Visits `bytes`; false when it was too much. */
static bool visit(struct bc_flat *flat, uint64_t bytes) {
    if (bytes > flat->left) {
        fail(flat);
        return false;
    }
    flat->left -= bytes;
    return true;
}

/* Follows the offset that stands at `at`: the place that it leads to, where there is
 * another offset's worth of bytes; or 0. */
static uint32_t follow(struct bc_flat *flat, uint32_t at) {
    uint32_t offset = load_u32(flat, at);
    uint64_t target = (uint64_t)at + offset;
    if (offset == 0 || target > flat->size - OFFSET) {
        fail(flat);
        return 0;
    }
    return (uint32_t)target;
}

/* The table at `at`, which came from follow(). */
static struct bc_flat_table open_table(struct bc_flat *flat, uint32_t at) {
    static const struct bc_flat_table none;
    if (at == 0) return none;
    int64_t vtable = (int64_t)at - (int32_t)load_u32(flat, at);
    if (vtable < 0 || vtable > flat->size - VTABLE_HEAD) {
        fail(flat);
        return none;
    }
    struct bc_flat_table table = {.at = at, .vtable = (uint32_t)vtable};
    table.vtable_size = load_u16(flat, table.vtable);
    table.size = load_u16(flat, table.vtable + ENTRY);
    if (table.vtable_size < VTABLE_HEAD || table.vtable_size % ENTRY != 0 ||
        table.vtable_size > flat->size - table.vtable || table.size < TABLE_HEAD ||
        table.size > flat->size - at) {
        fail(flat);
        return none;
    }
    return visit(flat, table.size) ? table : none;
}

/* Where the field of `width` bytes is; 0 when it is absent. */
static uint32_t field_of(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                         uint32_t width) {
    bc_assert(id >= 0 && id < 1024);
    if (table->at == 0 || flat->broken) return 0;
    uint32_t entry = VTABLE_HEAD + (uint32_t)id * ENTRY;
    if (entry >= table->vtable_size) return 0;
    uint32_t offset = load_u16(flat, table->vtable + entry);
    if (offset == 0) return 0;
    if (offset < TABLE_HEAD || offset + width > table->size) {
        fail(flat);
        return 0;
    }
    return table->at + offset;
}

/* Where what the field refers to is; 0 when it is absent. */
static uint32_t target_of(struct bc_flat *flat, const struct bc_flat_table *table,
                          int id) {
    uint32_t at = field_of(flat, table, id, OFFSET);
    return at == 0 ? 0 : follow(flat, at);
}

struct bc_flat_table bc__flat_init(struct bc_flat *flat, const uint8_t *bytes,
                                   size_t size) {
    static const struct bc_flat_table none;
    *flat = (struct bc_flat){.bytes = bytes, .left = (uint64_t)size * SHARING_MAX};
    if (size < OFFSET + TABLE_HEAD || size > INT32_MAX) {
        fail(flat);
        return none;
    }
    flat->size = (uint32_t)size;
    return open_table(flat, follow(flat, 0));
}

uint8_t bc__flat_u8(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                    uint8_t absent) {
    uint32_t at = field_of(flat, table, id, 1);
    return at == 0 ? absent : flat->bytes[at];
}

int16_t bc__flat_i16(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int16_t absent) {
    uint32_t at = field_of(flat, table, id, sizeof(absent));
    return at == 0 ? absent : (int16_t)load_u16(flat, at);
}

int32_t bc__flat_i32(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int32_t absent) {
    uint32_t at = field_of(flat, table, id, sizeof(absent));
    return at == 0 ? absent : (int32_t)load_u32(flat, at);
}

int64_t bc__flat_i64(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int64_t absent) {
    uint32_t at = field_of(flat, table, id, sizeof(absent));
    if (at != 0) memcpy(&absent, flat->bytes + at, sizeof(absent));
    return absent;
}

struct bc_flat_table bc__flat_table(struct bc_flat *flat,
                                    const struct bc_flat_table *table, int id) {
    return open_table(flat, target_of(flat, table, id));
}

const char *bc__flat_string(struct bc_flat *flat, const struct bc_flat_table *table,
                            int id, size_t *out_size) {
    *out_size = 0;
    uint32_t at = target_of(flat, table, id);
    if (at == 0) return NULL;
    uint32_t size = load_u32(flat, at);
    at += OFFSET;
    if (size >= flat->size - at || flat->bytes[at + size] != 0) {
        fail(flat);
        return NULL;
    }
    if (!visit(flat, (uint64_t)size + 1)) return NULL;
    *out_size = size;
    return (const char *)flat->bytes + at;
}

struct bc_flat_vector bc__flat_vector(struct bc_flat *flat,
                                      const struct bc_flat_table *table, int id,
                                      uint32_t element_size) {
    static const struct bc_flat_vector none;
    uint32_t at = target_of(flat, table, id);
    if (at == 0) return none;
    struct bc_flat_vector vector = {.at = at + OFFSET, .n = load_u32(flat, at)};
    uint64_t bytes = (uint64_t)vector.n * element_size;
    if (bytes > flat->size - vector.at) {
        fail(flat);
        return none;
    }
    return visit(flat, bytes) ? vector : none;
}

const void *bc__flat_elements(const struct bc_flat *flat,
                              const struct bc_flat_vector *vector) {
    return vector->n == 0 ? NULL : flat->bytes + vector->at;
}

struct bc_flat_table bc__flat_element(struct bc_flat *flat,
                                      const struct bc_flat_vector *vector, uint32_t i) {
    bc_assert(i < vector->n);
    return open_table(flat, follow(flat, vector->at + i * OFFSET));
}
