/* image.h: an app's pixels to the model's input, to the bit as Pillow does it. */
#ifndef EDGECAP_IMAGE_H
#define EDGECAP_IMAGE_H

#include "core.h"

enum { EC_MOST_PIXELS = 89478485 };

typedef enum ec_filter {
    EC_BOX,
    EC_BILINEAR,
    EC_BICUBIC,
    EC_LANCZOS,
    EC_HAMMING,
    EC_NEAREST
} ec_filter;

/* Where an image lies on the model's input; width and height as displayed. All in px. */
typedef struct ec_placement {
    int32_t width, height, left, top, scaled_width, scaled_height;
} ec_placement;

ec_placement ec_place(int32_t width, int32_t height, int32_t size);

/* Edges x0 y0 x1 y1 on the model's input to the image's px, clipped to it. */
void ec_to_image(const ec_placement *placement, const double input[4], double image[4]);

/* Its size as displayed, and whether it can be used at all. */
edgecap_status ec_displayed(const edgecap_image *image, int32_t *width, int32_t *height,
                            edgecap_error *error);

/* Any image as upright RGB, [height][width][3] as displayed, without resizing. `ground`: the grey
 * behind transparent pixels, -1: alpha is dropped. */
edgecap_status ec_flatten(const edgecap_image *image, int32_t ground, uint8_t *rgb,
                          edgecap_error *error);

/* Any image to RGB of another size: `out` is [out_height][out_width][3] with rows `stride` bytes
 * apart. Memory for one pass is taken and given back. */
edgecap_status ec_resize(const edgecap_memory *memory, const edgecap_image *image, int32_t ground,
                         ec_filter filter, int32_t out_width, int32_t out_height, uint8_t *out,
                         size_t stride, edgecap_error *error);

/* The model's input [size][size][3]: the image, its aspect kept, in the middle of `fill`. */
edgecap_status ec_letterbox(const edgecap_memory *memory, const edgecap_image *image, int32_t size,
                            uint8_t fill, ec_filter filter, uint8_t *input, ec_placement *placement,
                            edgecap_error *error);

#endif
