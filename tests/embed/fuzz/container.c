/* container.c: any bytes as a packed bundle; what is found lies inside them. */
#include "container.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ec_arena arena;
    ec_container container;
    edgecap_error error;
    size_t i;
    ec_arena_init(&arena, &FUZZ_MEMORY);
    if (ec_container_read(&arena, data, size, &container, &error) == EDGECAP_OK) {
        for (i = 0; i < container.count; i++) {
            const ec_packed *file = &container.files[i];
            if (file->data < data || file->size > size ||
                (size_t)(file->data - data) > size - file->size ||
                ec_container_find(&container, file->name) == NULL) {
                abort();
            }
        }
    }
    ec_arena_free(&arena);
    return 0;
}
