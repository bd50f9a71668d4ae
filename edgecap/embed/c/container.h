/* container.h: a packed bundle (.edgecap) in memory: a zip archive of stored files in the one
 * layout that SPEC.md gives, "Single file". Nothing is copied or unpacked. */
#ifndef EDGECAP_CONTAINER_H
#define EDGECAP_CONTAINER_H

#include "core.h"
#include "edgecap_engine.h"

typedef edgecap_model_file ec_packed; /* one file; its bytes lie in the archive */

typedef struct ec_container {
    const ec_packed *files; /* manifest.json first, the others by name */
    size_t count;
} ec_container;

/* Checks every byte that is not a file's. Codes bundle.container, bundle.path, bundle.altered. */
edgecap_status ec_container_read(ec_arena *arena, const uint8_t *data, size_t size,
                                 ec_container *container, edgecap_error *error);

const ec_packed *ec_container_find(const ec_container *container, const char *name); /* or NULL */

#endif
