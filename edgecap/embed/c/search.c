/* search.c: one sequence, token by token; see search.h. */
#include "search.h"

#include <string.h>

edgecap_status ec_not_finite(edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.not_finite",
                   "the model's numbers hold NaN or infinity.");
}

edgecap_status ec_feed_prompt(const ec_search *s, const ec_model *model, const float **logits,
                              const float **attention, edgecap_error *error)
{
    edgecap_status status = EDGECAP_OK;
    size_t i;
    for (i = 0; i < s->prompt_count && status == EDGECAP_OK; i++) {
        status = model->step(model->self, 0, s->prompt[i], i, logits, attention, error);
    }
    return status;
}

typedef struct walker { /* what one walk needs besides the model */
    uint8_t *mask;
    int32_t *said;
    ec_chances chances;
} walker;

static bool open_walker(const ec_search *s, int32_t vocabulary, walker *w)
{
    size_t V = (size_t)vocabulary;
    memset(w, 0, sizeof *w);
    w->mask = ec_allocate_array(s->memory, V, 1);
    w->said = ec_allocate_array(s->memory, s->length, sizeof *w->said);
    if (s->sampling != NULL) {
        w->chances.values = ec_allocate_array(s->memory, V, sizeof *w->chances.values);
        w->chances.scaled = ec_allocate_array(s->memory, V, sizeof *w->chances.scaled);
        w->chances.order = ec_allocate_array(s->memory, V, sizeof *w->chances.order);
        if (w->chances.values == NULL || w->chances.scaled == NULL || w->chances.order == NULL) {
            return false;
        }
    }
    return w->mask != NULL && w->said != NULL;
}

static void close_walker(const ec_search *s, walker *w)
{
    ec_release(s->memory, w->mask);
    ec_release(s->memory, w->said);
    ec_release(s->memory, w->chances.values);
    ec_release(s->memory, w->chances.scaled);
    ec_release(s->memory, w->chances.order);
}

/* The next token: the highest that the rule allows, or one of those drawn. */
static edgecap_status choose(const ec_search *s, walker *w, const float *logits, int32_t vocabulary,
                             int32_t state, size_t count, int32_t *token, edgecap_error *error)
{
    const uint8_t *mask = s->grammar != NULL ? w->mask : NULL;
    edgecap_status status = EDGECAP_OK;
    if (mask != NULL) {
        status = ec_grammar_allowed(s->grammar, state, w->said, count, s->length - count, s->known,
                                    vocabulary, w->mask, error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    if (s->sampling == NULL) {
        *token = ec_highest(logits, mask, vocabulary);
    } else {
        ec_probabilities(logits, mask, vocabulary, s->sampling, &w->chances);
        *token = ec_draw(w->chances.values, vocabulary, ec_uniform(s->seed, s->index, count));
    }
    return *token < 0 ? ec_not_finite(error) : EDGECAP_OK;
}

static edgecap_status walk(const ec_search *s, const ec_model *model, walker *w, ec_generated *g,
                           edgecap_error *error)
{
    const float *logits = NULL, *attention = NULL;
    size_t P = (size_t)model->patches, count;
    int32_t state = s->start, token;
    double sum = 0;
    edgecap_status status = ec_feed_prompt(s, model, &logits, &attention, error);
    g->count = 0;
    g->complete = false;
    g->score = 0;
    for (count = 0; status == EDGECAP_OK; count++) {
        float highest, log_sum, score;
        if (!ec_log_sum(logits, model->vocabulary, &highest, &log_sum)) {
            return ec_not_finite(error);
        }
        status = choose(s, w, logits, model->vocabulary, state, count, &token, error);
        if (status != EDGECAP_OK) {
            return status;
        }
        score = (logits[token] - highest) - log_sum;
        sum += score;
        g->complete = token == s->end;
        g->score = sum / (double)(count + 1);
        if (g->complete) {
            return EDGECAP_OK;
        }
        g->tokens[count].id = token;
        g->tokens[count].score = score;
        if (g->attention != NULL && attention != NULL) {
            memcpy(g->attention + count * P, attention, P * sizeof *attention);
        }
        g->count = count + 1;
        w->said[count] = token;
        if (s->on_token != NULL && s->on_token(s->user, token) != 0) {
            return ec_fail(error, EDGECAP_STOPPED, "caption.stopped", "the callback stopped it.");
        }
        if (count + 1 == s->length) {
            return EDGECAP_OK;
        }
        if (s->grammar != NULL) {
            state = ec_grammar_after(s->grammar, state, token);
        }
        status =
            model->step(model->self, 0, token, s->prompt_count + count, &logits, &attention, error);
    }
    return status;
}

edgecap_status ec_walk(const ec_search *search, const ec_model *model, ec_generated *generated,
                       edgecap_error *error)
{
    walker w;
    edgecap_status status = open_walker(search, model->vocabulary, &w)
                                ? walk(search, model, &w, generated, error)
                                : ec_no_memory(error);
    close_walker(search, &w);
    return status;
}
