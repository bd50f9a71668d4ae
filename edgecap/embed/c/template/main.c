/* captions BUNDLE IMAGE.rgb WIDTH HEIGHT [LIBRARY]: the caption of raw 8-bit
 * RGB pixels, which your app decodes.
 *
 *   cc -std=c99 -O2 -Iedgecap -o captions main.c edgecap/[a-z]*.c -lm -ldl
 *   ./captions model.edgecap image.rgb 640 480
 *
 * BUNDLE is a packed bundle or a directory. LIBRARY is the engine's shared
 * library, where it is not among the system's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "edgecap.h"

static int caption_pixels(edgecap_captioner *captioner, const edgecap_image *image)
{
    edgecap_error error;
    edgecap_caption caption = edgecap_caption_init();
    int failed;
    caption.text_capacity = edgecap_get_info(captioner).most_text_bytes;
    caption.text = malloc(caption.text_capacity);
    if (caption.text == NULL) {
        return 1;
    }
    failed = edgecap_describe(captioner, image, NULL, &caption, &error) != EDGECAP_OK;
    if (failed) {
        fprintf(stderr, "[%s] %s\n", error.code, error.message);
    } else {
        puts(caption.text);
    }
    free(caption.text);
    return failed;
}

int main(int count, char **arguments)
{
    edgecap_open_params params = edgecap_open_default_params();
    edgecap_captioner *captioner;
    edgecap_error error;
    edgecap_image image = {NULL, 0, 0, 0, EDGECAP_RGB, 1};
    size_t bytes;
    uint8_t *pixels;
    FILE *file;
    int failed = 1;
    if (count < 5 || atoi(arguments[3]) < 1 || atoi(arguments[4]) < 1) {
        fprintf(stderr, "usage: captions BUNDLE IMAGE.rgb WIDTH HEIGHT [LIBRARY]\n");
        return 2;
    }
    params.library = count > 5 ? arguments[5] : NULL;
    captioner = edgecap_open(arguments[1], &params, &error);
    if (captioner == NULL) {
        fprintf(stderr, "[%s] %s\n", error.code, error.message);
        return 2;
    }
    image.width = atoi(arguments[3]);
    image.height = atoi(arguments[4]);
    image.stride = 3 * (ptrdiff_t)image.width;
    bytes = 3 * (size_t)image.width * (size_t)image.height;
    pixels = malloc(bytes);
    file = fopen(arguments[2], "rb");
    if (pixels == NULL || file == NULL || fread(pixels, 1, bytes, file) != bytes) {
        fprintf(stderr, "%s does not hold that many pixels\n", arguments[2]);
    } else {
        image.data = pixels;
        failed = caption_pixels(captioner, &image);
    }
    if (file != NULL) {
        fclose(file);
    }
    free(pixels);
    edgecap_close(captioner);
    return failed;
}
