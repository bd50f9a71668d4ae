/* specs.c: see specs.h. */
#include "specs.h"

#include <string.h>

enum { MOST_SIDE = 4096, MOST_IDS = 1 << 16, MOST_NEW = 1 << 16, MOST_BEAMS = 32 };

/* Which of some names a text field is; -1, and `code`, for none. */
static int choice(ec_fields *f, const ec_json *object, const char *name, const char *const *names,
                  const char *code)
{
    const char *got = ec_string(f, object, name);
    int i;
    for (i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], got) == 0) {
            return i;
        }
    }
    ec_refuse(f, code, "%s is '%.40s', which is not one of those allowed", name, got);
    return 0;
}

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
    spec->fit = (ec_fit)choice(f, object, "fit", fits, "bundle.image");
    spec->filter = (ec_filter)choice(f, object, "filter", filters, "bundle.image");
    spec->background = grey(f, object, "background", -1);
    if (ec_json_get(object, "wide") != NULL) {
        choice(f, object, "wide", wide, "bundle.image");
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
        spec->bgr = choice(f, object, "channels", channels, "bundle.image") == 1;
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

/* ---- Generation ---- */

bool ec_ids_have(const ec_ids *ids, int32_t id)
{
    size_t i;
    for (i = 0; i < ids->count; i++) {
        if (ids->ids[i] == id) {
            return true;
        }
    }
    return false;
}

typedef struct limit { /* what ids of one prompt are held to */
    const char *where;
    int64_t vocabulary;
} limit;

static int32_t check_id(ec_fields *f, const limit *l, const char *name, int64_t id)
{
    if (id < 0 || id > INT32_MAX || (l->vocabulary > 0 && id >= l->vocabulary)) {
        ec_refuse(f, "bundle.generation", "%.60s.%s has an id that the vocabulary has not",
                  l->where, name);
    }
    return (int32_t)id;
}

static ec_ids read_ids(ec_fields *f, const ec_json *object, const limit *l, const char *name)
{
    ec_ids read = {NULL, 0};
    const ec_json *list = ec_json_get(object, name) != NULL
                              ? ec_inner(f, object, name, EC_JSON_LIST)
                              : NULL,
                  *item;
    if (list != NULL && list->count > MOST_IDS) {
        ec_refuse(f, "bundle.generation", "%.60s.%s has too many ids", l->where, name);
    }
    read.ids = list != NULL ? ec_field_array(f, list->count + 1, sizeof *read.ids) : NULL;
    for (item = read.ids != NULL ? list->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, name)) {
            break;
        }
        read.ids[read.count++] = check_id(f, l, name, item->whole);
    }
    return read;
}

static int64_t whole_or(ec_fields *f, const ec_json *object, const char *name, int64_t otherwise)
{
    return ec_json_get(object, name) != NULL ? ec_whole(f, object, name) : otherwise;
}

static double number_or(ec_fields *f, const ec_json *object, const char *name, double otherwise)
{
    return ec_json_get(object, name) != NULL ? ec_number(f, object, name) : otherwise;
}

static bool all_suppressed(const ec_generation *spec, const ec_ids *forced)
{
    size_t i;
    for (i = 0; i < forced->count; i++) {
        if (!ec_ids_have(&spec->suppress, forced->ids[i])) {
            return false;
        }
    }
    return forced->count > 0;
}

static void check_generation(ec_fields *f, const char *where, ec_generation *spec)
{
    ec_ids first;
    first.ids = &spec->forced_first;
    first.count = spec->forced_first >= 0;
    if (spec->begin.count == 0) {
        ec_refuse(f, "bundle.generation", "%.60s.begin is empty", where);
    } else if (all_suppressed(spec, &first) || all_suppressed(spec, &spec->forced_last)) {
        ec_refuse(f, "bundle.generation", "%.60s: every forced id is also suppressed", where);
    } else if (spec->max_new_tokens < 1 || spec->max_new_tokens > MOST_NEW) {
        ec_refuse(f, "bundle.generation", "%.60s.max_new_tokens must be 1-%d", where, MOST_NEW);
    } else if (spec->min_new_tokens < 0 || spec->min_new_tokens > spec->max_new_tokens) {
        ec_refuse(f, "bundle.generation", "%.60s.min_new_tokens is beyond max_new_tokens", where);
    } else if (!(spec->length_penalty >= -100 && spec->length_penalty <= 100) ||
               !(spec->repetition_penalty > 0 && spec->repetition_penalty <= 100)) {
        ec_refuse(f, "bundle.generation", "%.60s has a penalty out of range", where);
    } else if (spec->no_repeat_ngram < 0 || spec->no_repeat_ngram > MOST_NEW ||
               spec->suppress_first_at < 0) {
        ec_refuse(f, "bundle.generation",
                  "%.60s: no_repeat_ngram and suppress_first_at must be 0 or more", where);
    }
}

static void read_sampling(ec_fields *f, const ec_json *object)
{
    static const char *const fields[] = {"temperature", "top_k", "top_p", NULL};
    double temperature, top_p;
    int64_t top_k;
    if (!ec_check_fields(f, object, "sampling", fields, 3)) {
        return;
    }
    temperature = number_or(f, object, "temperature", 1);
    top_k = whole_or(f, object, "top_k", 0);
    top_p = number_or(f, object, "top_p", 1);
    if (!(temperature > 0 && temperature <= 100 && top_k >= 0 && top_p > 0 && top_p <= 1)) {
        ec_refuse(f, "bundle.generation", "sampling has a number out of range");
    }
}

void ec_read_generation(ec_fields *f, const ec_json *object, const char *where, int64_t vocabulary,
                        ec_generation *spec)
{
    static const char *const fields[] = {"begin",           "eos",
                                         "max_new_tokens",  "pad",
                                         "prefix",          "min_new_tokens",
                                         "beams",           "length_penalty",
                                         "early_stopping",  "repetition_penalty",
                                         "no_repeat_ngram", "suppress",
                                         "suppress_first",  "suppress_first_at",
                                         "forced_first",    "forced_last",
                                         "sampling",        NULL};
    static const char *const stopping[] = {"heuristic", "first", "never", NULL};
    limit l, any;
    int64_t beams;
    memset(spec, 0, sizeof *spec);
    spec->forced_first = -1;
    if (!ec_check_fields(f, object, where, fields, 14)) {
        return;
    }
    l.where = any.where = where;
    l.vocabulary = vocabulary;
    any.vocabulary = 0; /* the history may hold ids that the model reads and cannot write */
    spec->begin = read_ids(f, object, &l, "begin");
    spec->eos = read_ids(f, object, &l, "eos");
    spec->max_new_tokens = ec_whole(f, object, "max_new_tokens");
    if (!ec_is_null(object, "pad")) {
        check_id(f, &l, "pad", ec_whole(f, object, "pad"));
    }
    spec->prefix = read_ids(f, object, &any, "prefix");
    spec->min_new_tokens = whole_or(f, object, "min_new_tokens", 0);
    beams = whole_or(f, object, "beams", 1);
    spec->length_penalty = number_or(f, object, "length_penalty", 1);
    if (ec_json_get(object, "early_stopping") != NULL) {
        spec->early_stopping =
            (ec_early_stopping)choice(f, object, "early_stopping", stopping, "bundle.generation");
    }
    spec->repetition_penalty = number_or(f, object, "repetition_penalty", 1);
    spec->no_repeat_ngram = whole_or(f, object, "no_repeat_ngram", 0);
    spec->suppress = read_ids(f, object, &l, "suppress");
    spec->suppress_first = read_ids(f, object, &l, "suppress_first");
    spec->suppress_first_at = whole_or(f, object, "suppress_first_at", 0);
    if (!ec_is_null(object, "forced_first")) {
        spec->forced_first = check_id(f, &l, "forced_first", ec_whole(f, object, "forced_first"));
    }
    spec->forced_last = read_ids(f, object, &l, "forced_last");
    if (!ec_is_null(object, "sampling")) {
        read_sampling(f, ec_json_get(object, "sampling"));
    }
    if (beams < 1 || beams > MOST_BEAMS) {
        ec_refuse(f, "bundle.generation", "%.60s.beams must be 1-%d", where, MOST_BEAMS);
    }
    spec->beams = (int32_t)beams;
    if (f->status == EDGECAP_OK) {
        check_generation(f, where, spec);
    }
}

/* ---- Regions ---- */

static void bad_regions(ec_fields *f, const char *what)
{
    ec_refuse(f, "bundle.regions", "regions%s", what);
}

static bool is_square(int64_t count)
{
    int64_t side = 1;
    while (side * side < count) {
        side++;
    }
    return side * side == count;
}

static void read_marks(ec_fields *f, const ec_json *marks, const ec_regions_spec *spec,
                       int64_t vocabulary, int32_t *ids)
{
    static const char *const names[EC_MARKS] = {"phrase", "end_phrase", "object", "end_object",
                                                "delimiter"};
    const ec_json *item;
    size_t expected = spec->codec == EC_CELLS2 ? EC_MARKS : 0, i, j;
    for (item = marks->first; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, "marks")) {
            return;
        }
    }
    for (i = 0; i < EC_MARKS; i++) {
        ids[i] = -1;
    }
    if (marks->count != expected) {
        bad_regions(f, ".marks must name those of the codec");
    }
    for (i = 0; i < expected && f->status == EDGECAP_OK; i++) {
        item = ec_json_get(marks, names[i]);
        if (item == NULL) {
            bad_regions(f, ".marks must name those of the codec");
        } else if (item->whole < 0 || item->whole > INT32_MAX ||
                   (item->whole >= spec->first &&
                    item->whole < (int64_t)spec->first + spec->count)) {
            bad_regions(f, ".marks must be different ids beside the places");
        } else if (vocabulary > 0 && item->whole >= vocabulary) {
            bad_regions(f, " has an id beyond the vocabulary");
        } else {
            ids[i] = (int32_t)item->whole;
            for (j = 0; j < i; j++) {
                if (ids[j] == ids[i]) {
                    bad_regions(f, ".marks must be different ids beside the places");
                }
            }
        }
    }
}

void ec_read_regions_spec(ec_fields *f, const ec_json *object, int64_t vocabulary,
                          ec_regions_spec *spec)
{
    static const char *const fields[] = {"codec", "first", "count", "marks", "bin_px", NULL};
    static const char *const codecs[] = {"edges4", "cells2", "loc1000", "loc1024", NULL};
    const ec_json *marks;
    int64_t first, count, bin;
    memset(spec, 0, sizeof *spec);
    if (!ec_check_fields(f, object, "regions", fields, 1)) {
        return;
    }
    spec->codec =
        (ec_regions_codec)(EC_EDGES4 + choice(f, object, "codec", codecs, "bundle.regions"));
    first = ec_whole(f, object, "first");
    count = ec_whole(f, object, "count");
    bin = whole_or(f, object, "bin_px", 0);
    marks = ec_inner(f, object, "marks", EC_JSON_OBJECT);
    if (f->status != EDGECAP_OK) {
        return;
    }
    if (first < 0 || first > INT32_MAX - (1 << 16) || count < 2 || count > 1 << 16) {
        bad_regions(f, " must have a first id of 0 or more and 2-65536 places");
    } else if ((spec->codec == EC_EDGES4) != (bin > 0) || bin < 0 || bin > MOST_SIDE) {
        bad_regions(f, ".bin_px goes with edges4 and is 1-4096 there");
    } else if (spec->codec == EC_CELLS2 && !is_square(count)) {
        bad_regions(f, ".count is no square grid of cells");
    } else if (vocabulary > 0 && first + count > vocabulary) {
        bad_regions(f, " has an id beyond the vocabulary");
    } else {
        spec->first = (int32_t)first;
        spec->count = (int32_t)count;
        spec->bin_px = (int32_t)bin;
        read_marks(f, marks, spec, vocabulary, spec->marks);
    }
}
