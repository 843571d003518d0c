/* UTF-8 as Unicode defines it, without overlong forms, surrogates, and characters above
 * U+10FFFF. */
#ifndef BC_ARROW_UTF8_H
#define BC_ARROW_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* Return whether the text is valid UTF-8, and whether it is ASCII.
 * `text`: `size` bytes; may be NULL if `size` is 0. */
bool bc__utf8_is_valid(const uint8_t *text, int64_t size);
bool bc__utf8_is_ascii(const uint8_t *text, int64_t size);

/* Returns whether the byte continues a character. */
static inline bool bc__utf8_continues(uint8_t byte) { return (byte & 0xC0) == 0x80; }

#endif
