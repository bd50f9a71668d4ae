/* vectors_images.c: resizing, letterbox, orientation, pixel formats. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "vectors.h"

static edgecap_image noise_image(const ec_json *one, int orientation)
{
    edgecap_image image;
    size_t count;
    uint8_t *data;
    image.width = (int32_t)item(need(one, "from"), 0)->whole;
    image.height = (int32_t)item(need(one, "from"), 1)->whole;
    image.stride = 3 * image.width;
    image.format = EDGECAP_RGB;
    image.orientation = orientation;
    count = 3 * (size_t)image.width * (size_t)image.height;
    data = malloc(count);
    make_noise(data, count, (uint32_t)whole(one, "seed"));
    image.data = data;
    return image;
}

static void run_resize(const char *folder)
{
    static const char *const names[] = {"box", "bilinear", "bicubic", "lanczos"};
    topic t = open_topic(folder, "resize");
    const ec_json *one;
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        edgecap_image image = noise_image(one, 1);
        int32_t w = (int32_t)item(need(one, "to"), 0)->whole;
        int32_t h = (int32_t)item(need(one, "to"), 1)->whole;
        size_t count = 3 * (size_t)w * (size_t)h;
        uint8_t *out = malloc(count);
        int filter = 0;
        char what[100];
        while (strcmp(names[filter], text(one, "filter")) != 0) {
            filter++;
        }
        snprintf(what, sizeof what, "resize %s %ldx%ld to %ldx%ld", names[filter],
                 (long)image.width, (long)image.height, (long)w, (long)h);
        check(ec_resize(&plain_memory, &image, 127, (ec_filter)filter, w, h, out, 3 * (size_t)w,
                        NULL) == EDGECAP_OK,
              "%s", what);
        check_bytes(&t, one, out, count, what);
        free((void *)image.data);
        free(out);
    }
    close_topic(&t);
}

static void run_letterbox(const char *folder)
{
    topic t = open_topic(folder, "letterbox");
    const ec_json *one, *pair;
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        edgecap_image image = noise_image(one, 1);
        int32_t size = (int32_t)whole(one, "size");
        size_t count = 3 * (size_t)size * (size_t)size;
        uint8_t *out = malloc(count);
        ec_placement p;
        char what[100];
        snprintf(what, sizeof what, "letterbox %ldx%ld", (long)image.width, (long)image.height);
        check(ec_letterbox(&plain_memory, &image, size, (uint8_t)whole(one, "fill"), EC_BILINEAR,
                           out, &p, NULL) == EDGECAP_OK,
              "%s", what);
        check_bytes(&t, one, out, count, what);
        check(p.left == whole(one, "left") && p.top == whole(one, "top") &&
                  p.scaled_width == item(need(one, "scaled"), 0)->whole &&
                  p.scaled_height == item(need(one, "scaled"), 1)->whole,
              "%s: placement", what);
        for (pair = need(one, "boxes")->first; pair != NULL; pair = pair->next) {
            double box[4], back[4];
            size_t i;
            for (i = 0; i < 4; i++) {
                box[i] = item(pair->first, i)->number;
            }
            ec_to_image(&p, box, back);
            for (i = 0; i < 4; i++) {
                check(fabs(back[i] - item(pair->first->next, i)->number) < 1e-9, "%s: box", what);
            }
        }
        free((void *)image.data);
        free(out);
    }
    close_topic(&t);
}

/* The same pixels in rows that are farther apart, the last row first in memory.
 */
static void check_strides(const topic *t, const ec_json *one, edgecap_image image, size_t channels,
                          uint8_t fill, size_t count, const char *what)
{
    size_t row = channels * (size_t)image.width, far = row + 5, y;
    uint8_t *data = malloc(far * (size_t)image.height), *out = malloc(count);
    for (y = 0; y < (size_t)image.height; y++) {
        memcpy(data + far * ((size_t)image.height - 1 - y), image.data + row * y, row);
    }
    image.data = data + far * ((size_t)image.height - 1);
    image.stride = -(ptrdiff_t)far;
    check(ec_flatten(&image, fill, out, NULL) == EDGECAP_OK, "%s, upwards", what);
    check_bytes(t, one, out, count, what);
    free(data);
    free(out);
}

static void run_pixels(const char *folder)
{
    static const char *const names[] = {"grey", "grey_alpha", "rgb", "bgr", "rgba", "bgra"};
    topic t = open_topic(folder, "pixels");
    const ec_json *one;
    for (one = need(t.root, "orientations")->first; one != NULL; one = one->next) {
        edgecap_image image = noise_image(one, (int)whole(one, "orientation"));
        size_t count = 3 * (size_t)image.width * (size_t)image.height;
        uint8_t *out = malloc(count);
        char what[40];
        snprintf(what, sizeof what, "orientation %ld", (long)image.orientation);
        check(ec_flatten(&image, 127, out, NULL) == EDGECAP_OK, "%s", what);
        check_bytes(&t, one, out, count, what);
        check_strides(&t, one, image, 3, 127, count, what);
        free((void *)image.data);
        free(out);
    }
    for (one = need(t.root, "formats")->first; one != NULL; one = one->next) {
        edgecap_image image;
        size_t channels = (size_t)whole(one, "channels"), count;
        uint8_t fill = (uint8_t)whole(one, "fill"), *out;
        int format = 0;
        while (strcmp(names[format], text(one, "format")) != 0) {
            format++;
        }
        image.data = (const uint8_t *)t.bytes + whole(one, "source");
        image.width = (int32_t)item(need(one, "size"), 0)->whole;
        image.height = (int32_t)item(need(one, "size"), 1)->whole;
        image.stride = (ptrdiff_t)channels * image.width;
        image.format = (edgecap_pixels)format;
        image.orientation = 1;
        count = 3 * (size_t)image.width * (size_t)image.height;
        out = malloc(count);
        check(ec_flatten(&image, fill, out, NULL) == EDGECAP_OK, "format %s", names[format]);
        check_bytes(&t, one, out, count, names[format]);
        check_strides(&t, one, image, channels, fill, count, names[format]);
        free(out);
    }
    close_topic(&t);
}

void run_images(const char *folder)
{
    run_resize(folder);
    run_letterbox(folder);
    run_pixels(folder);
}
