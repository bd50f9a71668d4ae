/* beams.c: beam search as transformers' generate does it; edgecap/runtime/beams.py has the rules.
 *
 * The search ranks by log-probabilities under the rules; the scores it reports are the model's own.
 * Letters: K beams, V vocabulary, P attention values, N tokens at most, M candidates considered.
 */
#include <math.h>
#include <string.h>

#include "decode.h"

typedef struct hypothesis {
    int32_t *tokens; /* [N] */
    float *scores;   /* [N]: log-probability of each token, without the rules */
    size_t *rows;    /* [N]: which open sequence's step each token was chosen from */
    size_t count, slot;
    int32_t state; /* of the grammar */
    double total;  /* sum of log-probabilities under the rules */
    double score;  /* total / count ** length_penalty */
} hypothesis;

typedef struct candidate {
    size_t parent;
    int32_t token;
    float score;
    double total;
} candidate;

typedef struct beams {
    const ec_request *r;
    const ec_model *model;
    size_t K, N, M;
    hypothesis *running, *opened, *done; /* [K], [K], [K+1] */
    size_t running_count, opened_count, done_count, best_count;
    size_t *parents;    /* [K] of `opened` */
    float *ruled;       /* [V]: log-probabilities of one open sequence under the rules */
    candidate *best;    /* [M]: the best continuations, best first */
    uint8_t *mark;      /* [V] */
    int32_t *ids;       /* [3K+1,N]: tokens of all hypotheses */
    float *scores;      /* [3K+1,N] */
    size_t *rows;       /* [3K+1,N] */
    hypothesis *places; /* what the three lists lie in */
    uint8_t *taken;     /* [K] slots */
    float *looked;      /* [N,K,P] attention of every step; NULL: nobody asks */
} beams;

/* Which sums and scores there are: of 64 bits with "ended", of 32 as in transformers elsewhere. */
static double rounded(const beams *b, double value)
{
    return b->r->rules.spec.early_stopping == EC_ENDED ? value : (double)(float)value;
}

static bool open_beams(beams *b, bool attention)
{
    const edgecap_memory *memory = b->r->memory;
    size_t V = (size_t)b->model->vocabulary, P = (size_t)b->model->patches;
    size_t all = 3 * b->K + 1, i;
    b->places = ec_allocate_array(memory, all, sizeof *b->places);
    b->parents = ec_allocate_array(memory, b->K, sizeof *b->parents);
    b->ruled = ec_allocate_array(memory, V, sizeof *b->ruled);
    b->best = ec_allocate_array(memory, b->M, sizeof *b->best);
    b->mark = ec_allocate_array(memory, V, 1);
    b->ids = ec_allocate_array(memory, all * b->N, sizeof *b->ids);
    b->scores = ec_allocate_array(memory, all * b->N, sizeof *b->scores);
    b->rows = ec_allocate_array(memory, all * b->N, sizeof *b->rows);
    b->taken = ec_allocate_array(memory, b->K, 1);
    if (attention) {
        b->looked = ec_allocate_array(memory, b->N * b->K * P, sizeof *b->looked);
    }
    if (b->places == NULL || b->parents == NULL || b->ruled == NULL || b->best == NULL ||
        b->mark == NULL || b->ids == NULL || b->scores == NULL || b->rows == NULL ||
        b->taken == NULL || (attention && b->looked == NULL)) {
        return false;
    }
    for (i = 0; i < all; i++) {
        b->places[i].tokens = b->ids + i * b->N;
        b->places[i].scores = b->scores + i * b->N;
        b->places[i].rows = b->rows + i * b->N;
    }
    b->running = b->places;
    b->opened = b->places + b->K;
    b->done = b->places + 2 * b->K;
    return true;
}

static void close_beams(beams *b)
{
    void *blocks[] = {b->places, b->parents, b->ruled, b->best,  b->mark,
                      b->ids,    b->scores,  b->rows,  b->taken, b->looked};
    size_t i;
    for (i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        ec_release(b->r->memory, blocks[i]);
    }
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
    edgecap_status status;
    if (!ec_log_sum(logits, V, &highest, &log_sum)) {
        return ec_not_finite(error);
    }
    for (i = 0; i < V; i++) {
        b->ruled[i] = (logits[i] - highest) - log_sum;
    }
    status = ec_constrain(&b->r->rules, h->tokens, h->count, h->state, b->ruled, V, b->mark, error);
    for (i = 0; i < V && status == EDGECAP_OK; i++) {
        if (b->ruled[i] > -INFINITY) {
            candidate found;
            found.parent = parent;
            found.token = i;
            found.total = rounded(b, (double)b->ruled[i] + h->total);
            found.score = (logits[i] - highest) - log_sum;
            consider(b, found);
        }
    }
    return status;
}

static double per_length(const beams *b, double total, size_t length)
{
    double divisor = rounded(b, pow((double)length, b->r->rules.spec.length_penalty));
    return rounded(b, total / divisor);
}

static void continued(const beams *b, const candidate *c, hypothesis *h)
{
    const hypothesis *parent = &b->running[c->parent];
    memcpy(h->tokens, parent->tokens, parent->count * sizeof *h->tokens);
    memcpy(h->scores, parent->scores, parent->count * sizeof *h->scores);
    memcpy(h->rows, parent->rows, parent->count * sizeof *h->rows);
    h->tokens[parent->count] = c->token;
    h->scores[parent->count] = c->score;
    h->rows[parent->count] = c->parent;
    h->count = parent->count + 1;
    h->total = c->total;
    h->state = ec_rules_after(&b->r->rules, parent->state, c->token);
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
    const ec_generation *spec = &b->r->rules.spec;
    bool full = b->done_count == b->K, cut = t == b->N && spec->early_stopping != EC_ENDED;
    size_t rank;
    b->opened_count = 0;
    for (rank = 0; rank < b->best_count; rank++) {
        const candidate *c = &b->best[rank];
        if (cut || ec_ids_have(&spec->eos, c->token)) {
            if (rank < b->K && !(full && spec->early_stopping == EC_FIRST)) {
                finish(b, c, t);
            }
        } else if (b->opened_count < b->K) {
            b->parents[b->opened_count] = c->parent;
            continued(b, c, &b->opened[b->opened_count++]);
        }
    }
    b->best_count = 0;
}

/* Whether the search is over after t tokens. */
static bool is_over(const beams *b, size_t t)
{
    const ec_generation *s = &b->r->rules.spec;
    bool longest = s->early_stopping == EC_NEVER && s->length_penalty > 0;
    if (b->opened_count == 0 || t == b->N) {
        return true;
    }
    return b->done_count == b->K && (s->early_stopping == EC_FIRST ||
                                     per_length(b, b->opened[0].total, longest ? b->N : t) <=
                                         b->done[b->done_count - 1].score);
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
    const hypothesis *best = b->done_count > 0 ? &b->done[0] : &b->opened[0];
    size_t P = (size_t)b->model->patches, i;
    double sum = 0;
    g->complete = ec_ids_have(&b->r->rules.spec.eos, best->tokens[best->count - 1]);
    g->count = best->count - (g->complete ? 1 : 0);
    for (i = 0; i < best->count; i++) {
        sum += best->scores[i];
    }
    g->score = sum / (double)best->count;
    for (i = 0; i < g->count; i++) {
        g->tokens[i].id = best->tokens[i];
        g->tokens[i].score = best->scores[i];
        if (b->looked != NULL) {
            memcpy(g->attention + i * P, b->looked + (i * b->K + best->rows[i]) * P,
                   P * sizeof *b->looked);
        }
    }
}

/* Takes what a step gave: its attention, and the candidates that it makes. */
static edgecap_status take(beams *b, size_t t, size_t row, const float *logits,
                           const float *attention, edgecap_error *error)
{
    size_t P = (size_t)b->model->patches;
    if (b->looked != NULL && attention != NULL) {
        memcpy(b->looked + (t * b->K + row) * P, attention, P * sizeof *b->looked);
    }
    return extend(b, row, logits, error);
}

static edgecap_status search(beams *b, ec_generated *g, edgecap_error *error)
{
    const float *logits = NULL, *attention = NULL;
    size_t begin = b->r->rules.spec.begin.count, t, i;
    edgecap_status status = ec_feed_prompt(b->r, b->model, &logits, &attention, error);
    b->running_count = 1;
    b->running[0].state = b->r->rules.start;
    if (status == EDGECAP_OK) {
        status = take(b, 0, 0, logits, attention, error);
    }
    for (t = 1; status == EDGECAP_OK; t++) {
        sort_out(b, t);
        if (is_over(b, t)) {
            break;
        }
        give_slots(b, begin + t - 1);
        for (i = 0; i < b->running_count && status == EDGECAP_OK; i++) {
            const hypothesis *h = &b->running[i];
            status = b->model->step(b->model->self, h->slot, h->tokens[h->count - 1], begin + t - 1,
                                    &logits, &attention, error);
            if (status == EDGECAP_OK) {
                status = take(b, t, i, logits, attention, error);
            }
        }
    }
    if (status == EDGECAP_OK && b->done_count + b->opened_count == 0) {
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
    const ec_generation *spec = &request->rules.spec;
    beams b;
    size_t most;
    edgecap_status status;
    memset(&b, 0, sizeof b);
    b.r = request;
    b.model = model;
    b.K = (size_t)spec->beams;
    b.N = (size_t)spec->max_new_tokens;
    most = spec->eos.count < 1 ? 2 : 1 + spec->eos.count;
    most *= b.K;
    b.M = most < b.K * (size_t)model->vocabulary ? most : b.K * (size_t)model->vocabulary;
    status = open_beams(&b, g->attention != NULL) ? search(&b, g, error) : ec_no_memory(error);
    close_beams(&b);
    return status;
}
