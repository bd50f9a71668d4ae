/* image_fit.h: an image to the bytes that encode takes, by the image spec of schema 2.
 *
 * Letters: h, w sides in px of the input. An image is one input, or a grid of crops, row by row,
 * and behind them a crop of all of it.
 */
#ifndef EDGECAP_IMAGE_FIT_H
#define EDGECAP_IMAGE_FIT_H

#include "specs.h"

typedef struct ec_fitted { /* an image, resized */
    uint8_t *pixels;       /* RGB, upright; its own */
    int32_t width, height;
    int32_t rows, columns;  /* of the grid; 0: the image is one input */
    ec_placement placement; /* in the input, or in the crop of all of it */
} ec_fitted;

/* image.elongated where one edge is so much longer that resizing would make too many pixels. */
edgecap_status ec_fit_image(const edgecap_memory *memory, const edgecap_image *image,
                            const ec_image_spec *spec, ec_fitted *fitted, edgecap_error *error);
void ec_fitted_close(const edgecap_memory *memory, ec_fitted *fitted);

/* How many inputs it makes: no more than ec_most_crops of its spec. */
size_t ec_fitted_count(const ec_fitted *fitted);

/* One of them, as uint8 [h,w,3]. */
edgecap_status ec_cut_input(const edgecap_memory *memory, const ec_fitted *fitted,
                            const ec_image_spec *spec, size_t place, uint8_t *input,
                            edgecap_error *error);

#endif
