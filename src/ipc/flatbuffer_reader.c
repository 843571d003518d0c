#include "ipc/flatbuffer_reader.h"

#include <string.h>

#include "base/check.h"

/* Writers may share strings and tables. No writer shares so much that the visited bytes
 * exceed SHARING_MAX times the size. */
enum { SHARING_MAX = 4 };

/* Sizes in bytes. */
enum {
    OFFSET = 4,      /* to a table, vector or string */
    ENTRY = 2,       /* of a vtable */
    VTABLE_HEAD = 4, /* the sizes of the vtable and of its table */
    TABLE_HEAD = 4   /* the offset of its vtable */
};

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

static void mark_broken(struct bc_flat *flat) { flat->broken = true; }

/* Counts `bytes` visited bytes. It returns false if they are too many. */
static bool visit(struct bc_flat *flat, uint64_t bytes) {
    if (bytes > flat->left) {
        mark_broken(flat);
        return false;
    }
    flat->left -= bytes;
    return true;
}

/* Returns the target of the offset at `at`, or 0. At least OFFSET bytes follow it. */
static uint32_t follow(struct bc_flat *flat, uint32_t at) {
    uint32_t offset = load_u32(flat, at);
    uint64_t target = (uint64_t)at + offset;
    if (offset == 0 || target > flat->size - OFFSET) {
        mark_broken(flat);
        return 0;
    }
    return (uint32_t)target;
}

/* Returns the table at `at`, a result of follow(). */
static struct bc_flat_table open_table(struct bc_flat *flat, uint32_t at) {
    static const struct bc_flat_table none;
    if (at == 0) return none;
    int64_t vtable = (int64_t)at - (int32_t)load_u32(flat, at);
    if (vtable < 0 || vtable > flat->size - VTABLE_HEAD) {
        mark_broken(flat);
        return none;
    }
    struct bc_flat_table table = {.at = at, .vtable = (uint32_t)vtable};
    table.vtable_size = load_u16(flat, table.vtable);
    table.size = load_u16(flat, table.vtable + ENTRY);
    if (table.vtable_size < VTABLE_HEAD || table.vtable_size % ENTRY != 0 ||
        table.vtable_size > flat->size - table.vtable || table.size < TABLE_HEAD ||
        table.size > flat->size - at) {
        mark_broken(flat);
        return none;
    }
    return visit(flat, table.size) ? table : none;
}

/* Returns the position of a field of `width` bytes, or 0 if it is absent. */
static uint32_t field_of(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                         uint32_t width) {
    bc_assert(id >= 0 && id < 1024);
    if (table->at == 0 || flat->broken) return 0;
    uint32_t entry = VTABLE_HEAD + (uint32_t)id * ENTRY;
    if (entry >= table->vtable_size) return 0;
    uint32_t offset = load_u16(flat, table->vtable + entry);
    if (offset == 0) return 0;
    if (offset < TABLE_HEAD || offset + width > table->size) {
        mark_broken(flat);
        return 0;
    }
    return table->at + offset;
}

/* Returns the target of a field, or 0 if the field is absent. */
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
        mark_broken(flat);
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
        mark_broken(flat);
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
        mark_broken(flat);
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
