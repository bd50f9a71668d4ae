/* pnm.c: see pnm.h. Netpbm's P5 and P6, of 8 bits or 16 (of which the high byte counts). */
#include "pnm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { MOST_FILE = 1 << 30, MOST_PIXELS = 89478485 };

static edgecap_status unreadable(edgecap_error *error, const char *what)
{
    return ec_fail(error, EDGECAP_INPUT, "image.unreadable", "%s.", what);
}

static uint8_t *read_all(const char *path, size_t *length, edgecap_error *error)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0, room = 1 << 16;
    *length = 0;
    if (file == NULL) {
        ec_fail(error, EDGECAP_INPUT, "image.missing", "%.150s cannot be read.", path);
        return NULL;
    }
    for (;;) {
        uint8_t *more = realloc(data, room);
        if (more == NULL) {
            ec_no_memory(error);
            break;
        }
        data = more;
        size += fread(data + size, 1, room - size, file);
        if (size < room) {
            bool broken = ferror(file) != 0;
            fclose(file);
            if (broken) {
                ec_fail(error, EDGECAP_INPUT, "image.missing", "%.150s cannot be read.", path);
                free(data);
                return NULL;
            }
            *length = size;
            return data;
        }
        if (room >= MOST_FILE) {
            ec_fail(error, EDGECAP_INPUT, "image.too_large", "%.150s is too large.", path);
            break;
        }
        room *= 2;
    }
    fclose(file);
    free(data);
    return NULL;
}

/* A number of the header, white space and comments before it; -1: none. */
static long header_number(const uint8_t *data, size_t length, size_t *place)
{
    long value = -1;
    while (*place < length && (data[*place] <= ' ' || data[*place] == '#')) {
        if (data[*place] == '#') {
            while (*place < length && data[*place] != '\n') {
                ++*place;
            }
        } else {
            ++*place;
        }
    }
    while (*place < length && data[*place] >= '0' && data[*place] <= '9') {
        value = value > 100000000 ? value : (value < 0 ? 0 : value) * 10 + (data[*place] - '0');
        ++*place;
    }
    return value;
}

static edgecap_status decode_pnm(const uint8_t *data, size_t length, edgecap_image *image,
                                 edgecap_error *error)
{
    size_t place = 2, channels = data[1] == '6' ? 3 : 1, count, i;
    long width = header_number(data, length, &place), height = header_number(data, length, &place);
    long most = header_number(data, length, &place);
    size_t bytes = most > 255 ? 2 : 1;
    uint8_t *pixels;
    place++; /* the one character of white space after the header */
    if (width < 1 || height < 1 || (most != 255 && most != 65535)) {
        return unreadable(error, "a PNM must be P5 or P6 of 255 or 65535 levels");
    }
    if (width > MOST_PIXELS / height) {
        return ec_fail(error, EDGECAP_INPUT, "image.too_large", "%ld x %ld pixels are too many.",
                       width, height);
    }
    count = channels * (size_t)width * (size_t)height;
    if (place > length || length - place < count * bytes) {
        return ec_fail(error, EDGECAP_INPUT, "image.truncated", "the file ends within the image.");
    }
    pixels = malloc(count);
    if (pixels == NULL) {
        return ec_no_memory(error);
    }
    for (i = 0; i < count; i++) {
        pixels[i] = data[place + i * bytes];
    }
    image->data = pixels;
    image->width = (int32_t)width;
    image->height = (int32_t)height;
    image->stride = (ptrdiff_t)(channels * (size_t)width);
    image->format = channels == 3 ? EDGECAP_RGB : EDGECAP_GREY;
    image->orientation = 1;
    return EDGECAP_OK;
}

edgecap_status edgecap_read_image(const char *path, edgecap_image *image, edgecap_error *error)
{
    edgecap_status status;
    size_t length;
    uint8_t *data = read_all(path, &length, error);
    memset(image, 0, sizeof *image);
    if (data == NULL) {
        return error != NULL ? error->status : EDGECAP_INPUT;
    }
    if (length >= 2 && data[0] == 'P' && (data[1] == '5' || data[1] == '6')) {
        status = decode_pnm(data, length, image, error);
    } else if (length >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0) {
        status = edgecap_decode_png(data, length, image, error);
    } else if (length >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0) {
        status = edgecap_decode_jpeg(data, length, image, error);
    } else {
        status = unreadable(error, "it is no PNM, PNG or JPEG");
    }
    free(data);
    return status;
}
