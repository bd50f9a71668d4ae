/* decode.c: one sequence, token by token; see decode.h. */
#include "decode.h"

#include <math.h>
#include <string.h>

edgecap_status ec_no_token(edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.generation",
                   "the rules of generation allow no token.");
}

edgecap_status ec_not_finite(edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.not_finite",
                   "the model's numbers hold NaN or infinity.");
}

edgecap_status ec_feed_prompt(const ec_request *r, const ec_model *model, const float **logits,
                              const float **attention, edgecap_error *error)
{
    const ec_ids *begin = &r->rules.spec.begin;
    edgecap_status status = EDGECAP_OK;
    size_t i;
    for (i = 0; i < begin->count && status == EDGECAP_OK; i++) {
        status = model->step(model->self, 0, begin->ids[i], i, logits, attention, error);
    }
    return status;
}

typedef struct room { /* what one sequence needs besides the model */
    float *scores;    /* [V] */
    uint8_t *mark;    /* [V] */
    int32_t *said;    /* as many as the rules allow */
    ec_chances chances;
} room;

static bool open_room(const ec_request *r, size_t V, room *w)
{
    memset(w, 0, sizeof *w);
    w->scores = ec_allocate_array(r->memory, V, sizeof *w->scores);
    w->mark = ec_allocate_array(r->memory, V, 1);
    w->said = ec_allocate_array(r->memory, (size_t)r->rules.spec.max_new_tokens, sizeof *w->said);
    if (r->sampling != NULL) {
        w->chances.values = ec_allocate_array(r->memory, V, sizeof *w->chances.values);
        w->chances.scaled = ec_allocate_array(r->memory, V, sizeof *w->chances.scaled);
        w->chances.order = ec_allocate_array(r->memory, V, sizeof *w->chances.order);
        if (w->chances.values == NULL || w->chances.scaled == NULL || w->chances.order == NULL) {
            return false;
        }
    }
    return w->scores != NULL && w->mark != NULL && w->said != NULL;
}

static void close_room(const ec_request *r, room *w)
{
    ec_release(r->memory, w->scores);
    ec_release(r->memory, w->mark);
    ec_release(r->memory, w->said);
    ec_release(r->memory, w->chances.values);
    ec_release(r->memory, w->chances.scaled);
    ec_release(r->memory, w->chances.order);
}

/* The next token by its scores under the rules: the highest, or one of those drawn. */
static edgecap_status choose(const ec_request *r, room *w, int32_t V, size_t count, int32_t *token,
                             edgecap_error *error)
{
    if (r->sampling == NULL) {
        *token = ec_highest(w->scores, V);
    } else if (ec_probabilities(w->scores, V, r->sampling, &w->chances)) {
        *token = ec_draw(w->chances.values, V, ec_uniform(r->seed, r->index, count));
    } else {
        return ec_no_token(error);
    }
    return w->scores[*token] > -INFINITY ? EDGECAP_OK : ec_no_token(error);
}

static edgecap_status walk(const ec_request *r, const ec_model *model, room *w, ec_generated *g,
                           edgecap_error *error)
{
    const ec_generation *spec = &r->rules.spec;
    const float *logits = NULL, *attention = NULL;
    size_t P = (size_t)model->patches, V = (size_t)model->vocabulary, count;
    int32_t state = r->rules.start, token = 0;
    double sum = 0;
    edgecap_status status = ec_feed_prompt(r, model, &logits, &attention, error);
    for (count = 0; status == EDGECAP_OK; count++) {
        float highest, log_sum, score;
        if (!ec_log_sum(logits, model->vocabulary, &highest, &log_sum)) {
            return ec_not_finite(error);
        }
        memcpy(w->scores, logits, V * sizeof *logits);
        status = ec_constrain(&r->rules, w->said, count, state, w->scores, model->vocabulary,
                              w->mark, error);
        if (status == EDGECAP_OK) {
            status = choose(r, w, model->vocabulary, count, &token, error);
        }
        if (status != EDGECAP_OK) {
            return status;
        }
        score = (logits[token] - highest) - log_sum;
        sum += score;
        g->score = sum / (double)(count + 1); /* the end is one of them */
        g->complete = ec_ids_have(&spec->eos, token);
        if (g->complete) {
            return EDGECAP_OK;
        }
        g->tokens[count].id = w->said[count] = token;
        g->tokens[count].score = score;
        if (g->attention != NULL && attention != NULL) {
            memcpy(g->attention + count * P, attention, P * sizeof *attention);
        }
        g->count = count + 1;
        if (r->on_token != NULL && r->on_token(r->user, token) != 0) {
            return ec_fail(error, EDGECAP_STOPPED, "caption.stopped", "the callback stopped it.");
        }
        if ((int64_t)g->count == spec->max_new_tokens) {
            return EDGECAP_OK;
        }
        state = ec_rules_after(&r->rules, state, token);
        status = model->step(model->self, 0, token, spec->begin.count + count, &logits, &attention,
                             error);
    }
    return status;
}

edgecap_status ec_generate(const ec_request *r, const ec_model *model, ec_generated *g,
                           edgecap_error *error)
{
    edgecap_status status;
    room w;
    g->count = 0;
    g->complete = false;
    g->score = 0;
    if (r->rules.spec.beams > 1) {
        return ec_search_beams(r, model, g, error);
    }
    status = open_room(r, (size_t)model->vocabulary, &w) ? walk(r, model, &w, g, error)
                                                         : ec_no_memory(error);
    close_room(r, &w);
    return status;
}
