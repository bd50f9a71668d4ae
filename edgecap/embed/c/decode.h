/* decode.h: from a model that knows an image to tokens: greedily, sampled or by beam search.
 *
 * edgecap/runtime/decode.py and beams.py in C. Knows nothing of text or engines. Letters: V
 * vocabulary, P attention values.
 */
#ifndef EDGECAP_DECODE_H
#define EDGECAP_DECODE_H

#include "rules.h"
#include "sample.h"

/* A model with numbered slots, each the state of one sequence. */
typedef struct ec_model {
    void *self;
    int32_t vocabulary, patches;
    /* Feeds one token at a text position to a slot; *logits [V], *attention [P] (may be NULL) stay
     * until the next call. */
    edgecap_status (*step)(void *self, size_t slot, int32_t token, size_t position,
                           const float **logits, const float **attention, edgecap_error *error);
    /* Slot `to` goes on with what the first `positions` tokens left in slot `from`. */
    void (*copy)(void *self, size_t from, size_t to, size_t positions);
} ec_model;

typedef struct ec_request { /* one caption */
    const edgecap_memory *memory;
    ec_rules rules;
    const ec_sampling *sampling;                /* NULL: the most probable */
    uint32_t seed, index;                       /* of the draws, and of the image in its call */
    int (*on_token)(void *user, int32_t token); /* or NULL; not 0: stop; one beam only */
    void *user;
} ec_request;

/* `tokens` has room for as many as the rules allow, `attention` for as many rows of P or is NULL.
 */
typedef struct ec_generated {
    edgecap_token *tokens;
    float *attention;
    size_t count;  /* without the end */
    bool complete; /* ended by itself, not by the limit */
    double score;  /* mean log-probability by the model, the end included */
} ec_generated;

/* In slot 0, or by beams in slots 0 ... beams - 1. EDGECAP_STOPPED where on_token says so;
 * bundle.generation where the rules forbid every token, bundle.not_finite. */
edgecap_status ec_generate(const ec_request *request, const ec_model *model,
                           ec_generated *generated, edgecap_error *error);

/* ---- Between decode.c and beams.c ---- */

edgecap_status ec_search_beams(const ec_request *request, const ec_model *model,
                               ec_generated *generated, edgecap_error *error);
/* Feeds the prompt to slot 0 and leaves the logits of its last token. */
edgecap_status ec_feed_prompt(const ec_request *request, const ec_model *model,
                              const float **logits, const float **attention, edgecap_error *error);
edgecap_status ec_no_token(edgecap_error *error);
edgecap_status ec_not_finite(edgecap_error *error);

#endif
