/* rules.c: see rules.h. */
#include "rules.h"

#include <math.h>
#include <string.h>

/* Id number `i` of what the model has read before it chooses. */
static int32_t history(const ec_generation *s, const int32_t *generated, size_t i)
{
    if (i < s->prefix.count) {
        return s->prefix.ids[i];
    }
    i -= s->prefix.count;
    return i < s->begin.count ? s->begin.ids[i] : generated[i - s->begin.count];
}

/* CTRL, arXiv 1909.05858: each id seen, once. */
static void penalise(const ec_generation *s, const int32_t *generated, size_t total, float *scores,
                     int32_t V, uint8_t *mark)
{
    float factor = (float)s->repetition_penalty;
    size_t i;
    for (i = 0; i < total; i++) {
        int32_t id = history(s, generated, i);
        if (id < V && !mark[id]) {
            mark[id] = 1;
            scores[id] = scores[id] < 0 ? scores[id] * factor : scores[id] / factor;
        }
    }
    for (i = 0; i < total; i++) {
        int32_t id = history(s, generated, i);
        if (id < V) {
            mark[id] = 0;
        }
    }
}

/* No id that would complete a run of `size` seen before. */
static void forbid_runs(const ec_generation *s, const int32_t *generated, size_t total,
                        float *scores, int32_t V)
{
    size_t size = (size_t)s->no_repeat_ngram, i, j;
    if (size < 1 || total < size) {
        return;
    }
    for (i = 0; i + size <= total; i++) {
        int32_t id = history(s, generated, i + size - 1);
        for (j = 0; j + 1 < size &&
                    history(s, generated, i + j) == history(s, generated, total + 1 - size + j);
             j++) {
        }
        if (j + 1 == size && id < V) {
            scores[id] = -INFINITY;
        }
    }
}

static void suppress(float *scores, int32_t V, const ec_ids *ids)
{
    size_t i;
    for (i = 0; i < ids->count; i++) {
        if (ids->ids[i] < V) {
            scores[ids->ids[i]] = -INFINITY;
        }
    }
}

static void force(float *scores, int32_t V, const int32_t *ids, size_t count)
{
    size_t i;
    for (i = 0; i < (size_t)V; i++) {
        scores[i] = -INFINITY;
    }
    for (i = 0; i < count; i++) {
        scores[ids[i]] = 0;
    }
}

void ec_apply_settings(const ec_generation *s, const int32_t *generated, size_t count,
                       float *scores, int32_t V, uint8_t *mark)
{
    size_t total = s->prefix.count + s->begin.count + count;
    if (s->repetition_penalty != 1) {
        penalise(s, generated, total, scores, V, mark);
    }
    forbid_runs(s, generated, total, scores, V);
    if ((int64_t)count < s->min_new_tokens) {
        suppress(scores, V, &s->eos);
    }
    if (count == 0 && s->forced_first >= 0) {
        force(scores, V, &s->forced_first, 1);
    }
    if ((int64_t)count == s->max_new_tokens - 1 && s->forced_last.count > 0) {
        force(scores, V, s->forced_last.ids, s->forced_last.count);
    }
    suppress(scores, V, &s->suppress);
    if ((int64_t)count == s->suppress_first_at) {
        suppress(scores, V, &s->suppress_first);
    }
}

int32_t ec_rules_after(const ec_rules *rules, int32_t state, int32_t token)
{
    return rules->grammar != NULL ? ec_grammar_after(rules->grammar, state, token) : state;
}

edgecap_status ec_constrain(const ec_rules *r, const int32_t *tokens, size_t count, int32_t state,
                            float *scores, int32_t V, uint8_t *mark, edgecap_error *error)
{
    size_t left = (size_t)r->spec.max_new_tokens - count;
    edgecap_status status;
    int32_t i;
    ec_apply_settings(&r->spec, tokens, count, scores, V, mark);
    if (r->grammar == NULL) {
        return EDGECAP_OK;
    }
    status = ec_grammar_allowed(r->grammar, state, tokens, count, left, r->known, V, mark, error);
    for (i = 0; i < V; i++) {
        scores[i] = mark[i] ? scores[i] : -INFINITY;
    }
    memset(mark, 0, (size_t)V);
    return status;
}
