/* container.c: see container.h; edgecap/bundle/container.py in C, check by check. */
#include "container.h"

#include <string.h>

#include "manifest.h"

enum {
    LOCAL = 30,
    CENTRAL = 46,
    END = 22,
    EXTRA = 6,
    EXTRA_ID = 0xD935,
    ALIGNMENT = 64,
    MOST_FILES = 4096,
    MADE_BY = 0x0314,
    NEEDED = 10,
    DATE = 0x21
};
#define PLAIN_FILE 0x81A40000u
static const char MANIFEST[] = "manifest.json";

static uint32_t two(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8;
}

static uint32_t four(const uint8_t *data)
{
    return two(data) | two(data + 2) << 16;
}

static edgecap_status refuse(edgecap_error *error, const char *problem)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.container", "this packed bundle %s.", problem);
}

/* The fields of a record in the directory, but sizes, CRC-32 and place. */
static edgecap_status check_record(const uint8_t *r, edgecap_error *error)
{
    if (memcmp(r, "PK\1\2", 4) != 0) {
        return refuse(error, "has a directory that ends early");
    }
    if (two(r + 8) & 1) {
        return refuse(error, "has an encrypted file");
    }
    if (two(r + 10) != 0 || four(r + 20) != four(r + 24)) {
        return refuse(error, "has a compressed file; files are stored");
    }
    if (four(r + 38) != PLAIN_FILE) {
        return refuse(error, "has a link, a directory or another special file");
    }
    if (two(r + 4) != MADE_BY || two(r + 6) != NEEDED || two(r + 8) != 0 || two(r + 12) != 0 ||
        two(r + 14) != DATE || two(r + 30) != 0 || two(r + 32) != 0 || two(r + 34) != 0 ||
        two(r + 36) != 0) {
        return refuse(error, "has fields that differ from those of a packed bundle");
    }
    return EDGECAP_OK;
}

/* Whether `h` is the header that belongs to a record, for a file at `at`; its length. `most` bytes
 * can be read. */
static bool is_header(const uint8_t *h, size_t most, const uint8_t *record, size_t at,
                      size_t *length)
{
    size_t name = two(record + 28), fixed = LOCAL + name + EXTRA, padding, i;
    padding = (ALIGNMENT - (at + fixed) % ALIGNMENT) % ALIGNMENT;
    *length = fixed + padding;
    if (most < *length || memcmp(h, "PK\3\4", 4) != 0 || two(h + 4) != NEEDED || two(h + 6) != 0 ||
        two(h + 8) != 0 || two(h + 10) != 0 || two(h + 12) != DATE ||
        memcmp(h + 14, record + 16, 12) != 0 || two(h + 26) != name ||
        two(h + 28) != EXTRA + padding || memcmp(h + LOCAL, record + CENTRAL, name) != 0) {
        return false;
    }
    h += LOCAL + name;
    if (two(h) != EXTRA_ID || two(h + 2) != 2 + padding || two(h + 4) != ALIGNMENT) {
        return false;
    }
    for (i = 0; i < padding; i++) {
        if (h[EXTRA + i] != 0) {
            return false;
        }
    }
    return true;
}

static edgecap_status check_name(const ec_packed *files, size_t index, size_t length,
                                 edgecap_error *error)
{
    const char *name = files[index].name;
    bool whole = strlen(name) == length; /* no null byte in it */
    if (index == 0) {
        return whole && strcmp(name, MANIFEST) == 0
                   ? EDGECAP_OK
                   : refuse(error, "does not begin with manifest.json");
    }
    if (!whole || !ec_is_plain_path(name) || strcmp(name, MANIFEST) == 0) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.path",
                       "'%.60s' is not a plain path inside the bundle.", name);
    }
    if (index > 1 && strcmp(name, files[index - 1].name) <= 0) {
        return refuse(error, "has a file twice or out of order");
    }
    return EDGECAP_OK;
}

/* One record of the directory at `*place`, and the file at `*at` that it names. */
static edgecap_status read_file(ec_arena *arena, const uint8_t *data, size_t central, size_t end,
                                size_t *place, size_t *at, ec_packed *files, size_t index,
                                edgecap_error *error)
{
    const uint8_t *record = data + *place;
    size_t length, header;
    edgecap_status status;
    if (end - *place < CENTRAL) {
        return refuse(error, "has a directory that ends early");
    }
    status = check_record(record, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    length = two(record + 28);
    if (end - *place - CENTRAL < length) {
        return refuse(error, "has a directory that ends early");
    }
    files[index].name = ec_arena_text(arena, (const char *)record + CENTRAL, length);
    if (files[index].name == NULL) {
        return ec_no_memory(error);
    }
    status = check_name(files, index, length, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    if (four(record + 42) != *at || !is_header(data + *at, central - *at, record, *at, &header)) {
        return refuse(error, "has files that overlap or leave a gap");
    }
    *at += header;
    files[index].data = data + *at;
    files[index].size = four(record + 20);
    if (files[index].size > central - *at) {
        return refuse(error, "ends inside a file");
    }
    *at += files[index].size;
    *place += CENTRAL + length;
    return EDGECAP_OK;
}

edgecap_status ec_container_read(ec_arena *arena, const uint8_t *data, size_t size,
                                 ec_container *container, edgecap_error *error)
{
    size_t end, central, count, place, at = 0, i;
    ec_packed *files;
    edgecap_status status;
    if (size < END || size > 0xFFFFFFFFu) {
        return refuse(error, "has no archive's size");
    }
    end = size - END;
    if (memcmp(data + end, "PK\5\6", 4) != 0) {
        return refuse(error, "has no end record: it is truncated, or something follows it");
    }
    count = two(data + end + 10);
    central = four(data + end + 16);
    if (four(data + end + 4) != 0 || two(data + end + 20) != 0 || two(data + end + 8) != count ||
        central > end || four(data + end + 12) != end - central) {
        return refuse(error, "has a wrong end record");
    }
    if (count < 1 || count > MOST_FILES) {
        return refuse(error, "has no file, or more than 4096");
    }
    files = ec_arena_array(arena, count, sizeof *files);
    if (files == NULL) {
        return ec_no_memory(error);
    }
    place = central;
    for (i = 0; i < count; i++) {
        status = read_file(arena, data, central, end, &place, &at, files, i, error);
        if (status != EDGECAP_OK) {
            return status;
        }
    }
    if (at != central || place != end) {
        return refuse(error, "has bytes that belong to no file");
    }
    if (ec_crc32(files[0].data, files[0].size) != four(data + 14)) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.altered", "manifest.json is damaged.");
    }
    container->files = files;
    container->count = count;
    return EDGECAP_OK;
}

const ec_packed *ec_container_find(const ec_container *container, const char *name)
{
    size_t i;
    for (i = 0; i < container->count; i++) {
        if (strcmp(container->files[i].name, name) == 0) {
            return &container->files[i];
        }
    }
    return NULL;
}
