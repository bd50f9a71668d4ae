/* unicode.h: UTF-8, NFC, and the few properties that the host's rules ask for. */
#ifndef EDGECAP_UNICODE_H
#define EDGECAP_UNICODE_H

#include "core.h"

bool ec_utf8_valid(const char *data, size_t length);

/* The character at `data`, and its length in bytes; of valid UTF-8 alone. */
uint32_t ec_utf8_decode(const char *data, size_t *length);
size_t ec_utf8_encode(uint32_t code, char *out);       /* 1-4 bytes; surrogates as three */
size_t ec_utf8_count(const char *data, size_t length); /* characters */

/* Where character number `count` begins, `length` where there are fewer. */
size_t ec_utf8_offset(const char *data, size_t length, size_t count);

/* NFC of valid UTF-8, in `arena`; false: no memory. */
bool ec_nfc(ec_arena *arena, ec_text text, ec_text *normal);

bool ec_is_space(uint32_t code);  /* as Python's str.isspace */
uint32_t ec_lower(uint32_t code); /* ASCII and Latin-1: all that reading captions needs */
ec_text ec_strip(ec_text text);   /* without white space at both ends */

/* unicode_tables.c */
extern const size_t ec_decompositions_count, ec_compositions_count, ec_classes_count;
extern const uint32_t ec_decompositions[][3]; /* code, first, second or 0 */
extern const uint32_t ec_compositions[][3];   /* first, second, code */
extern const uint32_t ec_classes[][3];        /* first, last, combining class */

#endif
