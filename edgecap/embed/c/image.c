/* image.c: see image.h. conformance/images.py spells the algorithm out. */
#include "image.h"

#include <math.h>
#include <string.h>

enum { BITS = 22 }; /* 32 less 8 for a value less 2 for headroom */

/* ---- Reading pixels ---- */

typedef struct source { /* an image as displayed: upright, from its upper left corner */
    const uint8_t *origin;
    ptrdiff_t across, down; /* bytes to the next pixel */
    int32_t width, height;
    edgecap_pixels format;
    int32_t ground; /* grey behind transparent pixels; -1: alpha is dropped */
} source;

static const uint8_t CHANNELS[] = {1, 2, 3, 3, 4, 4};

static edgecap_status open_source(const edgecap_image *image, int32_t ground, source *s,
                                  edgecap_error *error)
{
    ptrdiff_t channels, right, below, swap;
    const uint8_t *corner;
    int32_t turned;
    if (image == NULL || image->data == NULL) {
        return ec_fail(error, EDGECAP_INPUT, "image.missing", "no image was given.");
    }
    if (image->width < 1 || image->height < 1) {
        return ec_fail(error, EDGECAP_INPUT, "image.empty", "the image has no pixels: %ld x %ld.",
                       (long)image->width, (long)image->height);
    }
    if (image->width > EC_MOST_PIXELS / image->height) {
        return ec_fail(error, EDGECAP_INPUT, "image.too_large",
                       "the image is too large: %ld x %ld; at most %ld pixels are taken.",
                       (long)image->width, (long)image->height, (long)EC_MOST_PIXELS);
    }
    if ((int)image->format < EDGECAP_GREY || (int)image->format > EDGECAP_BGRA) {
        return ec_fail(error, EDGECAP_INPUT, "image.format", "pixel format %d is not known.",
                       (int)image->format);
    }
    if (image->orientation < 1 || image->orientation > 8) {
        return ec_fail(error, EDGECAP_INPUT, "image.orientation",
                       "orientation must be 1-8 as in EXIF, got %ld.", (long)image->orientation);
    }
    channels = CHANNELS[image->format];
    right = channels;
    below = image->stride;
    if (image->height > 1 && (below < 0 ? -below : below) < channels * image->width) {
        return ec_fail(error, EDGECAP_INPUT, "image.stride",
                       "rows of %ld pixels do not fit in a stride of %ld bytes.",
                       (long)image->width, (long)below);
    }
    turned = image->orientation - 1;
    corner = image->data;
    /* From the corner of the stored image that is displayed in the upper left. */
    if (turned == 1 || turned == 2 || turned == 6 || turned == 7) {
        corner += right * (image->width - 1);
        right = -right;
    }
    if (turned == 2 || turned == 3 || turned == 5 || turned == 6) {
        corner += below * (image->height - 1);
        below = -below;
    }
    s->width = image->width;
    s->height = image->height;
    if (turned >= 4) { /* rows are displayed as columns */
        swap = right;
        right = below;
        below = swap;
        s->width = image->height;
        s->height = image->width;
    }
    s->origin = corner;
    s->across = right;
    s->down = below;
    s->format = image->format;
    s->ground = ground;
    return EDGECAP_OK;
}

/* `value` of opacity `alpha` over a grey, as Pillow's alpha_composite rounds it. */
static uint8_t over(uint32_t value, uint32_t alpha, int32_t ground)
{
    uint32_t own = 128 * alpha, total;
    if (ground < 0) {
        return (uint8_t)value;
    }
    if (alpha == 0) {
        return (uint8_t)ground;
    }
    total = value * own + (uint32_t)ground * (255 * 128 - own) + 128 * 128;
    return (uint8_t)((((total >> 8) + total) >> 8) >> 7);
}

static void read_row(const source *s, int32_t y, uint8_t *rgb)
{
    const uint8_t *p = s->origin + s->down * y;
    int32_t x;
    for (x = 0; x < s->width; x++, p += s->across, rgb += 3) {
        switch (s->format) {
        case EDGECAP_GREY:
            rgb[0] = rgb[1] = rgb[2] = p[0];
            break;
        case EDGECAP_GREY_ALPHA:
            rgb[0] = rgb[1] = rgb[2] = over(p[0], p[1], s->ground);
            break;
        case EDGECAP_RGB:
            rgb[0] = p[0], rgb[1] = p[1], rgb[2] = p[2];
            break;
        case EDGECAP_BGR:
            rgb[0] = p[2], rgb[1] = p[1], rgb[2] = p[0];
            break;
        case EDGECAP_RGBA:
            rgb[0] = over(p[0], p[3], s->ground);
            rgb[1] = over(p[1], p[3], s->ground);
            rgb[2] = over(p[2], p[3], s->ground);
            break;
        default:
            rgb[0] = over(p[2], p[3], s->ground);
            rgb[1] = over(p[1], p[3], s->ground);
            rgb[2] = over(p[0], p[3], s->ground);
            break;
        }
    }
}

edgecap_status ec_displayed(const edgecap_image *image, int32_t *width, int32_t *height,
                            edgecap_error *error)
{
    source s = {0};
    edgecap_status status = open_source(image, -1, &s, error);
    *width = s.width;
    *height = s.height;
    return status;
}

edgecap_status ec_flatten(const edgecap_image *image, int32_t ground, uint8_t *rgb,
                          edgecap_error *error)
{
    source s = {0};
    int32_t y;
    edgecap_status status = open_source(image, ground, &s, error);
    for (y = 0; status == EDGECAP_OK && y < s.height; y++) {
        read_row(&s, y, rgb + (size_t)y * 3 * (size_t)s.width);
    }
    return status;
}

/* ---- Weights ---- */

static double sinc(double x)
{
    const double pi = 3.141592653589793;
    return x == 0 ? 1 : sin(x * pi) / (x * pi);
}

static double weight(ec_filter filter, double x)
{
    const double a = -0.5;
    switch (filter) {
    case EC_BOX:
        return x > -0.5 && x <= 0.5 ? 1 : 0;
    case EC_BILINEAR:
        x = fabs(x);
        return x < 1 ? 1 - x : 0;
    case EC_HAMMING: {
        const double pi = 3.141592653589793;
        x = fabs(x);
        return x < 1 ? sinc(x) * (0.54 + 0.46 * cos(pi * x)) : 0;
    }
    case EC_BICUBIC:
        x = fabs(x);
        return x < 1   ? ((a + 2) * x - (a + 3)) * x * x + 1
               : x < 2 ? (((x - 5) * x + 8) * x - 4) * a
                       : 0;
    default:
        return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    }
}

typedef struct weights { /* per output place: first input place, how many, and their weights */
    void *block;
    int32_t *first, *count, *values;
    size_t most; /* weights of a place */
} weights;

static bool make_weights(const edgecap_memory *memory, ec_filter filter, int32_t in, int32_t out,
                         weights *w)
{
    static const double radius[] = {0.5, 1, 2, 3, 1, 0};
    double scale = (double)in / out, wide = scale < 1 ? 1 : scale;
    double support = radius[filter] * wide, each = 1 / wide;
    double *exact;
    int32_t x, i;
    w->most = (size_t)ceil(support) * 2 + 1;
    if (w->most > ((size_t)-1 >> 4) / ((size_t)out + 1)) {
        return false;
    }
    w->block = ec_allocate_array(
        memory, w->most * sizeof *exact + (size_t)out * (2 + w->most) * sizeof *w->first, 1);
    if (w->block == NULL) {
        return false;
    }
    exact = w->block;
    w->first = (int32_t *)(exact + w->most);
    w->count = w->first + out;
    w->values = w->count + out;
    for (x = 0; filter == EC_NEAREST && x < out; x++) {
        /* Added up, not multiplied: the rounding is part of it. */
        double place = x == 0 ? scale * 0.5 : *exact + scale;
        *exact = place;
        w->first[x] = (int32_t)place < in ? (int32_t)place : in - 1;
        w->count[x] = 1;
        w->values[w->most * (size_t)x] = 1 << BITS;
    }
    for (x = 0; filter != EC_NEAREST && x < out; x++) {
        double centre = (x + 0.5) * scale, sum = 0;
        int32_t first = (int32_t)(centre - support + 0.5), end = (int32_t)(centre + support + 0.5);
        int32_t *values = w->values + w->most * (size_t)x;
        first = first < 0 ? 0 : first;
        end = end > in ? in : end;
        for (i = 0; i < end - first; i++) {
            exact[i] = weight(filter, (i + first - centre + 0.5) * each);
            sum += exact[i];
        }
        for (i = 0; i < end - first; i++) {
            double share = sum != 0 ? exact[i] / sum : exact[i];
            values[i] = (int32_t)(share * (1 << BITS) + (share < 0 ? -0.5 : 0.5));
        }
        w->first[x] = first;
        w->count[x] = end - first;
    }
    return true;
}

static uint8_t clip(int32_t sum)
{
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* ---- Resizing ---- */

static void across(const weights *w, const uint8_t *row, int32_t out_width, uint8_t *out)
{
    int32_t x, i;
    for (x = 0; x < out_width; x++, out += 3) {
        const uint8_t *p = row + 3 * (size_t)w->first[x];
        const int32_t *values = w->values + w->most * (size_t)x;
        int32_t r = 1 << (BITS - 1), g = r, b = r;
        for (i = 0; i < w->count[x]; i++, p += 3) {
            r += p[0] * values[i];
            g += p[1] * values[i];
            b += p[2] * values[i];
        }
        out[0] = clip(r), out[1] = clip(g), out[2] = clip(b);
    }
}

static void down(const weights *w, const uint8_t *rows, size_t row_bytes, int32_t out_height,
                 uint8_t *out, size_t stride)
{
    int32_t y, i;
    size_t c;
    for (y = 0; y < out_height; y++, out += stride) {
        const uint8_t *top = rows + row_bytes * (size_t)w->first[y];
        const int32_t *values = w->values + w->most * (size_t)y;
        for (c = 0; c < row_bytes; c++) {
            int32_t sum = 1 << (BITS - 1);
            for (i = 0; i < w->count[y]; i++) {
                sum += top[row_bytes * (size_t)i + c] * values[i];
            }
            out[c] = clip(sum);
        }
    }
}

edgecap_status ec_resize(const edgecap_memory *memory, const edgecap_image *image, int32_t ground,
                         ec_filter filter, int32_t out_width, int32_t out_height, uint8_t *out,
                         size_t stride, edgecap_error *error)
{
    source s = {0};
    weights horizontal = {0}, vertical = {0};
    uint8_t *row = NULL, *rows = NULL;
    size_t row_bytes = 3 * (size_t)out_width;
    int32_t y;
    edgecap_status status = open_source(image, ground, &s, error);
    bool wider, taller;
    if (status != EDGECAP_OK) {
        return status;
    }
    wider = s.width != out_width; /* a side that keeps its length is not resampled */
    taller = s.height != out_height;
    row = ec_allocate_array(memory, (size_t)s.width, 3);
    rows = taller ? ec_allocate_array(memory, (size_t)s.height, row_bytes) : NULL;
    if (row == NULL || (taller && rows == NULL) ||
        (wider && !make_weights(memory, filter, s.width, out_width, &horizontal)) ||
        (taller && !make_weights(memory, filter, s.height, out_height, &vertical))) {
        status = ec_no_memory(error);
    }
    for (y = 0; status == EDGECAP_OK && y < s.height; y++) {
        uint8_t *to = taller ? rows + row_bytes * (size_t)y : out + stride * (size_t)y;
        read_row(&s, y, wider ? row : to);
        if (wider) {
            across(&horizontal, row, out_width, to);
        }
    }
    if (status == EDGECAP_OK && taller) {
        down(&vertical, rows, row_bytes, out_height, out, stride);
    }
    ec_release(memory, row);
    ec_release(memory, rows);
    ec_release(memory, horizontal.block);
    ec_release(memory, vertical.block);
    return status;
}

/* ---- Placement ---- */

ec_placement ec_place(int32_t width, int32_t height, int32_t size)
{
    int64_t longer = width > height ? width : height;
    int64_t across_ = ((int64_t)width * size + longer / 2) / longer;
    int64_t down_ = ((int64_t)height * size + longer / 2) / longer;
    ec_placement p;
    p.width = width;
    p.height = height;
    p.scaled_width = across_ < 1 ? 1 : (int32_t)across_;
    p.scaled_height = down_ < 1 ? 1 : (int32_t)down_;
    p.left = (size - p.scaled_width) / 2;
    p.top = (size - p.scaled_height) / 2;
    return p;
}

static double bounded(double value, double most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

void ec_to_image(const ec_placement *p, const double input[4], double image[4])
{
    double across_ = (double)p->width / p->scaled_width;
    double down_ = (double)p->height / p->scaled_height;
    int i;
    for (i = 0; i < 4; i += 2) {
        image[i] = bounded((input[i] - p->left) * across_, p->width);
        image[i + 1] = bounded((input[i + 1] - p->top) * down_, p->height);
    }
}

edgecap_status ec_letterbox(const edgecap_memory *memory, const edgecap_image *image, int32_t size,
                            uint8_t fill, ec_filter filter, uint8_t *input, ec_placement *placement,
                            edgecap_error *error)
{
    size_t stride = 3 * (size_t)size;
    source s = {0};
    edgecap_status status = open_source(image, fill, &s, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    *placement = ec_place(s.width, s.height, size);
    memset(input, fill, stride * (size_t)size);
    return ec_resize(memory, image, fill, filter, placement->scaled_width, placement->scaled_height,
                     input + stride * (size_t)placement->top + 3 * (size_t)placement->left, stride,
                     error);
}
