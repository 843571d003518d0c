#include "ipc/endian.h"

#include <string.h>

#include "arrow/values.h"
#include "base/check.h"

enum bc_unit bc__unit_of_bits(int32_t bits) {
    switch (bits) {
        case 16:
            return BC_UNIT_2;
        case 32:
            return BC_UNIT_4;
        case 64:
            return BC_UNIT_8;
        case 128:
            return BC_UNIT_16;
        case 256:
            return BC_UNIT_32;
        default:
            return BC_UNIT_BYTE;
    }
}

enum bc_unit bc__unit_of_values(const struct bc_field *field) {
    if (field->kind == BC_LAYOUT_VIEW) return BC_UNIT_VIEW;
    /* Fixed-size binary. */
    if (field->kind == BC_LAYOUT_FIXED && field->alignment == 1) return BC_UNIT_BYTE;
    /* Intervals of several integers have the alignment of these integers. */
    if (field->bits == 64 && field->alignment == 4) return BC_UNIT_4;
    if (field->bits == 128 && field->alignment == 8) return BC_UNIT_MONTH_DAY_NANO;
    return bc__unit_of_bits(field->bits);
}

static void swap_2(uint8_t *out, const uint8_t *in, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t value;
        memcpy(&value, in + i * 2, sizeof(value));
        value = __builtin_bswap16(value);
        memcpy(out + i * 2, &value, sizeof(value));
    }
}

static void swap_4(uint8_t *out, const uint8_t *in, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t value;
        memcpy(&value, in + i * 4, sizeof(value));
        value = __builtin_bswap32(value);
        memcpy(out + i * 4, &value, sizeof(value));
    }
}

static void swap_8(uint8_t *out, const uint8_t *in, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint64_t value;
        memcpy(&value, in + i * 8, sizeof(value));
        value = __builtin_bswap64(value);
        memcpy(out + i * 8, &value, sizeof(value));
    }
}

/* Swaps units of `words` words of 8 bytes: the last word becomes the first. */
static void swap_wide(uint8_t *out, const uint8_t *in, int64_t n, int words) {
    for (int64_t i = 0; i < n; i++) {
        uint64_t value[4];
        uint64_t swapped[4];
        size_t size = (size_t)words * sizeof(value[0]);
        memcpy(value, in + i * (int64_t)size, size);
        for (int w = 0; w < words; w++) {
            swapped[w] = __builtin_bswap64(value[words - 1 - w]);
        }
        memcpy(out + i * (int64_t)size, swapped, size);
    }
}

static void swap_month_day_nano(uint8_t *out, const uint8_t *in, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        swap_4(out + i * 16, in + i * 16, 2);
        swap_8(out + i * 16 + 8, in + i * 16 + 8, 1);
    }
}

static void swap_views(uint8_t *out, const uint8_t *in, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        struct bc_view view;
        memcpy(&view, in + i * 16, sizeof(view));
        view.length = (int32_t)__builtin_bswap32((uint32_t)view.length);
        if (view.length > BC_VIEW_INLINE_MAX) {
            view.buffer = (int32_t)__builtin_bswap32((uint32_t)view.buffer);
            view.offset = (int32_t)__builtin_bswap32((uint32_t)view.offset);
        }
        memcpy(out + i * 16, &view, sizeof(view));
    }
}

void bc__swap_bytes(enum bc_unit unit, void *out, const void *in, int64_t bytes) {
    bc_assert(bytes >= 0);
    switch (unit) {
        case BC_UNIT_BYTE:
            memmove(out, in, (size_t)bytes);
            return;
        case BC_UNIT_2:
            swap_2(out, in, bytes / 2);
            return;
        case BC_UNIT_4:
            swap_4(out, in, bytes / 4);
            return;
        case BC_UNIT_8:
            swap_8(out, in, bytes / 8);
            return;
        case BC_UNIT_16:
            swap_wide(out, in, bytes / 16, 2);
            return;
        case BC_UNIT_32:
            swap_wide(out, in, bytes / 32, 4);
            return;
        case BC_UNIT_MONTH_DAY_NANO:
            swap_month_day_nano(out, in, bytes / 16);
            return;
        case BC_UNIT_VIEW:
            swap_views(out, in, bytes / 16);
            return;
    }
    bc_assert(!"every unit is handled");
}
