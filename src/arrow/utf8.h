/* UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef BC_ARROW_UTF8_H
#define BC_ARROW_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* `text` may be NULL where `size` is 0. */
bool bc__utf8_is_valid(const uint8_t *text, int64_t size);
bool bc__utf8_is_ascii(const uint8_t *text, int64_t size);

/* A byte that continues a character. */
static inline bool bc__utf8_continues(uint8_t byte) { return (byte & 0xC0) == 0x80; }

#endif
