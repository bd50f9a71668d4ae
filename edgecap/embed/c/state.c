/* state.c: see state.h. */
#include "state.h"

#include <string.h>

size_t ec_entry_bytes(const ec_entry *e)
{
    return e->groups * e->rows * e->row_bytes;
}

bool ec_entry_shared(const ec_entry *e)
{
    return e->from_image != NULL && e->role == EC_IMAGE && e->image_rows == e->rows;
}

void ec_entry_fill(const ec_entry *e, const void *from_image, void *tensor)
{
    size_t block = e->rows * e->row_bytes, part = e->image_rows * e->row_bytes, g;
    for (g = 0; g < e->groups; g++) {
        char *to = (char *)tensor + g * block;
        if (e->from_image != NULL) {
            memcpy(to, (const char *)from_image + g * part, part);
            memset(to + part, 0, block - part);
        } else {
            memset(to, 0, block);
        }
    }
}

void ec_entry_step(const ec_entry *e, const void *from_step, size_t position, void *tensor)
{
    size_t block = e->rows * e->row_bytes, g;
    if (e->role & EC_ROLLING) {
        memcpy(tensor, from_step, e->groups * block);
    } else if (e->role & EC_TEXT) {
        char *to = (char *)tensor + (e->first_text + position) * e->row_bytes;
        for (g = 0; g < e->groups; g++) {
            memcpy(to + g * block, (const char *)from_step + g * e->row_bytes, e->row_bytes);
        }
    }
}

void ec_entry_copy(const ec_entry *e, const void *from, size_t count, void *to)
{
    size_t block = e->rows * e->row_bytes, g;
    if (e->role & EC_ROLLING) {
        memcpy(to, from, e->groups * block);
    } else if (e->role & EC_TEXT) {
        size_t begin = e->first_text * e->row_bytes, part = count * e->row_bytes;
        for (g = 0; g < e->groups; g++) {
            memcpy((char *)to + g * block + begin, (const char *)from + g * block + begin, part);
        }
    }
}
