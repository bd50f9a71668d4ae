/* image_spec.c: how an image becomes what encode takes; see specs.h. */
#include <string.h>

#include "specs.h"

enum { MOST_SIDE = 4096 };

static void bad_image(ec_fields *f, const char *what)
{
    ec_refuse(f, "bundle.image", "image.%s", what);
}

/* [h, w] of a list of whole numbers. */
static void pair(ec_fields *f, const ec_json *object, const char *name, int32_t *h, int32_t *w)
{
    const ec_json *list = ec_inner(f, object, name, EC_JSON_LIST), *item;
    int64_t sides[2] = {0, 0};
    size_t i = 0;
    for (item = list != NULL ? list->first : NULL; item != NULL; item = item->next, i++) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, name)) {
            return;
        }
        if (i < 2) {
            sides[i] = item->whole;
        }
    }
    if (list != NULL &&
        (i != 2 || sides[0] < 1 || sides[0] > MOST_SIDE || sides[1] < 1 || sides[1] > MOST_SIDE)) {
        bad_image(f, "size and crop must be two sides of 1-4096 px");
        return;
    }
    *h = (int32_t)sides[0];
    *w = (int32_t)sides[1];
}

static int32_t grey(ec_fields *f, const ec_json *object, const char *name, int32_t none)
{
    int64_t value = ec_is_null(object, name) ? none : ec_whole(f, object, name);
    if (!ec_is_null(object, name) && (value < 0 || value > 255)) {
        bad_image(f, "fill and background must be 0-255");
    }
    return (int32_t)value;
}

static void read_crops(ec_fields *f, const ec_json *crops, ec_image_spec *spec)
{
    static const char *const fields[] = {"side", "split", NULL};
    int64_t side;
    if (crops == NULL || !ec_check_fields(f, crops, "image.crops", fields, 0)) {
        return;
    }
    side = ec_whole(f, crops, "side");
    spec->split = ec_flag(f, crops, "split", false);
    if (side < 1 || side > MOST_SIDE) {
        bad_image(f, "crops.side must be 1-4096 px");
        return;
    }
    spec->crop_side = (int32_t)side;
}

static void check_image(ec_fields *f, const ec_image_spec *spec)
{
    bool cuts = spec->crop_height > 0, many = spec->crop_side > 0;
    if ((spec->fit == EC_COVER || spec->fit == EC_LONGEST_EDGE) && spec->height != spec->width) {
        bad_image(f, "size must name one edge twice for this fit");
    } else if (spec->fit == EC_COVER && !cuts) {
        bad_image(f, "crop is needed where fit is cover");
    } else if (cuts && spec->fit != EC_COVER && spec->fit != EC_STRETCH) {
        bad_image(f, "crop goes with fit cover or stretch");
    } else if ((spec->fit == EC_LONGEST_EDGE) != many) {
        bad_image(f, "crops goes with fit longest_edge, and only with it");
    } else if (spec->split && spec->height % 2 != 0 && spec->height % spec->crop_side == 0) {
        bad_image(f, "size must be even where crops.side divides it: odd sides get a pixel more");
    }
}

void ec_read_image_spec(ec_fields *f, const ec_json *object, ec_image_spec *spec)
{
    static const char *const fields[] = {"size", "fit",  "filter",   "background", "wide",
                                         "crop", "fill", "channels", "crops",      NULL};
    static const char *const fits[] = {"contain",   "cover",        "stretch",
                                       "thumbnail", "longest_edge", NULL};
    static const char *const filters[] = {"box",     "bilinear", "bicubic", "lanczos",
                                          "hamming", "nearest",  NULL}; /* as ec_filter */
    static const char *const channels[] = {"RGB", "BGR", NULL};
    static const char *const wide[] = {"clip", "high_byte", NULL}; /* of no use for 8 bits */
    memset(spec, 0, sizeof *spec);
    if (object == NULL || !ec_check_fields(f, object, "image", fields, 6)) {
        return;
    }
    pair(f, object, "size", &spec->height, &spec->width);
    spec->fit = (ec_fit)ec_choice(f, object, "fit", fits, "bundle.image");
    spec->filter = (ec_filter)ec_choice(f, object, "filter", filters, "bundle.image");
    spec->background = grey(f, object, "background", -1);
    if (ec_json_get(object, "wide") != NULL) {
        ec_choice(f, object, "wide", wide, "bundle.image");
    }
    if (!ec_is_null(object, "crop")) {
        pair(f, object, "crop", &spec->crop_height, &spec->crop_width);
    }
    if (ec_json_get(object, "fill") != NULL) {
        const ec_json *fill = ec_json_get(object, "fill");
        ec_is_kind(f, fill, EC_JSON_WHOLE, "fill");
        spec->fill = grey(f, object, "fill", 0);
    }
    if (ec_json_get(object, "channels") != NULL) {
        spec->bgr = ec_choice(f, object, "channels", channels, "bundle.image") == 1;
    }
    if (!ec_is_null(object, "crops")) {
        read_crops(f, ec_json_get(object, "crops"), spec);
    }
    if (f->status == EDGECAP_OK) {
        check_image(f, spec);
    }
}

int32_t ec_input_height(const ec_image_spec *s)
{
    return s->crop_side > 0 ? s->crop_side : s->crop_height > 0 ? s->crop_height : s->height;
}

int32_t ec_input_width(const ec_image_spec *s)
{
    return s->crop_side > 0 ? s->crop_side : s->crop_width > 0 ? s->crop_width : s->width;
}

int64_t ec_most_crops(const ec_image_spec *s)
{
    int64_t across = s->split ? (s->height + s->crop_side - 1) / s->crop_side : 1;
    return across > 1 ? across * across + 1 : 1;
}
