/* rules.h: which tokens may follow: settings of a prompt and the token grammar.
 *
 * edgecap/runtime/rules.py and logits.py in C. Letter: V vocabulary.
 */
#ifndef EDGECAP_RULES_H
#define EDGECAP_RULES_H

#include "grammar.h"
#include "specs.h"

typedef struct ec_rules {      /* of one request */
    ec_generation spec;        /* with its limits in place of the prompt's own */
    const ec_grammar *grammar; /* NULL: any token may follow any other */
    int32_t start;             /* the grammar's state of an empty sequence */
    int32_t known;             /* ids of the tokenizer; of those beyond none is allowed */
} ec_rules;

int32_t ec_rules_after(const ec_rules *rules, int32_t state, int32_t token); /* the next state */

/* Scores [V] of the token after `tokens` under all rules, in place; -inf for what may not come.
 * `state`: of the grammar, after them. `mark` has a byte for each token, all 0 before and after. */
edgecap_status ec_constrain(const ec_rules *rules, const int32_t *tokens, size_t count,
                            int32_t state, float *scores, int32_t vocabulary, uint8_t *mark,
                            edgecap_error *error);

/* The same by the settings alone. */
void ec_apply_settings(const ec_generation *spec, const int32_t *generated, size_t count,
                       float *scores, int32_t vocabulary, uint8_t *mark);

#endif
