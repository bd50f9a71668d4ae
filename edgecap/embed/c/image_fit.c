/* image_fit.c: see image_fit.h; edgecap/runtime/image_processing.py spells the rules out. */
#include "image_fit.h"

#include <string.h>

static edgecap_image as_image(const ec_fitted *p)
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

/* An image of w x h as displayed, resized to pixels of its own. */
static edgecap_status resized(const edgecap_memory *memory, const edgecap_image *image, int32_t w,
                              int32_t h, const ec_image_spec *spec, int64_t W, int64_t H,
                              ec_fitted *out, edgecap_error *error)
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

static edgecap_status resized_again(const edgecap_memory *memory, ec_fitted *p,
                                    const ec_image_spec *spec, int64_t W, int64_t H,
                                    edgecap_error *error)
{
    ec_fitted next = {0};
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
                          int32_t h, const ec_image_spec *s, ec_fitted *out, edgecap_error *error)
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

static void place(ec_fitted *p, const ec_image_spec *s, int32_t w, int32_t h)
{
    int32_t H = ec_input_height(s), W = ec_input_width(s);
    bool whole = p->height == H && p->width == W, cuts = s->crop_height > 0;
    p->placement.width = w;
    p->placement.height = h;
    p->placement.top = whole ? 0 : offset(p->height, H, cuts);
    p->placement.left = whole ? 0 : offset(p->width, W, cuts);
    p->placement.scaled_width = p->width;
    p->placement.scaled_height = p->height;
}

/* Pixels, with their corner at row `top` and column `left` of the input. */
static void copy_part(const ec_fitted *p, const ec_image_spec *s, int32_t top, int32_t left,
                      uint8_t *input)
{
    int32_t H = ec_input_height(s), W = ec_input_width(s), y;
    int32_t first = left > 0 ? left : 0, last = left + p->width < W ? left + p->width : W;
    memset(input, s->fill, 3 * (size_t)H * (size_t)W);
    for (y = top > 0 ? top : 0; y < H && y < top + p->height; y++) {
        memcpy(input + 3 * ((size_t)y * (size_t)W + (size_t)first),
               p->pixels + 3 * ((size_t)(y - top) * (size_t)p->width + (size_t)(first - left)),
               3 * (size_t)(last - first));
    }
}

static int64_t multiple(int64_t length, int64_t side)
{
    int64_t count = (length + side - 1) / side;
    return (count < 1 ? 1 : count) * side;
}

/* To whole cells of a grid, or to the one crop that shows all of it. */
static edgecap_status fit_grid(const edgecap_memory *memory, ec_fitted *p, const ec_image_spec *s,
                               edgecap_error *error)
{
    int64_t side = s->crop_side, w = side, h = side;
    double ratio = (double)p->width / (double)p->height;
    ec_placement all = p->placement;
    edgecap_status status;
    if (s->split && p->width >= p->height) {
        w = multiple(p->width, side);
        h = multiple((int64_t)((double)w / ratio), side);
    } else if (s->split) {
        h = multiple(p->height, side);
        w = multiple((int64_t)((double)h * ratio), side);
    }
    all.top = all.left = 0;
    all.scaled_width = all.scaled_height = s->crop_side;
    status = resized_again(memory, p, s, w, h, error);
    p->placement = all;
    if (w > side || h > side) {
        p->rows = (int32_t)(h / side);
        p->columns = (int32_t)(w / side);
    }
    return status;
}

edgecap_status ec_fit_image(const edgecap_memory *memory, const edgecap_image *image,
                            const ec_image_spec *spec, ec_fitted *fitted, edgecap_error *error)
{
    int32_t w = 0, h = 0;
    edgecap_status status = ec_displayed(image, &w, &h, error);
    memset(fitted, 0, sizeof *fitted);
    if (status == EDGECAP_OK) {
        status = fit(memory, image, w, h, spec, fitted, error);
    }
    if (status == EDGECAP_OK) {
        place(fitted, spec, w, h);
    }
    if (status == EDGECAP_OK && spec->crop_side > 0) {
        status = fit_grid(memory, fitted, spec, error);
    }
    if (status != EDGECAP_OK) {
        ec_fitted_close(memory, fitted);
    }
    return status;
}

void ec_fitted_close(const edgecap_memory *memory, ec_fitted *fitted)
{
    ec_release(memory, fitted->pixels);
    fitted->pixels = NULL;
}

size_t ec_fitted_count(const ec_fitted *fitted)
{
    return fitted->rows > 0 ? (size_t)fitted->rows * (size_t)fitted->columns + 1 : 1;
}

edgecap_status ec_cut_input(const edgecap_memory *memory, const ec_fitted *fitted,
                            const ec_image_spec *spec, size_t place, uint8_t *input,
                            edgecap_error *error)
{
    int32_t side = spec->crop_side, crop = (int32_t)place;
    size_t count = (size_t)ec_input_height(spec) * (size_t)ec_input_width(spec), i;
    edgecap_status status = EDGECAP_OK;
    if (fitted->rows == 0) {
        copy_part(fitted, spec, fitted->placement.top, fitted->placement.left, input);
    } else if (crop < fitted->rows * fitted->columns) {
        copy_part(fitted, spec, -(crop / fitted->columns) * side, -(crop % fitted->columns) * side,
                  input);
    } else {
        edgecap_image image = as_image(fitted);
        status = ec_resize(memory, &image, spec->background, spec->filter, side, side, input,
                           3 * (size_t)side, error);
    }
    for (i = 0; spec->bgr && i < count; i++) {
        uint8_t red = input[3 * i];
        input[3 * i] = input[3 * i + 2];
        input[3 * i + 2] = red;
    }
    return status;
}
