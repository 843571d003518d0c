/* The codecs of the Arrow IPC format (BodyCompression), for one buffer.
 *
 *     8 bytes   length of the raw bytes, little-endian, or -1: what follows is the raw
 * bytes the rest  one LZ4 frame, or a zstd stream
 *
 * -1 stands where compressing gains nothing. An empty buffer stays empty.
 *
 * The contexts below start zeroed, and are made when they are first needed; what is
 * reused for many buffers saves that. One thread at a time. */
#ifndef BC_IPC_CODEC_H
#define BC_IPC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/metadata.h"

struct bc_compressor {
    struct LZ4F_cctx_s *lz4;
    struct ZSTD_CCtx_s *zstd;
};

void bc__compressor_finish(struct bc_compressor *compressor);
/* Bytes of `out` that compressing `size` bytes needs; a little more than `size`. */
size_t bc__compress_bound(enum bc_codec codec, size_t size);
/* Writes the compressed buffer, prefix included: never more than `size` bytes and the
 * prefix, though it needs all of bc__compress_bound to work in. `codec` is not NONE. 0 or
 * ENOMEM; after that the compressor can be used again. */
int bc__compress(struct bc_compressor *compressor, enum bc_codec codec, const void *data,
                 size_t size, uint8_t *out, size_t capacity, size_t *out_size);

/* What a compressed buffer says of itself. */
struct bc_compressed {
    int64_t
        length; /* of the raw bytes: a claim, which the caller bounds by what it needs */
    const uint8_t *payload; /* in the buffer */
    int64_t size;           /* of the payload */
    bool raw;               /* the payload is the raw bytes: use it where it is */
};

/* 0, or EINVAL when there is no such prefix. Reads the prefix only. */
int bc__compressed_parse(const uint8_t *data, int64_t size,
                         struct bc_compressed *out_compressed);

struct bc_decompressor {
    struct LZ4F_dctx_s *lz4;
    struct ZSTD_DCtx_s *zstd;
};

void bc__decompressor_finish(struct bc_decompressor *decompressor);
/* Writes the raw bytes, `compressed->length` of them, to `out`. EINVAL when the payload
 * is not exactly that, whatever its bytes are; ENOMEM. After a failure `out` holds
 * anything, and the decompressor can be used again. */
int bc__decompress(struct bc_decompressor *decompressor, enum bc_codec codec,
                   const struct bc_compressed *compressed, uint8_t *out);
/* Writes the first `size` raw bytes alone, fewer than `compressed->length`. EINVAL where
 * the payload has fewer, or breaks before them; what is behind them is not looked at. */
int bc__decompress_start(struct bc_decompressor *decompressor, enum bc_codec codec,
                         const struct bc_compressed *compressed, uint8_t *out,
                         size_t size);

#endif
