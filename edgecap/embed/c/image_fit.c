/* image_fit.c: see image_fit.h; edgecap/runtime/image_processing.py spells the rules out. */
#include "image_fit.h"

#include <string.h>

typedef struct plane { /* RGB, upright; `pixels` is the plane's own */
    uint8_t *pixels;
    int32_t width, height;
} plane;

static edgecap_image as_image(const plane *p)
{
    edgecap_image image;
    image.data = p->pixels;
    image.width = p->width;
    image.height = p->height;
    image.stride = 3 * (ptrdiff_t)p->width;
    image.format = EDGECAP_RGB;
    image.orientation = 1;
    return image;
}

static edgecap_status check_size(int64_t w, int64_t h, int64_t W, int64_t H, edgecap_error *error)
{
    int64_t taller = H > h ? H : h;
    if (W > EC_MOST_PIXELS || taller > EC_MOST_PIXELS / W) {
        return ec_fail(error, EDGECAP_INPUT, "image.elongated",
                       "an image of %ld x %ld px would be resized to %ld x %ld: too large.",
                       (long)w, (long)h, (long)W, (long)H);
    }
    return EDGECAP_OK;
}

/* An image of w x h as displayed, resized to a new plane. */
static edgecap_status resized(const edgecap_memory *memory, const edgecap_image *image, int32_t w,
                              int32_t h, const ec_image_spec *spec, int64_t W, int64_t H,
                              plane *out, edgecap_error *error)
{
    edgecap_status status = check_size(w, h, W, H, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    out->width = (int32_t)W;
    out->height = (int32_t)H;
    out->pixels = ec_allocate_array(memory, 3 * (size_t)W, (size_t)H);
    return out->pixels == NULL
               ? ec_no_memory(error)
               : ec_resize(memory, image, spec->background, spec->filter, out->width, out->height,
                           out->pixels, 3 * (size_t)W, error);
}

static edgecap_status resized_again(const edgecap_memory *memory, plane *p,
                                    const ec_image_spec *spec, int64_t W, int64_t H,
                                    edgecap_error *error)
{
    plane next = {0};
    edgecap_image image = as_image(p);
    edgecap_status status = resized(memory, &image, p->width, p->height, spec, W, H, &next, error);
    ec_release(memory, p->pixels);
    *p = next;
    return status;
}

/* ---- Sizes ---- */

static void contained(int64_t h, int64_t w, const ec_image_spec *s, int64_t *out_h, int64_t *out_w)
{
    /* The side that fills its own decides; whole numbers, so that every language agrees. */
    bool wide = s->width * h <= s->height * w;
    int64_t fill = wide ? s->width : s->height, m = wide ? w : h;
    *out_h = (h * fill + m / 2) / m;
    *out_w = (w * fill + m / 2) / m;
    *out_h = *out_h < 1 ? 1 : *out_h;
    *out_w = *out_w < 1 ? 1 : *out_w;
}

static void covering(int64_t h, int64_t w, int64_t edge, int64_t *out_h, int64_t *out_w)
{
    int64_t longer = h > w ? h : w, shorter = h > w ? w : h;
    int64_t other = (int64_t)((double)(edge * longer) / (double)shorter);
    *out_h = w <= h ? other : edge;
    *out_w = w <= h ? edge : other;
}

static void thumbnail(int64_t h, int64_t w, const ec_image_spec *s, int64_t *out_h, int64_t *out_w)
{
    *out_h = h < s->height ? h : s->height;
    *out_w = w < s->width ? w : s->width;
    if (*out_h == h && *out_w == w) {
        return;
    }
    if (h > w) {
        *out_w = (int64_t)((double)(w * *out_h) / (double)h);
    } else if (w > h) {
        *out_h = (int64_t)((double)(h * *out_w) / (double)w);
    }
    *out_h = *out_h < 1 ? 1 : *out_h;
    *out_w = *out_w < 1 ? 1 : *out_w;
}

static void longest_edge(int64_t h, int64_t w, int64_t edge, int64_t *out_h, int64_t *out_w)
{
    double ratio = (double)w / (double)h;
    int64_t other = w >= h ? (int64_t)((double)edge / ratio) : (int64_t)((double)edge * ratio);
    other += other % 2;
    other = other < 1 ? 1 : other;
    *out_h = w >= h ? other : edge;
    *out_w = w >= h ? edge : other;
}

static edgecap_status fit(const edgecap_memory *memory, const edgecap_image *image, int32_t w,
                          int32_t h, const ec_image_spec *s, plane *out, edgecap_error *error)
{
    int64_t H = s->height, W = s->width;
    edgecap_status status;
    switch (s->fit) {
    case EC_CONTAIN:
        contained(h, w, s, &H, &W);
        break;
    case EC_COVER:
    case EC_THUMBNAIL:
        covering(h, w, s->height < s->width ? s->height : s->width, &H, &W);
        break;
    case EC_LONGEST_EDGE:
        longest_edge(h, w, s->height, &H, &W);
        break;
    case EC_STRETCH:
        break;
    }
    status = resized(memory, image, w, h, s, W, H, out, error);
    if (status == EDGECAP_OK && s->fit == EC_THUMBNAIL) {
        thumbnail(out->height, out->width, s, &H, &W);
        status = resized_again(memory, out, s, W, H, error);
    }
    return status;
}

/* ---- Into the input ---- */

/* Where a side of the image begins in the input: rounded as transformers' center_crop, down where
 * it cuts, up where it pads. */
static int32_t offset(int32_t side, int32_t input, bool cuts)
{
    int32_t over = side - input;
    if (!cuts) {
        return (input - side) / 2;
    }
    return over >= 0 ? -(over / 2) : (1 - over) / 2;
}

static void centre(const plane *p, const ec_image_spec *s, uint8_t *input, ec_placement *at)
{
    int32_t H = ec_input_height(s), W = ec_input_width(s), y, first, last;
    bool cuts = s->crop_height > 0;
    at->top = p->height == H && p->width == W ? 0 : offset(p->height, H, cuts);
    at->left = p->height == H && p->width == W ? 0 : offset(p->width, W, cuts);
    memset(input, s->fill, 3 * (size_t)H * (size_t)W);
    first = at->left > 0 ? at->left : 0;
    last = at->left + p->width < W ? at->left + p->width : W;
    for (y = at->top > 0 ? at->top : 0; y < H && y < at->top + p->height; y++) {
        memcpy(input + 3 * ((size_t)y * (size_t)W + (size_t)first),
               p->pixels +
                   3 * ((size_t)(y - at->top) * (size_t)p->width + (size_t)(first - at->left)),
               3 * (size_t)(last - first));
    }
}

static int64_t multiple(int64_t length, int64_t side)
{
    int64_t count = (length + side - 1) / side;
    return (count < 1 ? 1 : count) * side;
}

/* The one crop that shows all of it; several are refused. */
static edgecap_status crop_all(const edgecap_memory *memory, plane *p, const ec_image_spec *s,
                               edgecap_error *error)
{
    int64_t side = s->crop_side, w = p->width, h = p->height;
    if (s->split) {
        double ratio = (double)w / (double)h;
        if (w >= h) {
            w = multiple(w, side);
            h = multiple((int64_t)((double)w / ratio), side);
        } else {
            h = multiple(h, side);
            w = multiple((int64_t)((double)h * ratio), side);
        }
        if (w != side || h != side) {
            return ec_fail(error, EDGECAP_UNSUPPORTED, "image.crops",
                           "an image makes %ld crops; encode takes one.",
                           (long)((w / side) * (h / side) + 1));
        }
    }
    return resized_again(memory, p, s, side, side, error);
}

edgecap_status ec_process_image(const edgecap_memory *memory, const edgecap_image *image,
                                const ec_image_spec *spec, uint8_t *input, ec_placement *placement,
                                edgecap_error *error)
{
    plane p = {0};
    int32_t w = 0, h = 0;
    size_t i, count = (size_t)ec_input_height(spec) * (size_t)ec_input_width(spec);
    edgecap_status status = ec_displayed(image, &w, &h, error);
    if (status == EDGECAP_OK) {
        status = fit(memory, image, w, h, spec, &p, error);
    }
    if (status == EDGECAP_OK && spec->crop_side > 0) {
        status = crop_all(memory, &p, spec, error);
    }
    if (status == EDGECAP_OK) {
        placement->width = w;
        placement->height = h;
        placement->scaled_width = p.width;
        placement->scaled_height = p.height;
        centre(&p, spec, input, placement);
        for (i = 0; spec->bgr && i < count; i++) {
            uint8_t red = input[3 * i];
            input[3 * i] = input[3 * i + 2];
            input[3 * i + 2] = red;
        }
    }
    ec_release(memory, p.pixels);
    return status;
}
