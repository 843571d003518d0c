/* Checksums of messages: XXH3, 64 bits, as hexadecimal digits. They are in the message's
 * custom_metadata, under BC_CHECKSUM_KEY.
 *
 *     digits  0..15   the 8-byte prefix and the metadata, these digits taken as '0'.
 *     digits 16..31   the whole body if it is small, and else its first part
 *     digits 32..     the body's other parts
 *
 * A part is a buffer of the message with its padding. The checksums cover every byte of
 * the file. */
#ifndef BC_IPC_CHECKSUM_H
#define BC_IPC_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BC_DIGITS = 16, BC_SMALL_BODY_BYTES = 4096 };

/* Returns the checksum of `size` bytes. */
uint64_t bc__checksum(const void *data, size_t size);
/* Returns the checksum of a short entry. `seed`: the entry's index. */
uint64_t bc__checksum_seeded(const void *data, size_t size, uint64_t seed);
/* Returns the checksum of `size` bytes and `padding` zeros after them (at most 64). */
uint64_t bc__checksum_padded(const void *data, size_t size, size_t padding);
/* Returns the checksum of a prefix and metadata, with '0' for the BC_DIGITS digits at
 * offset `digits`. */
uint64_t bc__checksum_message(const uint8_t *message, size_t size, size_t digits);

/* A digest of 128 bits. Contents with equal digests are taken as equal. */
struct bc_content {
    uint64_t low;
    uint64_t high;
};

struct bc_iovec;
/* Returns the digest of two blocks of memory and of all bytes of the iovecs. */
struct bc_content bc__checksum_content(const void *a, size_t a_size, const void *b,
                                       size_t b_size, const struct bc_iovec *iovecs,
                                       size_t n_iovecs);

/* Writes BC_DIGITS digits, without a terminator. */
void bc__checksum_print(char *out, uint64_t checksum);
/* Reads BC_DIGITS digits. It returns false if they are not lower-case hexadecimal. */
bool bc__checksum_parse(const char *digits, uint64_t *out_checksum);

#endif
