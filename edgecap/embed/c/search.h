/* search.h: from a model that knows an image to tokens: step by step, or by beam search.
 *
 * Knows nothing of text or engines. Letters: V vocabulary, P patches.
 */
#ifndef EDGECAP_SEARCH_H
#define EDGECAP_SEARCH_H

#include "grammar.h"
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

typedef struct ec_search {
    const edgecap_memory *memory;
    const int32_t *prompt;
    size_t prompt_count; /* at least 1 */
    int32_t end;
    size_t length;               /* tokens at most, the end included */
    const ec_grammar *grammar;   /* NULL: anything goes */
    int32_t start, known;        /* first state; ids that the tokenizer has */
    const ec_sampling *sampling; /* NULL: the most probable */
    uint32_t seed, index; /* of the draws, and of the image in its call */
    int (*on_token)(void *user, int32_t token); /* or NULL; not 0: stop */
    void *user;
} ec_search;

/* `tokens` has room for ec_search.length, `attention` for as many rows of P or is NULL. */
typedef struct ec_generated {
    edgecap_token *tokens;
    float *attention;
    size_t count;  /* without the end */
    bool complete; /* ended by itself, not by the limit */
    double score;  /* mean log-probability, the end included */
} ec_generated;

/* One sequence, in slot 0. EDGECAP_STOPPED where on_token says so. */
edgecap_status ec_walk(const ec_search *search, const ec_model *model, ec_generated *generated,
                       edgecap_error *error);

/* The best of several by mean log-probability, in slots 0 ... beams - 1. */
edgecap_status ec_beam_search(const ec_search *search, const ec_model *model, size_t beams,
                              ec_generated *generated, edgecap_error *error);

/* Feeds the prompt to slot 0 and leaves the logits of its last token. */
edgecap_status ec_feed_prompt(const ec_search *search, const ec_model *model, const float **logits,
                              const float **attention, edgecap_error *error);
edgecap_status ec_not_finite(edgecap_error *error);

#endif
