/* beams2.c: beam search as transformers' generate does it; edgecap/runtime/beams.py has the rules.
 *
 * The search ranks by log-probabilities under the rules; the scores it reports are the model's own.
 * Letters: K beams, V vocabulary, N tokens at most, M candidates considered.
 */
#include <math.h>
#include <string.h>

#include "rules.h"

typedef struct hypothesis {
    int32_t *tokens; /* [N] */
    float *scores;   /* [N]: log-probability of each token, without the rules */
    size_t count, slot;
    float total; /* sum of log-probabilities under the rules */
    float score; /* total / count ** length_penalty */
} hypothesis;

typedef struct candidate {
    size_t parent;
    int32_t token;
    float total, score;
} candidate;

typedef struct beams {
    const ec_request *r;
    const ec_model *model;
    size_t K, N, M;
    hypothesis *running, *opened, *done; /* [K], [K], [K+1] */
    size_t running_count, opened_count, done_count, best_count;
    size_t *parents;    /* [K] of `opened` */
    float *totals;      /* [V] of one open sequence */
    candidate *best;    /* [M]: the best continuations, best first */
    uint8_t *mark;      /* [V] */
    int32_t *ids;       /* [3K+1,N]: tokens of all hypotheses */
    float *scores;      /* [3K+1,N] */
    hypothesis *places; /* what the three lists lie in */
    uint8_t *taken;     /* [K] slots */
} beams;

static bool open_beams(beams *b)
{
    const edgecap_memory *memory = b->r->memory;
    size_t V = (size_t)b->model->vocabulary, all = 3 * b->K + 1, i;
    b->places = ec_allocate_array(memory, all, sizeof *b->places);
    b->parents = ec_allocate_array(memory, b->K, sizeof *b->parents);
    b->totals = ec_allocate_array(memory, V, sizeof *b->totals);
    b->best = ec_allocate_array(memory, b->M, sizeof *b->best);
    b->mark = ec_allocate_array(memory, V, 1);
    b->ids = ec_allocate_array(memory, all * b->N, sizeof *b->ids);
    b->scores = ec_allocate_array(memory, all * b->N, sizeof *b->scores);
    b->taken = ec_allocate_array(memory, b->K, 1);
    if (b->places == NULL || b->parents == NULL || b->totals == NULL || b->best == NULL ||
        b->mark == NULL || b->ids == NULL || b->scores == NULL || b->taken == NULL) {
        return false;
    }
    for (i = 0; i < all; i++) {
        b->places[i].tokens = b->ids + i * b->N;
        b->places[i].scores = b->scores + i * b->N;
    }
    b->running = b->places;
    b->opened = b->places + b->K;
    b->done = b->places + 2 * b->K;
    return true;
}

static void close_beams(beams *b)
{
    ec_release(b->r->memory, b->places);
    ec_release(b->r->memory, b->parents);
    ec_release(b->r->memory, b->totals);
    ec_release(b->r->memory, b->best);
    ec_release(b->r->memory, b->mark);
    ec_release(b->r->memory, b->ids);
    ec_release(b->r->memory, b->scores);
    ec_release(b->r->memory, b->taken);
}

/* Keeps the M best; of equals the one found first: the first sequence, then the lower token. */
static void consider(beams *b, candidate found)
{
    size_t place = b->best_count;
    if (place == b->M) {
        if (found.total <= b->best[place - 1].total) {
            return;
        }
        place--;
    } else {
        b->best_count++;
    }
    for (; place > 0 && b->best[place - 1].total < found.total; place--) {
        b->best[place] = b->best[place - 1];
    }
    b->best[place] = found;
}

/* Considers what may follow an open sequence, by the logits [V] of its step. */
static edgecap_status extend(beams *b, size_t parent, const float *logits, edgecap_error *error)
{
    const hypothesis *h = &b->running[parent];
    int32_t V = b->model->vocabulary, i;
    float highest, log_sum;
    if (!ec_log_sum(logits, V, &highest, &log_sum)) {
        return ec_not_finite(error);
    }
    for (i = 0; i < V; i++) {
        b->totals[i] = (logits[i] - highest) - log_sum;
    }
    ec_apply_rules(b->r->spec, h->tokens, h->count, b->totals, V, b->mark);
    for (i = 0; i < V; i++) {
        candidate found;
        found.parent = parent;
        found.token = i;
        found.total = b->totals[i] + h->total;
        found.score = (logits[i] - highest) - log_sum;
        if (found.total > -INFINITY) {
            consider(b, found);
        }
    }
    return EDGECAP_OK;
}

static float per_length(const beams *b, float total, size_t length)
{
    return total / (float)pow((double)length, b->r->spec->length_penalty);
}

static void continued(const beams *b, const candidate *c, hypothesis *h)
{
    const hypothesis *parent = &b->running[c->parent];
    memcpy(h->tokens, parent->tokens, parent->count * sizeof *h->tokens);
    memcpy(h->scores, parent->scores, parent->count * sizeof *h->scores);
    h->tokens[parent->count] = c->token;
    h->scores[parent->count] = c->score;
    h->count = parent->count + 1;
    h->total = c->total;
}

/* Among the finished, the K best stay: an earlier one before a later one of the same score. */
static void finish(beams *b, const candidate *c, size_t t)
{
    hypothesis *last = &b->done[b->done_count], found;
    size_t place = b->done_count;
    continued(b, c, last);
    last->score = per_length(b, c->total, t);
    found = *last;
    for (; place > 0 && b->done[place - 1].score < found.score; place--) {
        b->done[place] = b->done[place - 1];
    }
    b->done[place] = found;
    b->done_count += b->done_count < b->K;
}

/* The next step's open sequences, and what has ended. */
static void sort_out(beams *b, size_t t)
{
    size_t rank;
    bool full = b->done_count == b->K, last = t == b->N;
    b->opened_count = 0;
    for (rank = 0; rank < b->best_count; rank++) {
        const candidate *c = &b->best[rank];
        if (last || ec_ids_have(&b->r->spec->eos, c->token)) {
            if (rank < b->K && !(full && b->r->spec->early_stopping == EC_FIRST)) {
                finish(b, c, t);
            }
        } else if (b->opened_count < b->K) {
            b->parents[b->opened_count] = c->parent;
            continued(b, c, &b->opened[b->opened_count++]);
        }
    }
    b->best_count = 0;
}

static bool cannot_improve(const beams *b, size_t t)
{
    const ec_generation *s = b->r->spec;
    bool longest = s->early_stopping == EC_NEVER && s->length_penalty > 0;
    if (b->done_count < b->K) {
        return false;
    }
    return s->early_stopping == EC_FIRST ||
           per_length(b, b->running[0].total, longest ? b->N : t) <=
               b->done[b->done_count - 1].score;
}

/* Each open sequence gets a slot with its parent's state: the first child the parent's own. */
static void give_slots(beams *b, size_t positions)
{
    hypothesis *swap = b->running;
    size_t i, j, free = 0;
    memset(b->taken, 0, b->K);
    for (i = 0; i < b->opened_count; i++) {
        size_t slot = b->running[b->parents[i]].slot;
        for (j = 0; j < i && b->parents[j] != b->parents[i]; j++) {
        }
        b->opened[i].slot = j == i ? slot : b->K; /* K: none yet */
        b->taken[slot] = 1;
    }
    for (i = 0; i < b->opened_count; i++) {
        if (b->opened[i].slot == b->K) {
            while (b->taken[free]) {
                free++;
            }
            b->taken[free] = 1;
            b->opened[i].slot = free;
            b->model->copy(b->model->self, b->running[b->parents[i]].slot, free, positions);
        }
    }
    b->running = b->opened;
    b->running_count = b->opened_count;
    b->opened = swap;
}

static void answer(const beams *b, ec_generated *g)
{
    const hypothesis *best = &b->done[0]; /* of one token at least */
    double sum = 0;
    size_t i;
    g->complete = ec_ids_have(&b->r->spec->eos, best->tokens[best->count - 1]);
    g->count = best->count - (g->complete ? 1 : 0);
    for (i = 0; i < best->count; i++) {
        sum += best->scores[i];
        if (i < g->count) {
            g->tokens[i].id = best->tokens[i];
            g->tokens[i].score = best->scores[i];
        }
    }
    g->score = sum / (double)best->count;
}

static edgecap_status search(beams *b, ec_generated *g, edgecap_error *error)
{
    const float *logits = NULL, *attention = NULL;
    size_t begin = b->r->spec->begin.count, t, i;
    edgecap_status status = ec_feed(b->r, b->model, &logits, &attention, error);
    b->running_count = 1;
    if (status == EDGECAP_OK) {
        status = extend(b, 0, logits, error);
    }
    for (t = 1; status == EDGECAP_OK && t <= b->N; t++) {
        sort_out(b, t);
        give_slots(b, begin + t - 1);
        if (b->running_count == 0 || cannot_improve(b, t)) {
            break;
        }
        for (i = 0; i < b->running_count && status == EDGECAP_OK; i++) {
            const hypothesis *h = &b->running[i];
            status = b->model->step(b->model->self, h->slot, h->tokens[h->count - 1], begin + t - 1,
                                    &logits, &attention, error);
            if (status == EDGECAP_OK) {
                status = extend(b, i, logits, error);
            }
        }
    }
    if (status == EDGECAP_OK && b->done_count == 0) {
        status = ec_no_token(error);
    }
    if (status == EDGECAP_OK) {
        answer(b, g);
    }
    return status;
}

edgecap_status ec_search_beams(const ec_request *request, const ec_model *model, ec_generated *g,
                               edgecap_error *error)
{
    beams b;
    size_t most;
    edgecap_status status;
    memset(&b, 0, sizeof b);
    b.r = request;
    b.model = model;
    b.K = request->beams;
    b.N = request->longest;
    most = request->spec->eos.count < 1 ? 2 : 1 + request->spec->eos.count;
    most *= b.K;
    b.M = most < b.K * (size_t)model->vocabulary ? most : b.K * (size_t)model->vocabulary;
    status = open_beams(&b) ? search(&b, g, error) : ec_no_memory(error);
    close_beams(&b);
    return status;
}
