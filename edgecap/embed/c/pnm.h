/* pnm.h: image files for the command line. PNM always; PNG and JPEG where codecs.c is built with
 * the libraries for them. The core needs none of this: an app decodes its own images. */
#ifndef EDGECAP_PNM_H
#define EDGECAP_PNM_H

#include "edgecap.h"

/* Reads an image file; image->data is to be given to free(). Codes image.missing, image.unreadable,
 * image.truncated, image.too_large. */
edgecap_status edgecap_read_image(const char *path, edgecap_image *image, edgecap_error *error);

/* codecs.c: EDGECAP_UNSUPPORTED where this format was not built in. */
edgecap_status edgecap_decode_png(const uint8_t *data, size_t length, edgecap_image *image,
                                  edgecap_error *error);
edgecap_status edgecap_decode_jpeg(const uint8_t *data, size_t length, edgecap_image *image,
                                   edgecap_error *error);

#endif
