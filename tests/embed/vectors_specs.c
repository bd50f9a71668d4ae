/* vectors_specs.c: what a manifest says as data: image specs, codecs, rules of
 * generation, beams. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image_fit.h"
#include "manifest.h"
#include "vectors.h"

enum { MOST = 64, SLOTS = 8 };

static size_t read_ids(const ec_json *list, int32_t *ids)
{
    const ec_json *one;
    size_t count = 0;
    for (one = list->first; one != NULL && count < MOST; one = one->next) {
        ids[count++] = (int32_t)one->whole;
    }
    return count;
}

/* ---- Images ---- */

/* All inputs that an image makes, one after the other. */
static uint8_t *cut_all(const ec_fitted *fitted, const ec_image_spec *spec, size_t count)
{
    size_t inputs = ec_fitted_count(fitted), i;
    uint8_t *all = malloc(inputs * count);
    edgecap_error error = {0};
    for (i = 0; i < inputs; i++) {
        check(ec_cut_input(&plain_memory, fitted, spec, i, all + i * count, &error) == EDGECAP_OK,
              "a crop: %s", error.message);
    }
    return all;
}

static void run_image(topic *t, const ec_json *one)
{
    edgecap_error error = {0};
    ec_fields f = ec_fields_of(&t->arena, "spec", &error);
    ec_image_spec spec;
    ec_fitted fitted;
    const ec_placement *p = &fitted.placement;
    edgecap_image image = {0};
    const ec_json *placed = need(one, "placement"), *grid = need(one, "grid");
    size_t channels = (size_t)whole(one, "channels"), count;
    uint8_t *pixels, *input;
    ec_read_image_spec(&f, need(one, "spec"), &spec);
    check(f.status == EDGECAP_OK, "image spec: %s", error.message);
    image.width = (int32_t)whole(one, "width");
    image.height = (int32_t)whole(one, "height");
    image.stride = (ptrdiff_t)channels * image.width;
    image.format = channels == 4 ? EDGECAP_RGBA : EDGECAP_RGB;
    image.orientation = 1;
    count = channels * (size_t)image.width * (size_t)image.height;
    pixels = malloc(count);
    make_noise(pixels, count, (uint32_t)whole(one, "seed"));
    image.data = pixels;
    count = 3 * (size_t)ec_input_height(&spec) * (size_t)ec_input_width(&spec);
    check(ec_fit_image(&plain_memory, &image, &spec, &fitted, &error) == EDGECAP_OK,
          "processing: %s", error.message);
    check(p->left == item(placed, 0)->whole && p->top == item(placed, 1)->whole &&
              p->scaled_width == item(placed, 2)->whole &&
              p->scaled_height == item(placed, 3)->whole,
          "the place of an image of %ld x %ld", (long)image.width, (long)image.height);
    check(fitted.rows == item(grid, 0)->whole && fitted.columns == item(grid, 1)->whole &&
              (int64_t)ec_fitted_count(&fitted) == item(grid, 2)->whole &&
              item(grid, 2)->whole <= ec_most_crops(&spec),
          "the grid of an image of %ld x %ld", (long)image.width, (long)image.height);
    input = cut_all(&fitted, &spec, count);
    check_bytes(t, one, input, count * ec_fitted_count(&fitted), "image spec");
    ec_fitted_close(&plain_memory, &fitted);
    free(pixels);
    free(input);
}

/* ---- Text ---- */

static void run_text(const ec_codec *codec, const ec_json *one)
{
    int32_t ids[MOST];
    size_t count = read_ids(need(one, "ids"), ids), i, shown = 0;
    const ec_json *piece = need(one, "pieces")->first;
    ec_speller s;
    check(
        ec_speller_open(&plain_memory, codec, count, need(one, "clean")->kind == EC_JSON_TRUE, &s),
        "memory");
    for (i = 0; i <= count && piece != NULL; i++, piece = piece->next) {
        if (i < count) {
            ec_speller_push(&s, ids[i]);
        } else {
            ec_speller_finish(&s);
        }
        check(s.length - shown == piece->text.length &&
                  memcmp(s.out + shown, piece->text.data, piece->text.length) == 0,
              "piece %lu of family %d is '%.*s', not '%s'", (unsigned long)i, (int)codec->family,
              (int)(s.length - shown), s.out + shown, piece->text.data);
        shown = s.length;
    }
    ec_speller_close(&plain_memory, &s);
}

static void run_codecs(const char *folder)
{
    topic t = open_topic(folder, "codecs");
    const ec_json *one, *text_;
    for (one = need(t.root, "codecs")->first; one != NULL; one = one->next) {
        edgecap_error error = {0};
        ec_text file = need(one, "file")->text;
        ec_codec *codec = NULL;
        check(ec_codec_read(&t.arena, file.data, file.length, "file", &codec, &error) == EDGECAP_OK,
              "codec: %s", error.message);
        for (text_ = need(one, "texts")->first; text_ != NULL; text_ = text_->next) {
            run_text(codec, text_);
        }
    }
    for (one = need(t.root, "refusals")->first; one != NULL; one = one->next) {
        edgecap_error error = {0};
        ec_text file = need(one, "file")->text;
        ec_codec *codec = NULL;
        ec_codec_read(&t.arena, file.data, file.length, "file", &codec, &error);
        check(ec_text_is(need(one, "code")->text, error.code), "codec %.60s: %s, not %s", file.data,
              error.code, need(one, "code")->text.data);
    }
    close_topic(&t);
}

/* ---- Generation ---- */

static void read_spec(topic *t, const ec_json *one, ec_generation *spec)
{
    edgecap_error error = {0};
    ec_fields f = ec_fields_of(&t->arena, "spec", &error);
    ec_read_generation(&f, need(one, "spec"), "spec", 0, spec);
    check(f.status == EDGECAP_OK, "generation: %s", error.message);
}

static void run_rule(topic *t, const ec_json *one, int32_t V, double scale)
{
    ec_generation spec;
    int32_t ids[MOST], i = 0;
    size_t count = read_ids(need(one, "generated"), ids);
    float scores[MOST];
    uint8_t mark[MOST] = {0};
    const ec_json *score;
    read_spec(t, one, &spec);
    for (score = need(one, "scores")->first; score != NULL; score = score->next) {
        scores[i++] = (float)(score->number / scale);
    }
    ec_apply_settings(&spec, ids, count, scores, V, mark);
    for (i = 0, score = need(one, "ruled")->first; score != NULL; score = score->next, i++) {
        float expected = score->kind == EC_JSON_NULL ? -INFINITY : (float)score->number;
        check(scores[i] == expected && mark[i] == 0, "rule on token %ld: %g, not %g", (long)i,
              (double)scores[i], (double)expected);
    }
}

typedef struct table { /* a model whose logits hang on the sum of what a slot
                          was fed */
    const ec_json *rows;
    int64_t sums[SLOTS];
    size_t fed[SLOTS];
    int32_t V, R;
    float scale, logits[MOST];
} table;

static edgecap_status table_step(void *self, size_t slot, int32_t token, size_t position,
                                 const float **logits, const float **attention,
                                 edgecap_error *error)
{
    table *m = self;
    const ec_json *value;
    int32_t i = 0;
    (void)error;
    check(slot < SLOTS && m->fed[slot] == position, "a step at position %lu",
          (unsigned long)position);
    m->sums[slot] += token;
    m->fed[slot]++;
    value = item(m->rows, (size_t)(m->sums[slot] % m->R))->first;
    for (; value != NULL; value = value->next) {
        m->logits[i++] = (float)value->number / m->scale;
    }
    *logits = m->logits;
    *attention = NULL;
    return EDGECAP_OK;
}

static void table_copy(void *self, size_t from, size_t to, size_t positions)
{
    table *m = self;
    m->sums[to] = m->sums[from];
    m->fed[to] = positions;
}

static void check_generated(const ec_json *one, const ec_generation *spec, const ec_generated *g)
{
    const ec_json *id = need(one, "tokens")->first, *score = need(one, "scores")->first;
    bool same = g->count == need(one, "tokens")->count;
    size_t i;
    for (i = 0; same && i < g->count; i++, id = id->next, score = score->next) {
        same = g->tokens[i].id == id->whole && fabs(g->tokens[i].score - score->number) < 2e-5;
    }
    check(same && g->complete == (need(one, "complete")->kind == EC_JSON_TRUE) &&
              fabs(g->score - need(one, "score")->number) < 2e-5,
          "%ld beams of %ld tokens", (long)spec->beams, (long)spec->max_new_tokens);
}

static void run_search_case(topic *t, const ec_json *one)
{
    ec_generation spec;
    ec_request r = {0};
    ec_generated g = {0};
    edgecap_token tokens[MOST];
    edgecap_error error = {0};
    const ec_json *code = ec_json_get(one, "code"), *sampling = need(one, "sampling");
    ec_sampling how;
    ec_model model = {0};
    table m = {0};
    read_spec(t, one, &spec);
    m.rows = need(t->root, "table");
    m.V = (int32_t)whole(t->root, "vocabulary");
    m.R = (int32_t)whole(t->root, "rows");
    m.scale = (float)whole(t->root, "scale");
    model.self = &m;
    model.vocabulary = m.V;
    model.step = table_step;
    model.copy = table_copy;
    r.memory = &plain_memory;
    r.rules.spec = spec;
    if (sampling->kind == EC_JSON_OBJECT) {
        how = read_sampling(sampling);
        r.sampling = &how;
        r.seed = (uint32_t)whole(sampling, "seed");
        r.index = (uint32_t)whole(sampling, "index");
    }
    g.tokens = tokens;
    ec_generate(&r, &model, &g, &error);
    check(code == NULL ? error.code[0] == 0 : ec_text_is(code->text, error.code), "beams: %s",
          error.message);
    if (code == NULL) {
        check_generated(one, &spec, &g);
    }
}

/* ---- The whole ---- */

void run_specs(const char *folder)
{
    topic t = open_topic(folder, "image_specs");
    const ec_json *one;
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        run_image(&t, one);
    }
    close_topic(&t);
    run_codecs(folder);
    t = open_topic(folder, "logits_rules");
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        run_rule(&t, one, (int32_t)whole(t.root, "vocabulary"), need(t.root, "scale")->number);
    }
    close_topic(&t);
    t = open_topic(folder, "beams");
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        run_search_case(&t, one);
    }
    close_topic(&t);
}
