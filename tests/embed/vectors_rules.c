/* vectors_rules.c: grammar, sampler and searches; the scripted model of
 * conformance/search.py. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
#include "vectors.h"

enum { V = 40, END = 1 };

static edgecap_status read_grammar(ec_arena *arena, const ec_json *table, ec_grammar *grammar,
                                   edgecap_error *error)
{
    ec_fields f = ec_fields_of(arena, "grammar", error);
    return ec_grammar_read(&f, table, V, END, grammar);
}

static void run_walk(const ec_grammar *grammar, const ec_json *walk)
{
    int32_t state = strcmp(text(walk, "start"), "boxes") == 0 ? grammar->boxes : grammar->plain;
    int32_t tokens[64];
    size_t count = 0, i;
    const ec_json *step, *range;
    for (step = need(walk, "steps")->first; step != NULL; step = step->next) {
        uint8_t mask[V], expected[V] = {0};
        check(strcmp(grammar->states[state].name, text(step, "state")) == 0, "the walk's state");
        for (range = need(step, "allowed")->first; range != NULL; range = range->next) {
            for (i = (size_t)item(range, 0)->whole; i < (size_t)item(range, 1)->whole; i++) {
                expected[i] = 1;
            }
        }
        check(ec_grammar_allowed(grammar, state, tokens, count, (size_t)whole(step, "left"),
                                 (int32_t)whole(walk, "known"), V, mask, NULL) == EDGECAP_OK &&
                  memcmp(mask, expected, V) == 0,
              "what may follow in %s", text(step, "state"));
        tokens[count] = (int32_t)whole(step, "token");
        state = ec_grammar_after(grammar, state, tokens[count++]);
    }
}

static void run_grammar(const char *folder)
{
    topic t = open_topic(folder, "grammar");
    ec_grammar grammar;
    const ec_json *one;
    check(read_grammar(&t.arena, need(t.root, "grammar"), &grammar, NULL) == EDGECAP_OK, "grammar");
    for (one = need(t.root, "walks")->first; one != NULL; one = one->next) {
        run_walk(&grammar, one);
    }
    for (one = need(t.root, "refusals")->first; one != NULL; one = one->next) {
        edgecap_error error = {0};
        check(read_grammar(&t.arena, need(one, "grammar"), &grammar, &error) == EDGECAP_BUNDLE &&
                  strcmp(error.code, text(one, "code")) == 0,
              "grammar with %s: %s", text(one, "name"), error.code);
    }
    for (one = need(t.root, "stuck")->first; one != NULL; one = one->next) {
        edgecap_error error = {0};
        uint8_t mask[V];
        int32_t said = (int32_t)item(need(one, "tokens"), 0)->whole;
        check(read_grammar(&t.arena, need(one, "grammar"), &grammar, &error) == EDGECAP_OK &&
                  ec_grammar_allowed(&grammar, ec_grammar_state(&grammar, text(one, "state")),
                                     &said, 1, (size_t)whole(one, "left"), V, V, mask,
                                     &error) == EDGECAP_BUNDLE &&
                  strcmp(error.code, text(one, "code")) == 0,
              "stuck: %s", error.code);
    }
    close_topic(&t);
}

static void run_sampler(const char *folder)
{
    topic t = open_topic(folder, "sampler");
    const ec_json *one, *pair;
    double scale = (double)whole(t.root, "scale");
    for (one = need(t.root, "uniform")->first; one != NULL; one = one->next) {
        double u = ec_uniform((uint32_t)item(one, 0)->whole, (uint32_t)item(one, 1)->whole,
                              (uint64_t)item(one, 2)->whole);
        check(u * 9007199254740992.0 == (double)item(one, 3)->whole, "uniform");
    }
    for (one = need(t.root, "draws")->first; one != NULL; one = one->next) {
        float scores[V] = {0};
        double values[V], scaled[V];
        int32_t order[V], count = 0;
        ec_sampling how = read_sampling(one);
        ec_chances chances;
        const ec_json *score;
        chances.values = values;
        chances.scaled = scaled;
        chances.order = order;
        for (score = need(one, "scores")->first; score != NULL; score = score->next, count++) {
            scores[count] =
                score->kind != EC_JSON_NULL ? (float)(score->number / scale) : -INFINITY;
        }
        check(ec_probabilities(scores, count, &how, &chances), "probabilities");
        for (pair = need(one, "kept")->first; pair != NULL; pair = pair->next) {
            check(fabs(values[item(pair, 0)->whole] - item(pair, 1)->number) < 1e-9, "a chance");
        }
        for (pair = need(one, "taken")->first; pair != NULL; pair = pair->next) {
            check(ec_draw(values, count, item(pair, 0)->number) == item(pair, 1)->whole, "a draw");
        }
    }
    close_topic(&t);
}

/* ---- The scripted model: its state is a tensor, used as the core uses those
 * of an engine ---- */

enum { SLOTS = 32 };

typedef struct scripted {
    const int16_t *table;
    int32_t rows;
    float scale, logits[V], attention[1];
    float *slots[SLOTS]; /* [1 + T] each: an image row, then the tokens */
    ec_entry entry;
} scripted;

static edgecap_status scripted_step(void *self, size_t slot, int32_t token, size_t position,
                                    const float **logits, const float **attention,
                                    edgecap_error *error)
{
    scripted *s = self;
    float row = (float)token;
    int32_t h = 0, i;
    size_t p;
    (void)error;
    for (p = 0; p < position; p++) {
        h = (h * 31 + (int32_t)s->slots[slot][1 + p] + 1) % s->rows;
    }
    h = (h * 31 + token + 1) % s->rows;
    for (i = 0; i < V; i++) {
        s->logits[i] = (float)s->table[h * V + i] / s->scale;
    }
    s->attention[0] = (float)h;
    ec_entry_step(&s->entry, &row, position, s->slots[slot]);
    *logits = s->logits;
    *attention = s->attention;
    return EDGECAP_OK;
}

static void scripted_copy(void *self, size_t from, size_t to, size_t positions)
{
    scripted *s = self;
    ec_entry_copy(&s->entry, s->slots[from], positions, s->slots[to]);
}

static void check_found(const ec_json *one, const ec_generated *g)
{
    const ec_json *token, *score = need(one, "scores")->first, *head = need(one, "heads")->first;
    size_t i = 0;
    bool same = g->count == need(one, "tokens")->count;
    for (token = need(one, "tokens")->first; same && token != NULL; token = token->next, i++) {
        same = g->tokens[i].id == token->whole && g->attention[i] == (float)head->whole &&
               fabs(g->tokens[i].score - score->number) < 2e-5;
        head = head->next;
        score = score->next;
    }
    check(same && g->complete == (need(one, "complete")->kind == EC_JSON_TRUE) &&
              fabs(g->score - need(one, "score")->number) < 2e-5,
          "search with %ld beams of %ld tokens: %lu tokens", (long)whole(one, "beams"),
          (long)whole(one, "length"), (unsigned long)g->count);
}

/* One search on any model that knows the image already. */
void run_search(const ec_grammar *grammar, const ec_json *one, const ec_model *model)
{
    const ec_json *rule = need(one, "rule"), *sampling = need(one, "sampling");
    int32_t prompt[2], end = END;
    edgecap_token tokens[64];
    float looked[64];
    ec_request r = {0};
    ec_sampling how;
    ec_generated g = {0};
    edgecap_error error = {0};
    edgecap_status status;
    size_t i;
    for (i = 0; i < 2; i++) {
        prompt[i] = (int32_t)item(need(one, "prompt"), i)->whole;
    }
    r.memory = &plain_memory;
    r.rules.spec.begin.ids = prompt;
    r.rules.spec.begin.count = 2;
    r.rules.spec.eos.ids = &end;
    r.rules.spec.eos.count = 1;
    r.rules.spec.max_new_tokens = whole(one, "length");
    r.rules.spec.beams = (int32_t)whole(one, "beams");
    r.rules.spec.early_stopping = EC_ENDED;
    r.rules.spec.length_penalty = r.rules.spec.repetition_penalty = 1;
    r.rules.spec.forced_first = -1;
    r.rules.grammar = rule->kind == EC_JSON_NULL ? NULL : grammar;
    r.rules.start = ec_text_is(rule->text, "plain") ? grammar->plain : grammar->boxes;
    r.rules.known = V;
    if (sampling->kind == EC_JSON_OBJECT) {
        how = read_sampling(sampling);
        r.sampling = &how;
        r.seed = (uint32_t)whole(sampling, "seed");
        r.index = (uint32_t)whole(sampling, "index");
    }
    g.tokens = tokens;
    g.attention = looked;
    status = ec_generate(&r, model, &g, &error);
    check(status == EDGECAP_OK, "search: %s", error.message);
    check_found(one, &g);
}

static void run_case(const topic *t, const ec_grammar *grammar, const ec_json *one)
{
    size_t T = (size_t)whole(t->root, "text_length"), i;
    float zero = 0;
    scripted script = {0};
    ec_model model;
    script.table = (const int16_t *)(const void *)t->bytes; /* little-endian, like these machines */
    script.rows = (int32_t)whole(t->root, "rows");
    script.scale = (float)whole(t->root, "scale");
    script.entry.role = EC_CACHE;
    script.entry.from_image = "k";
    script.entry.groups = script.entry.image_rows = script.entry.first_text = 1;
    script.entry.rows = 1 + T;
    script.entry.row_bytes = script.entry.width = sizeof(float);
    for (i = 0; i < SLOTS; i++) {
        script.slots[i] = malloc(ec_entry_bytes(&script.entry));
        ec_entry_fill(&script.entry, &zero, script.slots[i]);
    }
    model.self = &script;
    model.vocabulary = V;
    model.patches = 1;
    model.step = scripted_step;
    model.copy = scripted_copy;
    run_search(grammar, one, &model);
    for (i = 0; i < SLOTS; i++) {
        free(script.slots[i]);
    }
}

void run_rules(const char *folder)
{
    topic t = open_topic(folder, "search");
    ec_grammar grammar;
    const ec_json *one;
    run_grammar(folder);
    run_sampler(folder);
    check(read_grammar(&t.arena, need(t.root, "grammar"), &grammar, NULL) == EDGECAP_OK, "grammar");
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        run_case(&t, &grammar, one);
    }
    run_session(&t, &grammar);
    close_topic(&t);
}
