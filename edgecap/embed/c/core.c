/* core.c: memory, errors and small helpers. */
#include "core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 15, ALIGN = 16, ENGINE_ALIGN = 64 };

struct ec_arena_block {
    struct ec_arena_block *next;
    size_t padding; /* so that what follows is aligned on 32-bit machines too */
};

edgecap_status ec_fail(edgecap_error *error, edgecap_status status, const char *code,
                       const char *format, ...)
{
    if (error != NULL) {
        va_list values;
        error->status = status;
        snprintf(error->code, sizeof error->code, "%s", code);
        va_start(values, format);
        vsnprintf(error->message, sizeof error->message, format, values);
        va_end(values);
    }
    return status;
}

edgecap_status ec_no_memory(edgecap_error *error)
{
    return ec_fail(error, EDGECAP_MEMORY, "memory.exhausted", "memory ran out.");
}

void ec_clear(edgecap_error *error)
{
    if (error != NULL) {
        memset(error, 0, sizeof *error);
    }
}

void *ec_allocate(const edgecap_memory *memory, size_t size)
{
    size = size ? size : 1;
    return memory->allocate ? memory->allocate(memory->user, size) : malloc(size);
}

void ec_release(const edgecap_memory *memory, void *block)
{
    if (memory->release) {
        memory->release(memory->user, block);
    } else {
        free(block);
    }
}

void *ec_allocate_array(const edgecap_memory *memory, size_t count, size_t size)
{
    void *block;
    if (size != 0 && count > (size_t)-1 / size) {
        return NULL;
    }
    block = ec_allocate(memory, count * size);
    if (block != NULL) {
        memset(block, 0, count * size);
    }
    return block;
}

void *ec_allocate_aligned(const edgecap_memory *memory, size_t size, void **block)
{
    uintptr_t address;
    *block =
        size > (size_t)-1 - 2 * ENGINE_ALIGN ? NULL : ec_allocate(memory, size + 2 * ENGINE_ALIGN);
    if (*block == NULL) {
        return NULL;
    }
    address = ((uintptr_t)*block + ENGINE_ALIGN - 1) & ~(uintptr_t)(ENGINE_ALIGN - 1);
    memset((void *)address, 0, size); /* engines may read some bytes beyond: they are ours too */
    return (void *)address;
}

void ec_arena_init(ec_arena *arena, const edgecap_memory *memory)
{
    memset(arena, 0, sizeof *arena);
    arena->memory = *memory;
}

void *ec_arena_take(ec_arena *arena, size_t size)
{
    char *place;
    if (size > (size_t)-1 - BLOCK) {
        return NULL;
    }
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (arena->blocks == NULL || arena->size - arena->used < size) {
        size_t room = size > BLOCK / 4 ? size : BLOCK;
        struct ec_arena_block *block = ec_allocate(&arena->memory, ALIGN + room);
        if (block == NULL) {
            return NULL;
        }
        if (room == size && arena->blocks != NULL) { /* alone in its block: go on in the last */
            block->next = arena->blocks->next;
            arena->blocks->next = block;
            memset((char *)block + ALIGN, 0, size);
            return (char *)block + ALIGN;
        }
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used = 0;
        arena->size = room;
    }
    place = (char *)arena->blocks + ALIGN + arena->used;
    arena->used += size;
    memset(place, 0, size);
    return place;
}

void *ec_arena_array(ec_arena *arena, size_t count, size_t size)
{
    return size != 0 && count > ((size_t)-1 >> 1) / size ? NULL
                                                         : ec_arena_take(arena, count * size);
}

char *ec_arena_text(ec_arena *arena, const char *text, size_t length)
{
    char *copy = length == (size_t)-1 ? NULL : ec_arena_take(arena, length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
    }
    return copy;
}

void ec_arena_free(ec_arena *arena)
{
    while (arena->blocks != NULL) {
        struct ec_arena_block *next = arena->blocks->next;
        ec_release(&arena->memory, arena->blocks);
        arena->blocks = next;
    }
    arena->used = arena->size = 0;
}

bool ec_text_is(ec_text text, const char *other)
{
    return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

uint32_t ec_hash(const char *data, size_t length)
{
    uint32_t hash = 2166136261u;
    size_t i;
    for (i = 0; i < length; i++) {
        hash = (hash ^ (uint8_t)data[i]) * 16777619u;
    }
    return hash ^ hash >> 15;
}

void ec_write(ec_writer *writer, const char *data, size_t length)
{
    size_t room = writer->length < writer->capacity ? writer->capacity - writer->length : 0;
    if (room != 0 && length != 0) {
        memcpy(writer->data + writer->length, data, length < room ? length : room);
    }
    writer->length += length;
}

void ec_write_end(ec_writer *writer)
{
    if (writer->capacity != 0) {
        size_t end = writer->length < writer->capacity ? writer->length : writer->capacity - 1;
        writer->data[end] = '\0';
    }
}

uint32_t ec_crc32(const uint8_t *data, size_t length)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffffu;
    size_t i;
    for (i = 0; i < length; i++) {
        crc = table[(crc ^ data[i]) & 15] ^ crc >> 4;
        crc = table[(crc ^ (uint32_t)(data[i] >> 4)) & 15] ^ crc >> 4;
    }
    return ~crc;
}
