#include "ipc/type_read.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "nanoarrow/nanoarrow.h"

/* Field ids and values of Arrow's Schema.fbs. */
enum { FIELD_TYPE_KIND = 2, FIELD_TYPE = 3 };
enum {
    TYPE_NONE,
    TYPE_NULL,
    TYPE_INT,
    TYPE_FLOAT,
    TYPE_BINARY,
    TYPE_UTF8,
    TYPE_BOOL,
    TYPE_DECIMAL,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_TIMESTAMP,
    TYPE_INTERVAL,
    TYPE_LIST,
    TYPE_STRUCT,
    TYPE_UNION,
    TYPE_FIXED_SIZE_BINARY,
    TYPE_FIXED_SIZE_LIST,
    TYPE_MAP,
    TYPE_DURATION,
    TYPE_LARGE_BINARY,
    TYPE_LARGE_UTF8,
    TYPE_LARGE_LIST,
    TYPE_RUN_END_ENCODED,
    TYPE_BINARY_VIEW,
    TYPE_UTF8_VIEW,
    TYPE_LIST_VIEW,
    TYPE_LARGE_LIST_VIEW
};
enum { INT_BITS, INT_SIGNED };
enum { DECIMAL_PRECISION, DECIMAL_SCALE, DECIMAL_BITS };
enum { TIME_UNIT, TIME_BITS };
enum { TIMESTAMP_UNIT, TIMESTAMP_ZONE };
enum { UNION_MODE, UNION_IDS };
enum { UNIT_SECOND, UNIT_MILLISECOND, UNIT_MICROSECOND, UNIT_NANOSECOND };
/* The parameter of a type with one parameter. */
enum { PARAMETER };
enum { UNION_CHILDREN_MAX = 128 };

/* A type being read. */
struct type {
    struct bc_flat *flat;
    struct bc_flat_table table;
    struct ArrowSchema *out; /* gets the format */
    struct bc_type_problem *problem;
};

__attribute__((format(printf, 3, 4))) static int type_error(const struct type *type,
                                                            int code, const char *format,
                                                            ...) {
    va_list args;
    va_start(args, format);
    char *message = type->problem->message;
    int needed = vsnprintf(message, sizeof(type->problem->message), format, args);
    va_end(args);
    if (needed >= (int)sizeof(type->problem->message)) bc__text_end(message);
    return code;
}

/* Sets the format. nanoarrow fails only without memory. */
static int set_format(const struct type *type, const char *format) {
    return ArrowSchemaSetFormat(type->out, format) == 0 ? 0 : ENOMEM;
}

static int read_int(const struct type *type) {
    int32_t bits = bc__flat_i32(type->flat, &type->table, INT_BITS, 0);
    bool is_signed = bc__flat_u8(type->flat, &type->table, INT_SIGNED, 0) != 0;
    switch (bits) {
        case 8:
            return set_format(type, is_signed ? "c" : "C");
        case 16:
            return set_format(type, is_signed ? "s" : "S");
        case 32:
            return set_format(type, is_signed ? "i" : "I");
        case 64:
            return set_format(type, is_signed ? "l" : "L");
        default:
            return type_error(type, EINVAL, "has integers of %d bits", (int)bits);
    }
}

static int read_float(const struct type *type) {
    static const char *const formats[] = {"e", "f", "g"};
    int16_t precision = bc__flat_i16(type->flat, &type->table, PARAMETER, 0);
    if (precision < 0 || precision > 2) {
        return type_error(type, EINVAL, "has floating point numbers of precision %d",
                          precision);
    }
    return set_format(type, formats[precision]);
}

static int read_decimal(const struct type *type) {
    int32_t precision = bc__flat_i32(type->flat, &type->table, DECIMAL_PRECISION, 0);
    int32_t scale = bc__flat_i32(type->flat, &type->table, DECIMAL_SCALE, 0);
    int32_t bits = bc__flat_i32(type->flat, &type->table, DECIMAL_BITS, 128);
    int32_t digits = bits == 32    ? 9
                     : bits == 64  ? 18
                     : bits == 128 ? 38
                     : bits == 256 ? 76
                                   : 0;
    if (precision < 1 || precision > digits) {
        return type_error(type, EINVAL, "has decimals of %d digits in %d bits",
                          (int)precision, (int)bits);
    }
    char format[48];
    int length = snprintf(format, sizeof(format), "d:%d,%d", (int)precision, (int)scale);
    if (bits != 128) {
        (void)snprintf(format + length, sizeof(format) - (size_t)length, ",%d",
                       (int)bits);
    }
    return set_format(type, format);
}

/* Returns the letter of a unit, or 0. */
static char letter_of(int16_t unit) {
    return unit >= UNIT_SECOND && unit <= UNIT_NANOSECOND ? "smun"[unit] : 0;
}

static int unit_error(const struct type *type, int16_t unit) {
    return type_error(type, EINVAL, "has times of an unknown unit, %d", unit);
}

static int read_date(const struct type *type) {
    int16_t unit = bc__flat_i16(type->flat, &type->table, PARAMETER, 1);
    if (unit != 0 && unit != 1) return unit_error(type, unit);
    return set_format(type, unit == 0 ? "tdD" : "tdm");
}

static int read_time(const struct type *type) {
    int16_t unit = bc__flat_i16(type->flat, &type->table, TIME_UNIT, UNIT_MILLISECOND);
    int32_t bits = bc__flat_i32(type->flat, &type->table, TIME_BITS, 32);
    if (letter_of(unit) == 0) return unit_error(type, unit);
    if (bits != (unit <= UNIT_MILLISECOND ? 32 : 64)) {
        return type_error(type, EINVAL, "has times of unit %d in %d bits", unit,
                          (int)bits);
    }
    char format[] = {'t', 't', letter_of(unit), '\0'};
    return set_format(type, format);
}

static int read_timestamp(const struct type *type) {
    int16_t unit = bc__flat_i16(type->flat, &type->table, TIMESTAMP_UNIT, UNIT_SECOND);
    if (letter_of(unit) == 0) return unit_error(type, unit);
    size_t size;
    const char *zone = bc__flat_string(type->flat, &type->table, TIMESTAMP_ZONE, &size);
    char start[] = {'t', 's', letter_of(unit), ':', '\0'};
    if (zone == NULL || size == 0) return set_format(type, start);
    if (strlen(zone) != size) {
        return type_error(type, ENOTSUP, "has a time zone with a zero byte in its name");
    }
    char *format = bc__malloc(sizeof(start) + size);
    if (format == NULL) return ENOMEM;
    memcpy(format, start, sizeof(start) - 1);
    memcpy(format + sizeof(start) - 1, zone, size + 1);
    int code = set_format(type, format);
    bc__free(format);
    return code;
}

static int read_duration(const struct type *type) {
    int16_t unit = bc__flat_i16(type->flat, &type->table, PARAMETER, UNIT_MILLISECOND);
    if (letter_of(unit) == 0) return unit_error(type, unit);
    char format[] = {'t', 'D', letter_of(unit), '\0'};
    return set_format(type, format);
}

static int read_interval(const struct type *type) {
    static const char *const formats[] = {"tiM", "tiD", "tin"};
    int16_t unit = bc__flat_i16(type->flat, &type->table, PARAMETER, 0);
    if (unit < 0 || unit > 2) return unit_error(type, unit);
    return set_format(type, formats[unit]);
}

static int read_fixed_size(const struct type *type, const char *letters) {
    int32_t size = bc__flat_i32(type->flat, &type->table, PARAMETER, 0);
    if (size < 0) return type_error(type, EINVAL, "has values of size %d", (int)size);
    char format[24];
    (void)snprintf(format, sizeof(format), "%s:%d", letters, (int)size);
    return set_format(type, format);
}

/* Reads a union. Without ids, child i has id i. */
static int read_union(const struct type *type, uint32_t n_children) {
    int16_t mode = bc__flat_i16(type->flat, &type->table, UNION_MODE, 0);
    struct bc_flat_vector ids =
        bc__flat_vector(type->flat, &type->table, UNION_IDS, sizeof(int32_t));
    if (mode != 0 && mode != 1) {
        return type_error(type, EINVAL, "is a union of an unknown mode, %d", mode);
    }
    if (n_children > UNION_CHILDREN_MAX || (ids.n > 0 && ids.n != n_children)) {
        return type_error(type, EINVAL, "is a union of %u types with %u ids",
                          (unsigned)n_children, (unsigned)ids.n);
    }
    const uint8_t *elements = bc__flat_elements(type->flat, &ids);
    char format[8 + UNION_CHILDREN_MAX * 4];
    size_t length = 0;
    length += (size_t)snprintf(format, sizeof(format), "+u%c:", mode == 0 ? 's' : 'd');
    for (uint32_t i = 0; i < n_children; i++) {
        int32_t id = (int32_t)i;
        if (elements != NULL) memcpy(&id, elements + i * sizeof(id), sizeof(id));
        if (id < 0 || id >= UNION_CHILDREN_MAX) {
            return type_error(type, EINVAL, "is a union with the type id %d", (int)id);
        }
        length += (size_t)snprintf(format + length, sizeof(format) - length, "%s%d",
                                   i == 0 ? "" : ",", (int)id);
    }
    return set_format(type, format);
}

static int read_map(const struct type *type) {
    if (bc__flat_u8(type->flat, &type->table, PARAMETER, 0) != 0) {
        type->out->flags |= ARROW_FLAG_MAP_KEYS_SORTED;
    }
    return set_format(type, "+m");
}

int bc__type_read_int(struct bc_flat *flat, const struct bc_flat_table *type,
                      struct ArrowSchema *out_schema,
                      struct bc_type_problem *out_problem) {
    struct type index = {flat, *type, out_schema, out_problem};
    return read_int(&index);
}

int bc__type_read(struct bc_flat *flat, const struct bc_flat_table *field,
                  uint32_t n_children, struct ArrowSchema *out_schema,
                  struct bc_type_problem *out_problem) {
    uint8_t kind = bc__flat_u8(flat, field, FIELD_TYPE_KIND, TYPE_NONE);
    struct type type = {flat, bc__flat_table(flat, field, FIELD_TYPE), out_schema,
                        out_problem};
    /* A type without parameters has an empty table. */
    if (kind == TYPE_NONE || type.table.at == 0) {
        return type_error(&type, EINVAL, "has no type");
    }
    switch (kind) {
        case TYPE_NULL:
            return set_format(&type, "n");
        case TYPE_INT:
            return read_int(&type);
        case TYPE_FLOAT:
            return read_float(&type);
        case TYPE_BINARY:
            return set_format(&type, "z");
        case TYPE_UTF8:
            return set_format(&type, "u");
        case TYPE_BOOL:
            return set_format(&type, "b");
        case TYPE_DECIMAL:
            return read_decimal(&type);
        case TYPE_DATE:
            return read_date(&type);
        case TYPE_TIME:
            return read_time(&type);
        case TYPE_TIMESTAMP:
            return read_timestamp(&type);
        case TYPE_INTERVAL:
            return read_interval(&type);
        case TYPE_LIST:
            return set_format(&type, "+l");
        case TYPE_STRUCT:
            return set_format(&type, "+s");
        case TYPE_UNION:
            return read_union(&type, n_children);
        case TYPE_FIXED_SIZE_BINARY:
            return read_fixed_size(&type, "w");
        case TYPE_FIXED_SIZE_LIST:
            return read_fixed_size(&type, "+w");
        case TYPE_MAP:
            return read_map(&type);
        case TYPE_DURATION:
            return read_duration(&type);
        case TYPE_LARGE_BINARY:
            return set_format(&type, "Z");
        case TYPE_LARGE_UTF8:
            return set_format(&type, "U");
        case TYPE_LARGE_LIST:
            return set_format(&type, "+L");
        case TYPE_RUN_END_ENCODED:
            return set_format(&type, "+r");
        case TYPE_BINARY_VIEW:
            return set_format(&type, "vz");
        case TYPE_UTF8_VIEW:
            return set_format(&type, "vu");
        case TYPE_LIST_VIEW:
            return set_format(&type, "+vl");
        case TYPE_LARGE_LIST_VIEW:
            return set_format(&type, "+vL");
        default:
            return type_error(&type, ENOTSUP,
                              "has a type that is not known here, number %d", kind);
    }
}
