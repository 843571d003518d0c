/* Checksums of messages: XXH3, 64 bits, as hexadecimal digits in the message's own
 * custom_metadata under BC_CHECKSUM_KEY.
 *
 *     digits  0..15   of the 8-byte prefix and the metadata, these 16 digits taken as '0'
 *     digits 16..31   of the whole body, where it is small, or of its first part
 *     digits 32..     of the body's other parts
 *
 * A part is a buffer of the message with the padding behind it, so that every byte of the
 * file is covered. */
#ifndef BC_IPC_CHECKSUM_H
#define BC_IPC_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BC_DIGITS = 16, BC_SMALL_BODY_BYTES = 4096 };

uint64_t bc__checksum(const void *data, size_t size);
/* Of a short entry that also stands for its number. */
uint64_t bc__checksum_seeded(const void *data, size_t size, uint64_t seed);
/* Of `size` bytes and `padding` zeros behind them (at most 64). */
uint64_t bc__checksum_padded(const void *data, size_t size, size_t padding);
/* Of a prefix and metadata, as it was while the BC_DIGITS at `digits` were '0'. */
uint64_t bc__checksum_message(const uint8_t *message, size_t size, size_t digits);

/* A digest of content that stands for it: 128 bits. */
struct bc_content {
    uint64_t low;
    uint64_t high;
};

struct bc_iovec;
/* Of two blocks of memory and of all bytes of the iovecs. */
struct bc_content bc__checksum_content(const void *a, size_t a_size, const void *b,
                                       size_t b_size, const struct bc_iovec *iovecs,
                                       size_t n_iovecs);

/* Writes 16 digits, no terminator. */
void bc__checksum_print(char *out, uint64_t checksum);
bool bc__checksum_parse(const char *digits, uint64_t *out_checksum);

#endif
