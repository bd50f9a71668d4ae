/* confidence.h: how sure a caption is; edgecap/runtime/confidence.py in C, SPEC.md, Confidence. */
#ifndef EDGECAP_CONFIDENCE_H
#define EDGECAP_CONFIDENCE_H

#include "typed.h"

typedef struct ec_caption_weights { /* of captions of one style, or of one prompt */
    const char *name;
    double bias, mean, least, threshold;
    const char *second; /* the style or prompt of a second caption that counts too; NULL: none */
    double second_mean;
} ec_caption_weights;

typedef struct ec_box_weights { /* the same of their boxes */
    const char *name;
    double bias, box, mean;
} ec_box_weights;

typedef struct ec_calibration {
    ec_caption_weights *captions;
    ec_box_weights *boxes;
    size_t caption_count, box_count;
} ec_calibration;

/* A confidence.json; bundle.confidence, bundle.schema and those of typed.h. Lies in `arena`. */
edgecap_status ec_calibration_read(ec_arena *arena, const char *data, size_t length,
                                   ec_calibration **calibration, edgecap_error *error);

/* NULL: not calibrated for it. */
const ec_caption_weights *ec_caption_weights_of(const ec_calibration *calibration,
                                                const char *name);
const ec_box_weights *ec_box_weights_of(const ec_calibration *calibration, const char *name);

/* Mean log-probability of a caption's tokens, without the end; that of an impossible one of none.
 */
double ec_mean_score(const edgecap_token *tokens, size_t count);

/* 0-1. `tokens`: one at least, without the end; `second`: ec_mean_score of the second caption, 0
 * where none is needed; `score`: of the box, as in edgecap_box. */
double ec_caption_confidence(const ec_caption_weights *weights, const edgecap_token *tokens,
                             size_t count, double second);
double ec_box_confidence(const ec_box_weights *weights, double score, const edgecap_token *tokens,
                         size_t count);

#endif
