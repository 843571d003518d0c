/* Compressed buffers: round trips and damaged buffers. */
#include <errno.h>
#include <string.h>

#include "ipc/codec.h"
#include "tap.h"

enum { LARGE = 1 << 20 };

/* Fills data of one of three kinds: zeros, text, noise. */
static void fill(uint8_t *data, size_t size, int kind) {
    uint32_t state = 12345;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        uint32_t text = (uint32_t)"batchcorder "[state >> 29];
        data[i] = (uint8_t)(kind == 0 ? 0 : kind == 1 ? text : state >> 24);
    }
}

/* Compresses the data. The caller frees the result. */
static uint8_t *compress(enum bc_codec codec, const uint8_t *data, size_t size,
                         size_t *out_size) {
    struct bc_compressor compressor = {NULL, NULL};
    size_t capacity = bc__compress_bound(codec, size);
    uint8_t *out = malloc(capacity);
    CHECK(out != NULL);
    CHECK(bc__compress(&compressor, codec, data, size, out, capacity, out_size) == 0);
    bc__compressor_finish(&compressor);
    return out;
}

/* Decompresses into `out` of `size` bytes. Returns 0 or EINVAL. */
static int decompress(struct bc_decompressor *decompressor, enum bc_codec codec,
                      const uint8_t *data, size_t data_size, uint8_t *out, size_t size) {
    struct bc_compressed compressed;
    if (bc__compressed_parse(data, (int64_t)data_size, &compressed) != 0) return EINVAL;
    if (compressed.length != (int64_t)size) return EINVAL;
    if (!compressed.raw) return bc__decompress(decompressor, codec, &compressed, out);
    memcpy(out, compressed.payload, size);
    return 0;
}

static void test_round_trips(void) {
    static const size_t sizes[] = {1, 7, 8, 63, 64, 65, 4096, 70000, LARGE};
    static uint8_t data[LARGE];
    uint8_t *back = malloc(LARGE);
    CHECK(back != NULL);
    for (int codec = BC_CODEC_LZ4; codec <= BC_CODEC_ZSTD; codec++) {
        struct bc_decompressor decompressor = {NULL, NULL};
        for (int kind = 0; kind < 3; kind++) {
            for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                size_t size;
                fill(data, sizes[i], kind);
                uint8_t *out = compress(codec, data, sizes[i], &size);
                CHECK(size <= sizes[i] + 8);
                if (kind == 0 && sizes[i] >= 4096) CHECK(size < sizes[i] / 10);
                memset(back, 0xee, sizes[i]);
                CHECK(decompress(&decompressor, codec, out, size, back, sizes[i]) == 0);
                CHECK(memcmp(back, data, sizes[i]) == 0);
                free(out);
            }
        }
        bc__decompressor_finish(&decompressor);
    }
    free(back);
}

/* Cuts the buffer at each byte, and changes each byte. The result is an error or wrong
 * bytes, never a crash. */
static void test_damage(void) {
    enum { SIZE = 600 };
    uint8_t data[SIZE];
    fill(data, SIZE, 1);
    for (int codec = BC_CODEC_LZ4; codec <= BC_CODEC_ZSTD; codec++) {
        struct bc_decompressor decompressor = {NULL, NULL};
        size_t size;
        uint8_t *whole = compress(codec, data, SIZE, &size);
        uint8_t *back = malloc(SIZE);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *part = malloc(cut + 1);
            CHECK(part != NULL && back != NULL);
            memcpy(part, whole, cut);
            CHECK(decompress(&decompressor, codec, part, cut, back, SIZE) == EINVAL);
            free(part);
        }
        for (size_t at = 0; at < size; at++) {
            uint8_t kept = whole[at];
            for (int bit = 0; bit < 8; bit++) {
                whole[at] = (uint8_t)(kept ^ 1 << bit);
                int code = decompress(&decompressor, codec, whole, size, back, SIZE);
                CHECK(code == 0 || code == EINVAL);
            }
            whole[at] = kept;
        }
        uint8_t *longer = malloc(size + 5);
        CHECK(longer != NULL);
        memcpy(longer, whole, size);
        memset(longer + size, 'x', 5);
        CHECK(decompress(&decompressor, codec, longer, size + 5, back, SIZE) == EINVAL);
        CHECK(decompress(&decompressor, codec, whole, size, back, SIZE) == 0);
        CHECK(memcmp(back, data, SIZE) == 0);
        free(longer);
        free(back);
        free(whole);
        bc__decompressor_finish(&decompressor);
    }
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_round_trips),
                                            TAP_CASE(test_damage)};
    return TAP_RUN(cases);
}
