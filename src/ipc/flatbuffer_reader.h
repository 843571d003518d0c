/* Reads flatbuffers that nobody has verified.
 *
 * Nothing is checked ahead: each access checks the bounds of what it touches. What is
 * found broken is remembered, and reads as absent from then on, so that a reader asks for
 * all it wants and looks at `broken` before it believes any of it.
 *
 * Nothing needs to be aligned, the bytes themselves neither: arrow-rs up to 53 and Polars
 * up to 1.30 put structs of 8-byte numbers at 4 modulo 8, and no reader minds. So values
 * are copied out, and what points into the bytes is a `const void *`.
 *
 * Tables may be shared in a flatbuffer, so that few bytes can say much: n tables of two
 * references each are a tree of 2^n. So visits are counted, in bytes, and those that
 * would be worth more than a few times the size are broken too. Any walk ends, in linear
 * time. */
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

/* A table, or none: then `at` is 0 and all its fields are absent. */
struct bc_flat_table {
    uint32_t at;
    uint32_t vtable;
    uint32_t vtable_size;
    uint32_t size;
};

/* A vector, or none: then `at` is 0, and `n` too. */
struct bc_flat_vector {
    uint32_t at; /* of the first element */
    uint32_t n;
};

/* Begins with `bytes`: gives the root. They must outlive the reader. */
struct bc_flat_table bc__flat_init(struct bc_flat *flat, const uint8_t *bytes,
                                   size_t size);

/* Scalars; `absent` where the field is not there. `id` is the number of the field. */
uint8_t bc__flat_u8(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                    uint8_t absent);
int16_t bc__flat_i16(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int16_t absent);
int32_t bc__flat_i32(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int32_t absent);
int64_t bc__flat_i64(struct bc_flat *flat, const struct bc_flat_table *table, int id,
                     int64_t absent);

/* The table below; of a union, its value: its type is the u8 whose id is one less. */
struct bc_flat_table bc__flat_table(struct bc_flat *flat,
                                    const struct bc_flat_table *table, int id);

/* A string in the bytes, with a zero behind its `*out_size` characters, of which more may
 * be zero; NULL where it is absent. */
const char *bc__flat_string(struct bc_flat *flat, const struct bc_flat_table *table,
                            int id, size_t *out_size);

/* A vector of scalars or structs of `element_size` bytes, or of tables: 4. */
struct bc_flat_vector bc__flat_vector(struct bc_flat *flat,
                                      const struct bc_flat_table *table, int id,
                                      uint32_t element_size);
/* The first element, in the bytes, aligned to nothing; NULL when there is none. */
const void *bc__flat_elements(const struct bc_flat *flat,
                              const struct bc_flat_vector *vector);
/* Element `i`, which there is, of a vector of tables. */
struct bc_flat_table bc__flat_element(struct bc_flat *flat,
                                      const struct bc_flat_vector *vector, uint32_t i);

#endif
