/* fuzz.h: what the fuzz targets share: memory that a sanitizer watches. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdlib.h>

#include "core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *fuzz_allocate(void *user, size_t size)
{
    (void)user;
    return size <= (size_t)256 << 20 ? malloc(size) : NULL; /* what a small device has */
}

static void fuzz_release(void *user, void *block)
{
    (void)user;
    free(block);
}

static const edgecap_memory FUZZ_MEMORY = {fuzz_allocate, fuzz_release, NULL};

#endif
