/* beam.c: beam search; see search.h and conformance/README.md.
 *
 * A sequence is a chain of nodes from its newest token back to its first, so that beams share what
 * they have in common and none is copied. Letters as in search.h.
 */
#include <math.h>
#include <string.h>

#include "search.h"

typedef struct node {
    int32_t parent; /* -1: the first token */
    int32_t token;
    float score;
    double total; /* of the chain */
} node;

typedef struct sequence {
    int32_t last; /* node, -1: says nothing */
    int32_t state;
    size_t slot;
    double score; /* of a finished one: mean log-probability */
} sequence;

typedef struct candidate {
    double total;
    size_t beam;
    int32_t token;
    float score;
} candidate;

typedef struct searcher {
    const ec_search *s;
    const ec_model *model;
    size_t beams, node_count, live_count, finished_count, best_count;
    node *nodes;            /* [length * beams] */
    float *attention;       /* a row of P per node, or NULL */
    float *logits, *looked; /* [beams,V] and [beams,P] of the newest step */
    uint8_t *mask;          /* [V] */
    int32_t *said;          /* [length] */
    sequence *live, *next;  /* [beams] */
    sequence *finished;     /* [2 * beams] */
    candidate *best;        /* [2 * beams] */
    bool *taken;            /* [beams]: slots */
} searcher;

static bool open_searcher(searcher *r, bool attention)
{
    const edgecap_memory *memory = r->s->memory;
    size_t V = (size_t)r->model->vocabulary, P = (size_t)r->model->patches, b = r->beams;
    size_t nodes = r->s->length * b;
    r->nodes = ec_allocate_array(memory, nodes, sizeof *r->nodes);
    r->attention = attention ? ec_allocate_array(memory, nodes * P, sizeof *r->attention) : NULL;
    r->logits = ec_allocate_array(memory, b * V, sizeof *r->logits);
    r->looked = ec_allocate_array(memory, b * P, sizeof *r->looked);
    r->mask = ec_allocate_array(memory, V, 1);
    r->said = ec_allocate_array(memory, r->s->length, sizeof *r->said);
    r->live = ec_allocate_array(memory, b, sizeof *r->live);
    r->next = ec_allocate_array(memory, b, sizeof *r->next);
    r->finished = ec_allocate_array(memory, 2 * b, sizeof *r->finished);
    r->best = ec_allocate_array(memory, 2 * b, sizeof *r->best);
    r->taken = ec_allocate_array(memory, b, sizeof *r->taken);
    return r->nodes != NULL && (!attention || r->attention != NULL) && r->logits != NULL &&
           r->looked != NULL && r->mask != NULL && r->said != NULL && r->live != NULL &&
           r->next != NULL && r->finished != NULL && r->best != NULL && r->taken != NULL;
}

static void close_searcher(searcher *r)
{
    void *blocks[] = {r->nodes, r->attention, r->logits,   r->looked, r->mask, r->said,
                      r->live,  r->next,      r->finished, r->best,   r->taken};
    size_t i;
    for (i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        ec_release(r->s->memory, blocks[i]);
    }
}

/* The tokens of a chain into `said`; how many. */
static size_t spell(const searcher *r, int32_t last, int32_t *said)
{
    size_t count = 0, i;
    int32_t n;
    for (n = last; n >= 0; n = r->nodes[n].parent) {
        count++;
    }
    for (n = last, i = count; n >= 0; n = r->nodes[n].parent) {
        said[--i] = r->nodes[n].token;
    }
    return count;
}

static double total(const searcher *r, int32_t last)
{
    return last < 0 ? 0 : r->nodes[last].total;
}

/* Keeps the 2 * beams best of all; those seen first go before their equals. */
static void consider(searcher *r, candidate found)
{
    size_t most = 2 * r->beams, i = r->best_count;
    if (i == most) {
        if (found.total <= r->best[most - 1].total) {
            return;
        }
        i--;
    } else {
        r->best_count++;
    }
    for (; i > 0 && r->best[i - 1].total < found.total; i--) {
        r->best[i] = r->best[i - 1];
    }
    r->best[i] = found;
}

static edgecap_status find_best(searcher *r, size_t count, edgecap_error *error)
{
    size_t V = (size_t)r->model->vocabulary, b;
    int32_t token;
    r->best_count = 0;
    for (b = 0; b < r->live_count; b++) {
        const float *logits = r->logits + b * V;
        float highest, log_sum;
        if (!ec_log_sum(logits, r->model->vocabulary, &highest, &log_sum)) {
            return ec_not_finite(error);
        }
        if (r->s->grammar != NULL) {
            edgecap_status status = ec_grammar_allowed(
                r->s->grammar, r->live[b].state, r->said, spell(r, r->live[b].last, r->said),
                r->s->length - count, r->s->known, r->model->vocabulary, r->mask, error);
            if (status != EDGECAP_OK) {
                return status;
            }
        }
        for (token = 0; token < r->model->vocabulary; token++) {
            if (r->s->grammar == NULL || r->mask[token]) {
                candidate found;
                found.score = (logits[token] - highest) - log_sum;
                found.total = total(r, r->live[b].last) + found.score;
                found.beam = b;
                found.token = token;
                if (isfinite(found.total)) {
                    consider(r, found);
                }
            }
        }
    }
    return EDGECAP_OK;
}

static void finish(searcher *r, const sequence *from, float score, size_t count)
{
    sequence done = *from;
    size_t i = r->finished_count;
    done.score = (total(r, from->last) + score) / (double)(count + 1);
    for (; i > 0 && r->finished[i - 1].score < done.score; i--) {
        r->finished[i] = r->finished[i - 1];
    }
    r->finished[i] = done;
    r->finished_count++;
}

static void go_on(searcher *r, const candidate *found, size_t next_count)
{
    size_t P = (size_t)r->model->patches;
    int32_t n = (int32_t)r->node_count++;
    sequence *next = &r->next[next_count];
    r->nodes[n].parent = r->live[found->beam].last;
    r->nodes[n].token = found->token;
    r->nodes[n].score = found->score;
    r->nodes[n].total = found->total;
    if (r->attention != NULL) {
        memcpy(r->attention + (size_t)n * P, r->looked + found->beam * P, P * sizeof *r->looked);
    }
    next->last = n;
    next->slot = r->live[found->beam].slot;
    next->state = r->s->grammar != NULL
                      ? ec_grammar_after(r->s->grammar, r->live[found->beam].state, found->token)
                      : 0;
}

/* One child of a beam keeps its slot, the others get copies in slots that nobody uses. */
static void move_slots(searcher *r, size_t positions)
{
    size_t b, c, free_ = 0;
    memset(r->taken, 0, r->beams * sizeof *r->taken);
    for (b = 0; b < r->live_count; b++) {
        r->taken[r->live[b].slot] = true;
    }
    for (b = 1; b < r->live_count; b++) {
        for (c = 0; c < b && r->live[c].slot != r->live[b].slot; c++) {
        }
        if (c < b) {
            while (r->taken[free_]) {
                free_++;
            }
            r->taken[free_] = true;
            r->model->copy(r->model->self, r->live[b].slot, free_, positions);
            r->live[b].slot = free_;
        }
    }
}

static edgecap_status step_all(searcher *r, size_t count, edgecap_error *error)
{
    size_t V = (size_t)r->model->vocabulary, P = (size_t)r->model->patches, b;
    move_slots(r, r->s->prompt_count + count);
    for (b = 0; b < r->live_count; b++) {
        const float *logits, *attention;
        edgecap_status status =
            r->model->step(r->model->self, r->live[b].slot, r->nodes[r->live[b].last].token,
                           r->s->prompt_count + count, &logits, &attention, error);
        if (status != EDGECAP_OK) {
            return status;
        }
        memcpy(r->logits + b * V, logits, V * sizeof *logits);
        if (attention != NULL) {
            memcpy(r->looked + b * P, attention, P * sizeof *attention);
        }
    }
    return EDGECAP_OK;
}

static double mean(const searcher *r, const sequence *one, size_t count)
{
    return total(r, one->last) / (double)(count > 0 ? count : 1);
}

/* Continues what goes on and finishes what ends; the number of tokens is then count + 1. */
static void branch(searcher *r, size_t count)
{
    size_t rank, next_count = 0;
    sequence *swap = r->live;
    for (rank = 0; rank < r->best_count && next_count < r->beams; rank++) {
        const candidate *found = &r->best[rank];
        if (found->token != r->s->end) {
            go_on(r, found, next_count++);
        } else if (rank < r->beams) {
            finish(r, &r->live[found->beam], found->score, count);
        }
    }
    r->live = r->next;
    r->next = swap;
    r->live_count = next_count;
    r->finished_count = r->finished_count > r->beams ? r->beams : r->finished_count;
}

static bool is_over(const searcher *r, size_t count)
{
    double best;
    size_t b;
    if (r->live_count == 0) {
        return true;
    }
    best = mean(r, &r->live[0], count);
    for (b = 1; b < r->live_count; b++) {
        double other = mean(r, &r->live[b], count);
        best = other > best ? other : best;
    }
    return r->finished_count == r->beams && r->finished[r->finished_count - 1].score >= best;
}

static void answer(const searcher *r, size_t count, ec_generated *g)
{
    const sequence *best = r->finished_count > 0 ? &r->finished[0] : &r->live[0];
    size_t P = (size_t)r->model->patches, b, i;
    int32_t n;
    g->complete = r->finished_count > 0;
    g->score = g->complete ? best->score : mean(r, best, count);
    for (b = 1; !g->complete && b < r->live_count; b++) {
        if (mean(r, &r->live[b], count) > g->score) {
            best = &r->live[b];
            g->score = mean(r, best, count);
        }
    }
    g->count = spell(r, best->last, r->said);
    for (n = best->last, i = g->count; n >= 0; n = r->nodes[n].parent) {
        g->tokens[--i].id = r->nodes[n].token;
        g->tokens[i].score = r->nodes[n].score;
        if (g->attention != NULL) {
            memcpy(g->attention + i * P, r->attention + (size_t)n * P, P * sizeof *r->attention);
        }
    }
}

static edgecap_status search(searcher *r, ec_generated *g, edgecap_error *error)
{
    const float *logits = NULL, *attention = NULL;
    size_t count = 0;
    edgecap_status status = ec_feed_prompt(r->s, r->model, &logits, &attention, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    memcpy(r->logits, logits, (size_t)r->model->vocabulary * sizeof *logits);
    if (attention != NULL) {
        memcpy(r->looked, attention, (size_t)r->model->patches * sizeof *attention);
    }
    r->live_count = 1; /* all beams are alike, so one stands for all */
    r->live[0].last = -1;
    r->live[0].state = r->s->start;
    for (;;) {
        status = find_best(r, count, error);
        if (status != EDGECAP_OK) {
            return status;
        }
        branch(r, count);
        count++;
        if (is_over(r, count) || count == r->s->length) {
            break;
        }
        status = step_all(r, count - 1, error);
        if (status != EDGECAP_OK) {
            return status;
        }
    }
    if (r->finished_count == 0 && r->live_count == 0) {
        return ec_not_finite(error);
    }
    answer(r, count, g);
    return EDGECAP_OK;
}

edgecap_status ec_beam_search(const ec_search *s, const ec_model *model, size_t beams,
                              ec_generated *generated, edgecap_error *error)
{
    searcher r;
    edgecap_status status;
    memset(&r, 0, sizeof r);
    r.s = s;
    r.model = model;
    r.beams = beams;
    status = open_searcher(&r, generated->attention != NULL) ? search(&r, generated, error)
                                                             : ec_no_memory(error);
    close_searcher(&r);
    return status;
}
