/* specs.h: what a manifest says as data: image processing, rules of generation, boxes.
 *
 * The same fields as edgecap/bundle/{image,generation,regions}_spec.py. Ids lie in the arena.
 */
#ifndef EDGECAP_SPECS_H
#define EDGECAP_SPECS_H

#include "image.h"
#include "typed.h"

typedef enum ec_fit { EC_CONTAIN, EC_COVER, EC_STRETCH, EC_THUMBNAIL, EC_LONGEST_EDGE } ec_fit;

typedef struct ec_image_spec { /* from an image to uint8 [h,w,3] */
    int32_t height, width;     /* what `fit` aims at */
    ec_fit fit;
    ec_filter filter;
    int32_t background;              /* grey behind transparent pixels; -1: alpha is dropped */
    int32_t crop_height, crop_width; /* 0: nothing is cut */
    int32_t fill;                    /* grey of what the image does not cover */
    bool bgr;
    int32_t crop_side; /* of longest_edge; 0 for other fits */
    bool split;
} ec_image_spec;

typedef struct ec_ids {
    int32_t *ids;
    size_t count;
} ec_ids;

typedef enum ec_early_stopping { EC_HEURISTIC, EC_FIRST, EC_NEVER, EC_ENDED } ec_early_stopping;

typedef struct ec_generation { /* settings of one prompt */
    ec_ids begin, eos, prefix, suppress, suppress_first, forced_last;
    int64_t max_new_tokens, min_new_tokens, no_repeat_ngram, suppress_first_at;
    int32_t beams, forced_first; /* -1: none */
    double length_penalty, repetition_penalty;
    ec_early_stopping early_stopping;
} ec_generation;

typedef struct ec_text_frame { /* the ids around a text to embed */
    ec_ids begin, end;
    int32_t pad; /* fills up to N */
} ec_text_frame;

typedef enum ec_regions_codec {
    EC_NO_REGIONS,
    EC_EDGES4,
    EC_CELLS2,
    EC_LOC1000,
    EC_LOC1024
} ec_regions_codec;

enum { EC_PHRASE, EC_END_PHRASE, EC_OBJECT, EC_END_OBJECT, EC_DELIMITER, EC_MARKS };

typedef struct ec_regions_spec {
    ec_regions_codec codec;
    int32_t first, count, bin_px;
    int32_t marks[EC_MARKS]; /* of cells2; -1 for other codecs */
} ec_regions_spec;

/* Each reads and checks; bundle.image, bundle.generation, bundle.regions beside those of typed.h.
 * `vocabulary`: V, which ids must lie below; 0: anything goes. */
void ec_read_image_spec(ec_fields *f, const ec_json *object, ec_image_spec *spec);
void ec_read_generation(ec_fields *f, const ec_json *object, const char *where, int64_t vocabulary,
                        ec_generation *spec);
void ec_read_text_frame(ec_fields *f, const ec_json *object, ec_text_frame *frame);
void ec_read_regions_spec(ec_fields *f, const ec_json *object, int64_t vocabulary,
                          ec_regions_spec *spec);

/* (h, w) in px of what encode takes, or encode_crop. */
int32_t ec_input_height(const ec_image_spec *spec);
int32_t ec_input_width(const ec_image_spec *spec);

/* Of one image: 1, or m * m + 1 where m crops lie on its longer side. */
int64_t ec_most_crops(const ec_image_spec *spec);

bool ec_ids_have(const ec_ids *ids, int32_t id);

#endif
