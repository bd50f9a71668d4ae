/* image.c: sizes, strides, formats and orientations of images, where schema 2 fits them, and crops.
 */
#include "image_fit.h"

#include <string.h>

#include "fuzz.h"

enum { HEAD = 24, MOST_SIDE = 256, MOST_BYTES = 1 << 16, MOST_INPUT = 48 };

static int16_t word(const uint8_t *data, size_t place)
{
    return (int16_t)(data[2 * place] | data[2 * place + 1] << 8);
}

/* Pixels of a size that a device may have; the bytes that are left repeat. */
static uint8_t *pixels_of(const edgecap_image *image, const uint8_t *data, size_t size)
{
    static const size_t channels[] = {1, 2, 3, 3, 4, 4};
    size_t i, row, count;
    uint8_t *pixels;
    if (image->width < 1 || image->height < 1 || image->format > EDGECAP_BGRA ||
        image->stride < (ptrdiff_t)channels[image->format] * image->width) {
        return NULL;
    }
    row = channels[image->format] * (size_t)image->width;
    count = (size_t)image->stride * ((size_t)image->height - 1) + row;
    pixels = count <= MOST_BYTES ? malloc(count) : NULL;
    for (i = 0; pixels != NULL && i < count; i++) {
        pixels[i] = size > 0 ? data[i % size] : (uint8_t)i;
    }
    return pixels;
}

static void fit(const edgecap_image *image, const ec_image_spec *spec)
{
    size_t count = 3 * (size_t)ec_input_height(spec) * (size_t)ec_input_width(spec), i;
    uint8_t *input = malloc(count);
    edgecap_error error;
    ec_fitted fitted;
    if (ec_fit_image(&FUZZ_MEMORY, image, spec, &fitted, &error) == EDGECAP_OK) {
        if ((int64_t)ec_fitted_count(&fitted) > ec_most_crops(spec)) {
            abort();
        }
        for (i = 0; i < ec_fitted_count(&fitted); i++) {
            ec_cut_input(&FUZZ_MEMORY, &fitted, spec, i, input, &error);
        }
        ec_fitted_close(&FUZZ_MEMORY, &fitted);
    }
    free(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    edgecap_image image;
    ec_image_spec spec;
    ec_placement placement;
    edgecap_error error;
    uint8_t *pixels, *input;
    int32_t side;
    if (size < HEAD) {
        return 0;
    }
    memset(&image, 0, sizeof image);
    image.width = word(data, 0) % MOST_SIDE;
    image.height = word(data, 1) % MOST_SIDE;
    image.stride = word(data, 2);
    image.format = (edgecap_pixels)(data[6] % 8);
    image.orientation = data[7] % 11;
    pixels = pixels_of(&image, data + HEAD, size - HEAD);
    image.data = pixels;
    side = 1 + data[8] % MOST_INPUT;
    input = malloc(3 * (size_t)side * (size_t)side);
    ec_letterbox(&FUZZ_MEMORY, &image, side, data[9], (ec_filter)(data[10] % 6), input, &placement,
                 &error);
    free(input);
    memset(&spec, 0, sizeof spec);
    spec.height = 1 + data[11] % MOST_INPUT;
    spec.width = 1 + data[12] % MOST_INPUT;
    spec.fit = (ec_fit)(data[13] % 5);
    spec.filter = (ec_filter)(data[14] % 6);
    spec.background = data[15] % 4 == 0 ? -1 : data[15];
    spec.crop_height = spec.fit == EC_COVER ? 1 + data[16] % MOST_INPUT : 0;
    spec.crop_width = spec.fit == EC_COVER ? 1 + data[17] % MOST_INPUT : 0;
    spec.fill = data[18];
    spec.bgr = data[19] & 1;
    if (spec.fit == EC_LONGEST_EDGE) {
        spec.crop_side = 1 + data[16] % MOST_INPUT;
        spec.split = data[17] & 1;
        spec.height = spec.width = 2 * spec.height; /* as a manifest must have it */
    }
    fit(&image, &spec);
    free(pixels);
    return 0;
}
