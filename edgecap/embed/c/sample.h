/* sample.h: scores to log-probabilities, and to a token: the highest, or one drawn at random. */
#ifndef EDGECAP_SAMPLE_H
#define EDGECAP_SAMPLE_H

#include "core.h"

/* What log_softmax takes off every logit; false where one is no finite number. */
bool ec_log_sum(const float *logits, int32_t count, float *highest, float *log_sum);

/* The highest score, of equals the lowest id. */
int32_t ec_highest(const float *scores, int32_t count);

typedef struct ec_sampling {
    double temperature;
    int32_t top_k; /* 0: all */
    double top_p;  /* 0: all */
} ec_sampling;

/* A place for `count` scores while one is drawn. */
typedef struct ec_chances {
    double *values, *scaled; /* [count] each */
    int32_t *order;          /* [count] */
} ec_chances;

/* Fills chances->values with what is drawn from; their sum is 1. False: every score is -inf. */
bool ec_probabilities(const float *scores, int32_t count, const ec_sampling *how,
                      ec_chances *chances);
int32_t ec_draw(const double *chances, int32_t count, double u);

/* Number `count` of the stream of a seed and the index of an image, 0 <= u < 1. */
double ec_uniform(uint32_t seed, uint32_t index, uint64_t count);

#endif
