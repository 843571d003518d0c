/* Reads flatbuffers that were not verified.
 *
 * Each access checks the bounds of the bytes that it reads. If it finds invalid data, it
 * sets `broken`, and fields read as absent from then on. A caller may therefore read
 * several values, and check `broken` once before it uses them.
 *
 * Nothing needs to be aligned, not even the flatbuffer itself. arrow-rs up to 53 and
 * Polars up to 1.30 wrote structs of 8-byte integers at offsets 4 modulo 8, and all
 * readers accept them. Values are therefore copied out, and pointers into the bytes are
 * `const void *`.
 *
 * A flatbuffer may refer to a table several times: n tables with two references each are
 * a tree of 2^n tables. The visited bytes are therefore counted, and more than a few
 * times the size are invalid. Every walk ends in linear time. */
#ifndef BC_IPC_FLATBUFFER_READER_H
#define BC_IPC_FLATBUFFER_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bc_flat {
    const uint8_t *bytes; /* borrowed */
    uint32_t size;
    bool broken;
    uint64_t left; /* bytes that may still be visited */
};

/* A table. If there is none, `at` is 0 and all its fields are absent. */
struct bc_flat_table {
    uint32_t at;
    uint32_t vtable;
    uint32_t vtable_size;
    uint32_t size;
};

/* A vector. If there is none, `at` and `n` are 0. */
struct bc_flat_vector {
    uint32_t at; /* of the first element */
    uint32_t n;
};

/* Initialises a reader, and returns the root table. The bytes outlive the reader. */
struct bc_flat_table bc__flat_init(struct bc_flat *flat, const uint8_t *bytes,
                                   size_t size);

/* Return a scalar.
 * `id`: index of the field in the table.
 * `absent`: the result if the field is absent. */
uint8_t bc__flat_u8(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                    uint8_t absent);
int16_t bc__flat_i16(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int16_t absent);
int32_t bc__flat_i32(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int32_t absent);
int64_t bc__flat_i64(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int64_t absent);

/* Returns the table of a field, or the value of a union. The union's type is the u8 field
 * with the previous id. */
struct bc_flat_table bc__flat_table(struct bc_flat *flat,
                                    const struct bc_flat_table *table, int id);

/* Returns a string in the bytes, or NULL if it is absent. A zero follows its `*out_size`
 * bytes, which may have zeros too. */
const char *bc__flat_string(struct bc_flat *flat, const struct bc_flat_table *table,
                            int id, size_t *out_size);

/* Returns a vector. `element_size`: bytes of a scalar or a struct; 4 for tables. */
struct bc_flat_vector bc__flat_vector(struct bc_flat *flat,
                                      const struct bc_flat_table *table, int id,
                                      uint32_t element_size);
/* Returns the first element, in the bytes and unaligned, or NULL if there is none. */
const void *bc__flat_elements(const struct bc_flat *flat,
                              const struct bc_flat_vector *vector);
/* Returns element `i` of a vector of tables; `i` is in range. */
struct bc_flat_table bc__flat_element(struct bc_flat *flat,
                                      const struct bc_flat_vector *vector, uint32_t i);

#endif
