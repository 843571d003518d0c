#include "ipc/codec.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define LZ4F_STATIC_LINKING_ONLY
#define ZSTD_STATIC_LINKING_ONLY
#include "lz4frame.h"
#include "zstd.h"
#include "zstd_errors.h"

enum { PREFIX = 8, ZSTD_LEVEL = 1 };

/* The codecs allocate by base/alloc.h, so that tests can make an allocation fail. */
static void *allocate_codec(void *opaque, size_t size) {
    (void)opaque;
    return bc__malloc(size);
}

static void *allocate_codec_zeros(void *opaque, size_t size) {
    (void)opaque;
    return bc__calloc(1, size);
}

static void free_codec(void *opaque, void *memory) {
    (void)opaque;
    bc__free(memory);
}

static const LZ4F_CustomMem lz4_memory = {allocate_codec, allocate_codec_zeros,
                                          free_codec, NULL};
static const ZSTD_customMem zstd_memory = {allocate_codec, free_codec, NULL};

void bc__compressor_finish(struct bc_compressor *compressor) {
    bc_assert(compressor != NULL);
    (void)LZ4F_freeCompressionContext(compressor->lz4);
    (void)ZSTD_freeCCtx(compressor->zstd);
    *compressor = (struct bc_compressor){NULL, NULL};
}

size_t bc__compress_bound(enum bc_codec codec, size_t size) {
    bc_assert(codec != BC_CODEC_NONE);
    size_t bound = codec == BC_CODEC_LZ4 ? LZ4F_compressFrameBound(size, NULL)
                                         : ZSTD_compressBound(size);
    return PREFIX + bound;
}

/* Compresses to `out`, which has room for the bound. ENOMEM. */
static int compress_lz4(struct bc_compressor *compressor, const void *data, size_t size,
                        uint8_t *out, size_t capacity, size_t *out_size) {
    if (compressor->lz4 == NULL) {
        compressor->lz4 =
            LZ4F_createCompressionContext_advanced(lz4_memory, LZ4F_VERSION);
    }
    if (compressor->lz4 == NULL) return ENOMEM;
    size_t result = LZ4F_compressFrame_usingCDict(compressor->lz4, out, capacity, data,
                                                  size, NULL, NULL);
    /* `out` has room for the bound, so only memory can be insufficient. */
    if (LZ4F_isError(result)) return ENOMEM;
    *out_size = result;
    return 0;
}

static int compress_zstd(struct bc_compressor *compressor, const void *data, size_t size,
                         uint8_t *out, size_t capacity, size_t *out_size) {
    if (compressor->zstd == NULL) {
        compressor->zstd = ZSTD_createCCtx_advanced(zstd_memory);
    }
    if (compressor->zstd == NULL) return ENOMEM;
    size_t result =
        ZSTD_compressCCtx(compressor->zstd, out, capacity, data, size, ZSTD_LEVEL);
    if (ZSTD_isError(result)) return ENOMEM;
    *out_size = result;
    return 0;
}

int bc__compress(struct bc_compressor *compressor, enum bc_codec codec, const void *data,
                 size_t size, uint8_t *out, size_t capacity, size_t *out_size) {
    bc_assert(size > 0 && capacity >= bc__compress_bound(codec, size));
    size_t compressed;
    int code = codec == BC_CODEC_LZ4 ? compress_lz4(compressor, data, size, out + PREFIX,
                                                    capacity - PREFIX, &compressed)
                                     : compress_zstd(compressor, data, size, out + PREFIX,
                                                     capacity - PREFIX, &compressed);
    if (code != 0) return code;
    int64_t length = (int64_t)size;
    if (compressed >= size) {
        length = -1;
        memcpy(out + PREFIX, data, size);
        compressed = size;
    }
    memcpy(out, &length, sizeof(length));
    *out_size = PREFIX + compressed;
    return 0;
}

int bc__compressed_parse(const uint8_t *data, int64_t size,
                         struct bc_compressed *out_compressed) {
    if (size < PREFIX) return EINVAL;
    int64_t length;
    memcpy(&length, data, sizeof(length));
    if (length < -1) return EINVAL;
    bool raw = length == -1;
    *out_compressed = (struct bc_compressed){
        .length = raw ? size - PREFIX : length,
        .payload = data + PREFIX,
        .size = size - PREFIX,
        .raw = raw,
    };
    return 0;
}

void bc__decompressor_finish(struct bc_decompressor *decompressor) {
    bc_assert(decompressor != NULL);
    (void)LZ4F_freeDecompressionContext(decompressor->lz4);
    (void)ZSTD_freeDCtx(decompressor->zstd);
    *decompressor = (struct bc_decompressor){NULL, NULL};
}

static LZ4F_dctx *lz4_of(struct bc_decompressor *decompressor) {
    if (decompressor->lz4 == NULL) {
        decompressor->lz4 =
            LZ4F_createDecompressionContext_advanced(lz4_memory, LZ4F_VERSION);
    }
    if (decompressor->lz4 != NULL) LZ4F_resetDecompressionContext(decompressor->lz4);
    return decompressor->lz4;
}

static ZSTD_DCtx *zstd_of(struct bc_decompressor *decompressor) {
    if (decompressor->zstd == NULL) {
        decompressor->zstd = ZSTD_createDCtx_advanced(zstd_memory);
    }
    return decompressor->zstd;
}

/* Writes `length` raw bytes. `start`: they are the first raw bytes, and not all. */
static int decompress_lz4(struct bc_decompressor *decompressor,
                          const struct bc_compressed *compressed, uint8_t *out,
                          size_t length, bool start) {
    LZ4F_dctx *context = lz4_of(decompressor);
    if (context == NULL) return ENOMEM;
    const LZ4F_decompressOptions_t options = {.stableDst = 1};
    size_t from = 0;
    size_t to = 0;
    size_t size = (size_t)compressed->size;
    for (;;) {
        size_t read = size - from;
        size_t written = length - to;
        size_t hint = LZ4F_decompress(context, out + to, &written,
                                      compressed->payload + from, &read, &options);
        if (LZ4F_isError(hint)) {
            bool memory = LZ4F_getErrorCode(hint) == LZ4F_ERROR_allocation_failed;
            return memory ? ENOMEM : EINVAL;
        }
        from += read;
        to += written;
        if (start && to == length) return 0;
        if (hint == 0) break;
        if (read == 0 && written == 0) return EINVAL;
    }
    return from == size && to == length ? 0 : EINVAL;
}

static int zstd_error(size_t result) {
    bool memory = ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation;
    return memory ? ENOMEM : EINVAL;
}

static int start_zstd(struct bc_decompressor *decompressor,
                      const struct bc_compressed *compressed, uint8_t *out,
                      size_t length) {
    ZSTD_DCtx *context = zstd_of(decompressor);
    if (context == NULL) return ENOMEM;
    (void)ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    ZSTD_inBuffer in = {compressed->payload, (size_t)compressed->size, 0};
    ZSTD_outBuffer to = {out, length, 0};
    while (to.pos < to.size) {
        size_t read = in.pos;
        size_t written = to.pos;
        size_t result = ZSTD_decompressStream(context, &to, &in);
        if (ZSTD_isError(result)) return zstd_error(result);
        if (in.pos == read && to.pos == written) return EINVAL;
    }
    return 0;
}

static int decompress_zstd(struct bc_decompressor *decompressor,
                           const struct bc_compressed *compressed, uint8_t *out) {
    ZSTD_DCtx *context = zstd_of(decompressor);
    if (context == NULL) return ENOMEM;
    size_t length = (size_t)compressed->length;
    size_t result = ZSTD_decompressDCtx(context, out, length, compressed->payload,
                                        (size_t)compressed->size);
    if (ZSTD_isError(result)) return zstd_error(result);
    return result == length ? 0 : EINVAL;
}

int bc__decompress(struct bc_decompressor *decompressor, enum bc_codec codec,
                   const struct bc_compressed *compressed, uint8_t *out) {
    bc_assert(!compressed->raw && compressed->length >= 0);
    size_t length = (size_t)compressed->length;
    return codec == BC_CODEC_LZ4
               ? decompress_lz4(decompressor, compressed, out, length, false)
               : decompress_zstd(decompressor, compressed, out);
}

int bc__decompress_start(struct bc_decompressor *decompressor, enum bc_codec codec,
                         const struct bc_compressed *compressed, uint8_t *out,
                         size_t size) {
    bc_assert(!compressed->raw && (int64_t)size < compressed->length);
    return codec == BC_CODEC_LZ4
               ? decompress_lz4(decompressor, compressed, out, size, true)
               : start_zstd(decompressor, compressed, out, size);
}
