/* rules.h: what may come next by the rules of a prompt, and the two ways to search under them.
 *
 * edgecap/runtime/logits.py, generation.py and beams.py in C. Letter: V vocabulary.
 */
#ifndef EDGECAP_RULES_H
#define EDGECAP_RULES_H

#include "search.h"
#include "specs.h"

/* Scores [V] of the next token under all rules, in place; -inf for what may not come. `generated`
 * are the ids chosen so far; `mark` has a byte for each token, all 0 before and after. */
void ec_apply_rules(const ec_generation *spec, const int32_t *generated, size_t count,
                    float *scores, int32_t vocabulary, uint8_t *mark);

typedef struct ec_request { /* one caption, limits settled */
    const edgecap_memory *memory;
    const ec_generation *spec;
    size_t longest, shortest, beams; /* in place of the spec's own */
    const ec_sampling *sampling;     /* NULL: the most probable */
    uint32_t seed, index; /* of the draws, and of the image in its call */
    int (*on_token)(void *user, int32_t token); /* or NULL; not 0: stop; one beam only */
    void *user;
} ec_request;

/* Greedy or sampled in slot 0, or by beams in slots 0 ... beams - 1. `generated` has room for
 * request.longest tokens; attention is not kept with beams. */
edgecap_status ec_generate(const ec_request *request, const ec_model *model,
                           ec_generated *generated, edgecap_error *error);

/* beams2.c */
edgecap_status ec_search_beams(const ec_request *request, const ec_model *model,
                               ec_generated *generated, edgecap_error *error);
edgecap_status ec_no_token(edgecap_error *error); /* the rules forbid every token */
edgecap_status ec_feed(const ec_request *request, const ec_model *model, const float **logits,
                       const float **attention, edgecap_error *error);

#endif
