/* codecs.c: PNG by libpng and JPEG by libjpeg-turbo, for the command line.
 *
 * Built in with -DEDGECAP_WITH_PNG -lpng and -DEDGECAP_WITH_JPEG -ljpeg; without them each function
 * says what is missing.
 */
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "pnm.h"

#if defined(EDGECAP_WITH_PNG)

#include <png.h>

edgecap_status edgecap_decode_png(const uint8_t *data, size_t length, edgecap_image *image,
                                  edgecap_error *error)
{
    png_image png;
    uint8_t *pixels;
    int channels;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&png, data, length)) {
        return ec_fail(error, EDGECAP_INPUT, "image.unreadable", "PNG: %.100s.", png.message);
    }
    if (png.width > 89478485u / png.height) {
        png_image_free(&png);
        return ec_fail(error, EDGECAP_INPUT, "image.too_large", "the image is too large.");
    }
    png.format = png.format & PNG_FORMAT_FLAG_ALPHA ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    channels = png.format == PNG_FORMAT_RGBA ? 4 : 3;
    pixels = malloc(PNG_IMAGE_SIZE(png));
    if (pixels == NULL || !png_image_finish_read(&png, NULL, pixels, 0, NULL)) {
        edgecap_status status = pixels == NULL ? ec_no_memory(error)
                                               : ec_fail(error, EDGECAP_INPUT, "image.truncated",
                                                         "PNG: %.100s.", png.message);
        png_image_free(&png);
        free(pixels);
        return status;
    }
    image->data = pixels;
    image->width = (int32_t)png.width;
    image->height = (int32_t)png.height;
    image->stride = (ptrdiff_t)channels * image->width;
    image->format = channels == 4 ? EDGECAP_RGBA : EDGECAP_RGB;
    image->orientation = 1;
    return EDGECAP_OK;
}

#else

edgecap_status edgecap_decode_png(const uint8_t *data, size_t length, edgecap_image *image,
                                  edgecap_error *error)
{
    (void)data, (void)length, (void)image;
    return ec_fail(error, EDGECAP_UNSUPPORTED, "image.format",
                   "built without libpng: give a PNM, or build with -DEDGECAP_WITH_PNG -lpng.");
}

#endif

#if defined(EDGECAP_WITH_JPEG)

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

typedef struct catcher {
    struct jpeg_error_mgr base;
    jmp_buf out;
    char said[JMSG_LENGTH_MAX];
} catcher;

static void on_error(j_common_ptr info)
{
    catcher *c = (catcher *)info->err;
    info->err->format_message(info, c->said);
    longjmp(c->out, 1);
}

static void on_message(j_common_ptr info, int level)
{
    (void)info, (void)level; /* nothing is printed */
}

/* EXIF's orientation, 1 where there is none; APP1 holds a small TIFF file. */
static int exif_orientation(const uint8_t *data, size_t length)
{
    bool big;
    size_t place, count, i;
#define TWO(p)                                                                                     \
    (big ? (uint32_t)data[p] << 8 | data[(p) + 1] : (uint32_t)data[(p) + 1] << 8 | data[p])
    if (length < 14 || memcmp(data, "Exif\0\0", 6) != 0) {
        return 1;
    }
    data += 6;
    length -= 6;
    big = data[0] == 'M';
    place = big ? (size_t)(TWO(4) << 16 | TWO(6)) : (size_t)(TWO(6) << 16 | TWO(4));
    if (place > length || length - place < 2) {
        return 1;
    }
    count = TWO(place);
    for (i = 0, place += 2; i < count && length - place >= 12; i++, place += 12) {
        if (TWO(place) == 0x0112) {
            uint32_t value = TWO(place + 8);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    }
    return 1;
#undef TWO
}

edgecap_status edgecap_decode_jpeg(const uint8_t *data, size_t length, edgecap_image *image,
                                   edgecap_error *error)
{
    struct jpeg_decompress_struct jpeg;
    catcher c;
    uint8_t *volatile pixels = NULL;
    jpeg_saved_marker_ptr marker;
    volatile int orientation = 1;
    jpeg.err = jpeg_std_error(&c.base);
    c.base.error_exit = on_error;
    c.base.emit_message = on_message;
    if (setjmp(c.out)) {
        jpeg_destroy_decompress(&jpeg);
        free(pixels);
        return ec_fail(error, EDGECAP_INPUT, "image.unreadable", "JPEG: %.100s.", c.said);
    }
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, data, (unsigned long)length);
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&jpeg, TRUE);
    if (jpeg.image_width > 89478485u / jpeg.image_height) {
        jpeg_destroy_decompress(&jpeg);
        return ec_fail(error, EDGECAP_INPUT, "image.too_large", "the image is too large.");
    }
    for (marker = jpeg.marker_list; marker != NULL; marker = marker->next) {
        orientation =
            orientation == 1 ? exif_orientation(marker->data, marker->data_length) : orientation;
    }
    jpeg.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg);
    pixels = malloc(3 * (size_t)jpeg.output_width * jpeg.output_height);
    if (pixels == NULL) {
        jpeg_destroy_decompress(&jpeg);
        return ec_no_memory(error);
    }
    while (jpeg.output_scanline < jpeg.output_height) {
        uint8_t *row = pixels + 3 * (size_t)jpeg.output_width * jpeg.output_scanline;
        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    image->data = pixels;
    image->width = (int32_t)jpeg.output_width;
    image->height = (int32_t)jpeg.output_height;
    image->stride = 3 * (ptrdiff_t)image->width;
    image->format = EDGECAP_RGB;
    image->orientation = orientation;
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
    return EDGECAP_OK;
}

#else

edgecap_status edgecap_decode_jpeg(const uint8_t *data, size_t length, edgecap_image *image,
                                   edgecap_error *error)
{
    (void)data, (void)length, (void)image;
    return ec_fail(error, EDGECAP_UNSUPPORTED, "image.format",
                   "built without libjpeg: give a PNM, or build with -DEDGECAP_WITH_JPEG -ljpeg.");
}

#endif
