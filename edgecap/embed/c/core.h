/* core.h: memory, errors and small helpers that every file of the core uses. */
#ifndef EDGECAP_CORE_H
#define EDGECAP_CORE_H

#include <stdbool.h>

#include "edgecap.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* the same rounding on every machine */
#endif

#if defined(__GNUC__)
#define EC_FORMAT(a, b) __attribute__((format(printf, a, b)))
#else
#define EC_FORMAT(a, b)
#endif

/* Fills `error` (which may be NULL) and returns `status`. */
edgecap_status ec_fail(edgecap_error *error, edgecap_status status, const char *code,
                       const char *format, ...) EC_FORMAT(4, 5);
edgecap_status ec_no_memory(edgecap_error *error);
void ec_clear(edgecap_error *error);

void *ec_allocate(const edgecap_memory *memory, size_t size);
void ec_release(const edgecap_memory *memory, void *block);

/* count * size bytes, zeroed; NULL also where the product overflows. */
void *ec_allocate_array(const edgecap_memory *memory, size_t count, size_t size);

/* Zeroed bytes at a multiple of 64, for engines; `*block` is what ec_release takes. */
void *ec_allocate_aligned(const edgecap_memory *memory, size_t size, void **block);

/* Small things that live and die together. */
typedef struct ec_arena {
    edgecap_memory memory;
    struct ec_arena_block *blocks;
    size_t used, size; /* of the newest block */
} ec_arena;

void ec_arena_init(ec_arena *arena, const edgecap_memory *memory);
void *ec_arena_take(ec_arena *arena, size_t size); /* zeroed, aligned for any type; NULL: none */
void *ec_arena_array(ec_arena *arena, size_t count, size_t size);
char *ec_arena_text(ec_arena *arena, const char *text, size_t length); /* null-terminated */
void ec_arena_free(ec_arena *arena);

/* A text, not owned; may hold null bytes. */
typedef struct ec_text {
    const char *data;
    size_t length;
} ec_text;

bool ec_text_is(ec_text text, const char *other);
uint32_t ec_hash(const char *data, size_t length); /* FNV-1a */

/* Text that grows in an array of a fixed size; `length` goes on counting where it is full. */
typedef struct ec_writer {
    char *data;
    size_t capacity, length;
} ec_writer;

void ec_write(ec_writer *writer, const char *data, size_t length);
void ec_write_end(ec_writer *writer); /* the null byte, uncounted; cuts what is full */

uint32_t ec_crc32(const uint8_t *data, size_t length);

#endif
