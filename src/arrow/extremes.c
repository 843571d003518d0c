#include "arrow/extremes.h"

#include <math.h>
#include <string.h>

#include "arrow/bits.h"
#include "arrow/values.h"
#include "base/check.h"

static bool is_valid_at(const struct bc_numbers *numbers, int64_t i) {
    return bc__is_valid(numbers->valid, numbers->valid_start + i);
}

/* ---- numbers of 8 to 64 bits ----
 *
 * A block of numbers is compared lane by lane, which compilers turn into vector
 * instructions. For the instructions of newer processors, each function exists twice, and
 * the processor is asked once. */

enum { BLOCK = 64, LANE_BYTES = 256, FEW = 16 };

#if defined(__x86_64__) && defined(__GNUC__)
#define WIDE __attribute__((target("avx2")))
static bool is_wide(void) { return __builtin_cpu_supports("avx2"); }
#else
#define WIDE
static bool is_wide(void) { return false; }
#endif
/* Fewer lanes would wait for each other, more would not fit into the registers. */
#define LANES_OF(T) (LANE_BYTES / sizeof(T) < BLOCK ? LANE_BYTES / sizeof(T) : BLOCK)
#define INLINE static inline __attribute__((always_inline))

/* `T` is a type of numbers, from LOWEST to HIGHEST. NaN is unequal to itself, and no
 * comparison with it is true, so a NaN replaces no extreme. `odd`: NaN or an infinity was
 * found. */
#define DEFINE_EXTREMES(T, LOWEST, HIGHEST)                                             \
    struct extremes_##T {                                                               \
        T low[LANES_OF(T)];                                                             \
        T high[LANES_OF(T)];                                                            \
        T odd[LANES_OF(T)];                                                             \
    };                                                                                  \
    INLINE void add_##T(struct extremes_##T *all, const T *values) {                    \
        enum { LANES = LANES_OF(T) };                                                   \
        for (int i = 0; i < LANES; i++) {                                               \
            T value = values[i];                                                        \
            all->low[i] = value < all->low[i] ? value : all->low[i];                    \
            all->high[i] = value > all->high[i] ? value : all->high[i];                 \
            all->odd[i] = (T)(all->odd[i] + (value - value));                           \
        }                                                                               \
    }                                                                                   \
    INLINE void walk_##T(const struct bc_numbers *numbers, struct extremes_##T *out) {  \
        enum { LANES = LANES_OF(T) };                                                   \
        const T *values = (const T *)numbers->values + numbers->start;                  \
        struct extremes_##T all;                                                        \
        for (int i = 0; i < LANES; i++) {                                               \
            all.low[i] = HIGHEST;                                                       \
            all.high[i] = LOWEST;                                                       \
            all.odd[i] = 0;                                                             \
        }                                                                               \
        int64_t n = numbers->length;                                                    \
        int64_t at = 0;                                                                 \
        if (numbers->valid == NULL) {                                                   \
            for (; at + LANES <= n; at += LANES) add_##T(&all, values + at);            \
        }                                                                               \
        for (; at < n; at += BLOCK) {                                                   \
            int size = n - at < BLOCK ? (int)(n - at) : BLOCK;                          \
            uint64_t valid = size < BLOCK ? (UINT64_C(1) << size) - 1 : UINT64_MAX;     \
            if (numbers->valid != NULL) {                                               \
                valid = bc__bits_load(numbers->valid, numbers->valid_start + at, size); \
            }                                                                           \
            if (valid == 0) continue;                                                   \
            /* A valid number of the block takes the places of all that are not. */     \
            T block[BLOCK];                                                             \
            T one = values[at + __builtin_ctzll(valid)];                                \
            for (int i = 0; i < BLOCK; i++) {                                           \
                block[i] = i < size && (valid >> i & 1) != 0 ? values[at + i] : one;    \
            }                                                                           \
            for (int i = 0; i < BLOCK; i += LANES) add_##T(&all, block + i);            \
        }                                                                               \
        *out = all;                                                                     \
    }                                                                                   \
    WIDE static void walk_wide_##T(const struct bc_numbers *numbers,                    \
                                   struct extremes_##T *out) {                          \
        walk_##T(numbers, out);                                                         \
    }                                                                                   \
    typedef struct {                                                                    \
        T low, high;                                                                    \
    } ends_##T;                                                                         \
    static ends_##T join_##T(const struct bc_numbers *numbers, bool *odd) {             \
        struct extremes_##T all;                                                        \
        if (is_wide()) {                                                                \
            walk_wide_##T(numbers, &all);                                               \
        } else {                                                                        \
            walk_##T(numbers, &all);                                                    \
        }                                                                               \
        ends_##T ends = {HIGHEST, LOWEST};                                              \
        for (size_t i = 0; i < LANES_OF(T); i++) {                                      \
            if (all.low[i] < ends.low) ends.low = all.low[i];                           \
            if (all.high[i] > ends.high) ends.high = all.high[i];                       \
            if (all.odd[i] != 0) *odd = true;                                           \
        }                                                                               \
        return ends;                                                                    \
    }                                                                                   \
    static bool find_##T(const struct bc_numbers *numbers, uint8_t *out_low,            \
                         uint8_t *out_high, bool *out_odd) {                            \
        ends_##T ends = {HIGHEST, LOWEST};                                              \
        *out_odd = false;                                                               \
        if (numbers->length > FEW) {                                                    \
            ends = join_##T(numbers, out_odd);                                          \
        } else {                                                                        \
            const T *values = (const T *)numbers->values + numbers->start;              \
            for (int64_t i = 0; i < numbers->length; i++) {                             \
                if (!is_valid_at(numbers, i)) continue;                                 \
                if (values[i] < ends.low) ends.low = values[i];                         \
                if (values[i] > ends.high) ends.high = values[i];                       \
                if (values[i] - values[i] != 0) *out_odd = true;                        \
            }                                                                           \
        }                                                                               \
        memcpy(out_low, &ends.low, sizeof(ends.low));                                   \
        memcpy(out_high, &ends.high, sizeof(ends.high));                                \
        return ends.low <= ends.high;                                                   \
    }

DEFINE_EXTREMES(int8_t, INT8_MIN, INT8_MAX)
DEFINE_EXTREMES(int16_t, INT16_MIN, INT16_MAX)
DEFINE_EXTREMES(int32_t, INT32_MIN, INT32_MAX)
DEFINE_EXTREMES(int64_t, INT64_MIN, INT64_MAX)
DEFINE_EXTREMES(uint8_t, 0, UINT8_MAX)
DEFINE_EXTREMES(uint16_t, 0, UINT16_MAX)
DEFINE_EXTREMES(uint32_t, 0, UINT32_MAX)
DEFINE_EXTREMES(uint64_t, 0, UINT64_MAX)
DEFINE_EXTREMES(float, -INFINITY, INFINITY)
DEFINE_EXTREMES(double, -INFINITY, INFINITY)

static int64_t count_nans(const struct bc_numbers *numbers) {
    int64_t nans = 0;
    for (int64_t i = 0; i < numbers->length; i++) {
        int64_t at = numbers->start + i;
        bool is_nan = numbers->bits == 32
                          ? isnan(((const float *)numbers->values)[at]) != 0
                          : isnan(((const double *)numbers->values)[at]) != 0;
        if (is_nan && is_valid_at(numbers, i)) nans++;
    }
    return nans;
}

static bool find_integers(const struct bc_numbers *numbers, uint8_t *low, uint8_t *high) {
    bool odd;
    bool is_signed = numbers->kind == BC_NUMBER_SIGNED;
    switch (numbers->bits) {
        case 8:
            return is_signed ? find_int8_t(numbers, low, high, &odd)
                             : find_uint8_t(numbers, low, high, &odd);
        case 16:
            return is_signed ? find_int16_t(numbers, low, high, &odd)
                             : find_uint16_t(numbers, low, high, &odd);
        case 32:
            return is_signed ? find_int32_t(numbers, low, high, &odd)
                             : find_uint32_t(numbers, low, high, &odd);
        default:
            bc_assert(numbers->bits == 64);
            return is_signed ? find_int64_t(numbers, low, high, &odd)
                             : find_uint64_t(numbers, low, high, &odd);
    }
}

/* ---- half floats ---- */

/* Returns an integer that is ordered as the half floats are. */
static int32_t half_key(uint16_t bits) {
    int32_t size = bits & 0x7fff;
    return (bits & 0x8000) != 0 ? -size - 1 : size;
}

static uint16_t half_of_key(int32_t key) {
    return key < 0 ? (uint16_t)(0x8000 | (-key - 1)) : (uint16_t)key;
}

static bool find_halves(const struct bc_numbers *numbers, uint8_t *out_low,
                        uint8_t *out_high, int64_t *out_nans) {
    const uint16_t *values = (const uint16_t *)numbers->values + numbers->start;
    int32_t low = INT32_MAX;
    int32_t high = INT32_MIN;
    for (int64_t i = 0; i < numbers->length; i++) {
        if (!is_valid_at(numbers, i)) continue;
        if ((values[i] & 0x7fff) > 0x7c00) {
            *out_nans += 1;
            continue;
        }
        int32_t key = half_key(values[i]);
        if (key < low) low = key;
        if (key > high) high = key;
    }
    if (low > high) return false;
    /* -0.0 has the key -1, and 0.0 has the key 0. */
    if (low == 0) low = -1;
    if (high == -1) high = 0;
    uint16_t bits[2] = {half_of_key(low), half_of_key(high)};
    memcpy(out_low, &bits[0], 2);
    memcpy(out_high, &bits[1], 2);
    return true;
}

static bool find_floats(const struct bc_numbers *numbers, uint8_t *out_low,
                        uint8_t *out_high, int64_t *out_nans) {
    if (numbers->bits == 16) return find_halves(numbers, out_low, out_high, out_nans);
    bool odd;
    bool is_single = numbers->bits == 32;
    bool found = is_single ? find_float(numbers, out_low, out_high, &odd)
                           : find_double(numbers, out_low, out_high, &odd);
    if (odd) *out_nans = count_nans(numbers);
    if (!found) return false;
    static const float zeros[2] = {-0.0F, 0.0F};
    static const double long_zeros[2] = {-0.0, 0.0};
    if (is_single) {
        float ends[2];
        memcpy(&ends[0], out_low, sizeof(ends[0]));
        memcpy(&ends[1], out_high, sizeof(ends[1]));
        if (ends[0] == 0) memcpy(out_low, &zeros[0], sizeof(zeros[0]));
        if (ends[1] == 0) memcpy(out_high, &zeros[1], sizeof(zeros[1]));
    } else {
        double ends[2];
        memcpy(&ends[0], out_low, sizeof(ends[0]));
        memcpy(&ends[1], out_high, sizeof(ends[1]));
        if (ends[0] == 0) memcpy(out_low, &long_zeros[0], sizeof(long_zeros[0]));
        if (ends[1] == 0) memcpy(out_high, &long_zeros[1], sizeof(long_zeros[1]));
    }
    return true;
}

/* ---- integers of 128 and 256 bits, bools ---- */

/* Returns whether the first integer of `words` words is less; the last word has the
 * sign. */
static bool is_less(const uint64_t *one, const uint64_t *other, int words) {
    int last = words - 1;
    if (one[last] != other[last]) return (int64_t)one[last] < (int64_t)other[last];
    for (int i = last - 1; i >= 0; i--) {
        if (one[i] != other[i]) return one[i] < other[i];
    }
    return false;
}

static bool find_long_integers(const struct bc_numbers *numbers, uint8_t *out_low,
                               uint8_t *out_high) {
    enum { WORDS_MAX = 4 };
    int words = numbers->bits / 64;
    size_t size = (size_t)words * 8;
    uint64_t low[WORDS_MAX];
    uint64_t high[WORDS_MAX];
    bool found = false;
    const uint8_t *values =
        (const uint8_t *)numbers->values + (size_t)numbers->start * size;
    for (int64_t i = 0; i < numbers->length; i++) {
        if (!is_valid_at(numbers, i)) continue;
        /* Producers may align decimals to 8 bytes only. */
        uint64_t value[WORDS_MAX];
        memcpy(value, values + (size_t)i * size, size);
        if (!found || is_less(value, low, words)) memcpy(low, value, size);
        if (!found || is_less(high, value, words)) memcpy(high, value, size);
        found = true;
    }
    if (!found) return false;
    memcpy(out_low, low, size);
    memcpy(out_high, high, size);
    return true;
}

static bool find_bools(const struct bc_numbers *numbers, uint8_t *out_low,
                       uint8_t *out_high) {
    bool has[2] = {false, false};
    for (int64_t at = 0; at < numbers->length; at += BLOCK) {
        int64_t left = numbers->length - at;
        int size = left < BLOCK ? (int)left : BLOCK;
        uint64_t values = bc__bits_load(numbers->values, numbers->start + at, size);
        uint64_t valid = size < BLOCK ? (UINT64_C(1) << size) - 1 : UINT64_MAX;
        if (numbers->valid != NULL) {
            valid = bc__bits_load(numbers->valid, numbers->valid_start + at, size);
        }
        if ((values & valid) != 0) has[1] = true;
        if ((~values & valid) != 0) has[0] = true;
        if (has[0] && has[1]) break;
    }
    if (!has[0] && !has[1]) return false;
    *out_low = has[0] ? 0 : 1;
    *out_high = has[1] ? 1 : 0;
    return true;
}

bool bc__extremes(const struct bc_numbers *numbers, uint8_t *out_low, uint8_t *out_high,
                  int64_t *out_nans) {
    *out_nans = 0;
    if (numbers->kind == BC_NUMBER_BOOL) return find_bools(numbers, out_low, out_high);
    if (numbers->kind == BC_NUMBER_FLOAT) {
        return find_floats(numbers, out_low, out_high, out_nans);
    }
    if (numbers->bits > 64) return find_long_integers(numbers, out_low, out_high);
    return find_integers(numbers, out_low, out_high);
}
