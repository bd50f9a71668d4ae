/* image_fit.h: an image to the bytes that encode takes, by the image spec of schema 2. */
#ifndef EDGECAP_IMAGE_FIT_H
#define EDGECAP_IMAGE_FIT_H

#include "specs.h"

/* `input` is [h][w][3] of the spec's input size. image.elongated where one edge is so much longer
 * that resizing would make too many pixels, image.crops where the image makes several crops. */
edgecap_status ec_process_image(const edgecap_memory *memory, const edgecap_image *image,
                                const ec_image_spec *spec, uint8_t *input, ec_placement *placement,
                                edgecap_error *error);

#endif
