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

void ec_apply_rules(const ec_generation *s, const int32_t *generated, size_t count, float *scores,
                    int32_t V, uint8_t *mark)
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

edgecap_status ec_no_token(edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.generation",
                   "the rules of generation allow no token.");
}

edgecap_status ec_feed(const ec_request *r, const ec_model *model, const float **logits,
                       const float **attention, edgecap_error *error)
{
    edgecap_status status = EDGECAP_OK;
    size_t i;
    for (i = 0; i < r->spec->begin.count && status == EDGECAP_OK; i++) {
        status = model->step(model->self, 0, r->spec->begin.ids[i], i, logits, attention, error);
    }
    return status;
}

/* ---- One sequence ---- */

typedef struct room {
    float *scores;
    uint8_t *mark;
    int32_t *said;
    ec_chances chances;
} room;

static bool open_room(const ec_request *r, size_t V, room *w)
{
    memset(w, 0, sizeof *w);
    w->scores = ec_allocate_array(r->memory, V, sizeof *w->scores);
    w->mark = ec_allocate_array(r->memory, V, 1);
    w->said = ec_allocate_array(r->memory, r->longest, sizeof *w->said);
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

static int32_t choose(const ec_request *r, room *w, int32_t V, size_t count)
{
    if (r->sampling == NULL) {
        return ec_highest(w->scores, NULL, V);
    }
    ec_probabilities(w->scores, NULL, V, r->sampling, &w->chances);
    return ec_draw(w->chances.values, V, ec_uniform(r->seed, r->index, count));
}

static edgecap_status walk(const ec_request *r, const ec_generation *spec, const ec_model *model,
                           room *w, ec_generated *g, edgecap_error *error)
{
    const float *logits = NULL, *attention = NULL;
    size_t P = (size_t)model->patches, V = (size_t)model->vocabulary, count;
    double sum = 0;
    edgecap_status status = ec_feed(r, model, &logits, &attention, error);
    for (count = 0; status == EDGECAP_OK; count++) {
        float highest, log_sum, score;
        int32_t token;
        if (!ec_log_sum(logits, model->vocabulary, &highest, &log_sum)) {
            return ec_not_finite(error);
        }
        memcpy(w->scores, logits, V * sizeof *logits);
        ec_apply_rules(spec, w->said, count, w->scores, model->vocabulary, w->mark);
        token = choose(r, w, model->vocabulary, count);
        if (token < 0 || !(w->scores[token] > -INFINITY)) {
            return ec_no_token(error);
        }
        score = (logits[token] - highest) - log_sum;
        sum += score;
        g->score = sum / (double)(count + 1); /* the end is one of them */
        if (ec_ids_have(&spec->eos, token)) {
            g->complete = true;
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
        if (count + 1 == r->longest) {
            return EDGECAP_OK;
        }
        status = model->step(model->self, 0, token, spec->begin.count + count, &logits, &attention,
                             error);
    }
    return status;
}

edgecap_status ec_generate(const ec_request *request, const ec_model *model, ec_generated *g,
                           edgecap_error *error)
{
    ec_generation spec = *request->spec;
    ec_request r = *request;
    edgecap_status status;
    room w;
    spec.max_new_tokens = (int64_t)r.longest;
    spec.min_new_tokens = (int64_t)r.shortest;
    r.spec = &spec;
    g->count = 0;
    g->complete = false;
    g->score = 0;
    if (r.beams > 1) {
        return ec_search_beams(&r, model, g, error);
    }
    status = open_room(&r, (size_t)model->vocabulary, &w) ? walk(&r, &spec, model, &w, g, error)
                                                          : ec_no_memory(error);
    close_room(&r, &w);
    return status;
}
