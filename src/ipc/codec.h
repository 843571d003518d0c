/* The codecs of the Arrow IPC format (BodyCompression), for one buffer.
 *
 *     8 bytes    length of the raw bytes, little-endian, or -1: the rest is the raw bytes
 *     the rest   one LZ4 frame, or a zstd stream
 *
 * If compression does not make the buffer shorter, the length is -1. An empty buffer
 * stays empty.
 *
 * A zeroed context is valid: it allocates on first use, and is reused for more buffers.
 * One thread at a time uses a context. */
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
/* Returns the capacity that compressing `size` bytes needs: a little above `size`. */
size_t bc__compress_bound(enum bc_codec codec, size_t size);
/* Writes the compressed buffer with its prefix. The result has at most `size` bytes and
 * the prefix.
 *
 * `codec`: not BC_CODEC_NONE.
 * `capacity`: at least bc__compress_bound(), which the codec needs while it works.
 * ENOMEM: the compressor can still be used. */
int bc__compress(struct bc_compressor *compressor, enum bc_codec codec, const void *data,
                 size_t size, uint8_t *out, size_t capacity, size_t *out_size);

/* A compressed buffer, parsed. */
struct bc_compressed {
    int64_t length;         /* of the raw bytes; unverified, so the caller bounds it */
    const uint8_t *payload; /* in the buffer */
    int64_t size;           /* of the payload */
    bool raw;               /* the payload is the raw bytes */
};

/* Parses the prefix of a compressed buffer, and reads only this prefix.
 * EINVAL: the prefix is invalid. */
int bc__compressed_parse(const uint8_t *data, int64_t size,
                         struct bc_compressed *out_compressed);

struct bc_decompressor {
    struct LZ4F_dctx_s *lz4;
    struct ZSTD_DCtx_s *zstd;
};

void bc__decompressor_finish(struct bc_decompressor *decompressor);
/* Writes `compressed->length` raw bytes to `out`. After a failure the bytes in `out` are
 * undefined, and the decompressor can still be used.
 * EINVAL: the payload is invalid, or has another number of raw bytes.
 * ENOMEM. */
int bc__decompress(struct bc_decompressor *decompressor, enum bc_codec codec,
                   const struct bc_compressed *compressed, uint8_t *out);
/* Writes only the first `size` raw bytes, fewer than `compressed->length`. The rest of
 * the payload is not read.
 * EINVAL: the payload is invalid, or has fewer raw bytes.
 * ENOMEM. */
int bc__decompress_start(struct bc_decompressor *decompressor, enum bc_codec codec,
                         const struct bc_compressed *compressed, uint8_t *out,
                         size_t size);

#endif
