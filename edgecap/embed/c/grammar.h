/* grammar.h: which token may follow: the manifest's table of states and moves. */
#ifndef EDGECAP_GRAMMAR_H
#define EDGECAP_GRAMMAR_H

#include "typed.h"

typedef struct ec_class {
    const char *name;
    int32_t *edges; /* [from, to) pairs, ascending */
    size_t count;   /* of edges */
} ec_class;

typedef struct ec_move {
    int32_t class_, to; /* indices */
    int32_t room, above;
} ec_move;

typedef struct ec_rule_state {
    const char *name;
    ec_move *moves;
    size_t count;
} ec_rule_state;

typedef struct ec_grammar {
    ec_class *classes;
    size_t class_count;
    ec_rule_state *states;
    size_t state_count;
    int32_t boxes, plain; /* the first states */
} ec_grammar;

/* Reads and checks a table over `vocabulary` ids in which `end` alone is the end; bundle.grammar.
 */
edgecap_status ec_grammar_read(ec_fields *f, const ec_json *table, int64_t vocabulary, int32_t end,
                               ec_grammar *grammar);

int32_t ec_grammar_state(const ec_grammar *grammar, const char *name); /* -1: none */

/* Marks with 1 in `mask` [vocabulary] what may follow `tokens` where `left` more may follow; ids
 * from `known` on say nothing. bundle.grammar where nothing may. */
edgecap_status ec_grammar_allowed(const ec_grammar *grammar, int32_t state, const int32_t *tokens,
                                  size_t count, size_t left, int32_t known, int32_t vocabulary,
                                  uint8_t *mask, edgecap_error *error);

int32_t ec_grammar_after(const ec_grammar *grammar, int32_t state, int32_t token);

#endif
