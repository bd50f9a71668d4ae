/* manifest.c: any bytes as a manifest of either schema: read or refused, never more. */
#include "manifest.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ec_arena arena;
    ec_manifest manifest;
    edgecap_error error;
    ec_arena_init(&arena, &FUZZ_MEMORY);
    if (ec_manifest_read(&arena, (const char *)data, size, &manifest, &error) == EDGECAP_OK) {
        ec_manifest_function(&manifest, "decode");
    }
    ec_arena_free(&arena);
    return 0;
}
