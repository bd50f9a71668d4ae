/* caption2.c: captions of models of schema 2, by named prompts; see edgecap.h. */
#include <string.h>

#include "captioner.h"
#include "image_fit.h"
#include "regions2.h"
#include "rules.h"

typedef struct job { /* one caption while it is made */
    edgecap_captioner *c;
    const edgecap_caption_params *p;
    ec_request request;
    ec_sampling sampling;
    ec_generated generated;
    ec_speller pieces; /* where a callback takes them */
    size_t shown;
    ec_placement placement;
} job;

size_t ec_longest_of_prompts(const edgecap_captioner *c)
{
    size_t longest = 0, i;
    for (i = 0; i < c->manifest.prompt_count; i++) {
        size_t most = (size_t)c->manifest.prompts[i].how.max_new_tokens;
        longest = most > longest ? most : longest;
    }
    return longest;
}

/* ---- What is asked, checked ---- */

static const ec_generation *find_prompt(const edgecap_captioner *c, const char *name,
                                        edgecap_error *error)
{
    const ec_manifest *m = &c->manifest;
    size_t i;
    for (i = 0; i < m->prompt_count; i++) {
        if (name == NULL || strcmp(m->prompts[i].name, name) == 0) {
            return &m->prompts[i].how;
        }
    }
    ec_fail(error, EDGECAP_INPUT, "prompt.unknown", "unknown prompt '%.40s'; the first: %.40s.",
            name != NULL ? name : "", m->prompts[0].name);
    return NULL;
}

static edgecap_status check_beams(const edgecap_caption_params *p, const ec_generation *spec,
                                  ec_request *r, edgecap_error *error)
{
    int32_t beams = p->beams != 0 ? p->beams : p->sample || p->on_piece != NULL ? 1 : spec->beams;
    if (beams < 1 || beams > EC_MOST_BEAMS) {
        return ec_fail(error, EDGECAP_INPUT, "caption.beams", "beams must be in 1-%d, got %ld.",
                       EC_MOST_BEAMS, (long)beams);
    }
    if (beams > 1 && p->sample) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "caption.beams_sampled",
                       "beam search and sampling cannot be combined.");
    }
    if (beams > 1 && p->on_piece != NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "caption.beams_streamed",
                       "beam search cannot stream: its text is known at the end.");
    }
    r->beams = (size_t)beams;
    return EDGECAP_OK;
}

static edgecap_status check(job *j, const edgecap_caption *caption, edgecap_error *error)
{
    const edgecap_caption_params *p = j->p;
    ec_request *r = &j->request;
    const ec_generation *spec;
    edgecap_status status;
    if (!j->c->manifest.captions) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "model.capability",
                       "%.60s embeds images and texts; it does not generate captions.",
                       j->c->manifest.name);
    }
    if (p->language != NULL || p->style != NULL || !p->boxes || !p->rule) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "prompt.only",
                       "this model takes a prompt, and no language, style or rule.");
    }
    spec = find_prompt(j->c, p->prompt, error);
    if (spec == NULL) {
        return EDGECAP_INPUT;
    }
    if (p->most_tokens < 0 || p->most_tokens > spec->max_new_tokens) {
        return ec_fail(error, EDGECAP_INPUT, "caption.length",
                       "most_tokens must be in 1-%ld, got %ld.", (long)spec->max_new_tokens,
                       (long)p->most_tokens);
    }
    status = check_beams(p, spec, r, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    if (caption->attention != NULL && (r->beams > 1 || !ec_session_attends(j->c->session))) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "attention.missing",
                       "this bundle's model has no attention output.");
    }
    r->memory = &j->c->memory;
    r->spec = spec;
    r->longest = (size_t)(p->most_tokens > 0 ? p->most_tokens : spec->max_new_tokens);
    r->shortest = (size_t)spec->min_new_tokens;
    r->shortest = r->shortest < r->longest ? r->shortest : r->longest;
    r->seed = p->seed;
    r->index = p->index;
    if (p->sample) {
        j->sampling.temperature = p->temperature;
        j->sampling.top_k = p->top_k;
        j->sampling.top_p = p->top_p;
        r->sampling = &j->sampling;
    }
    return p->sample ? ec_check_sampling(p, error) : EDGECAP_OK;
}

/* ---- Pieces of text, as they become certain ---- */

static int show(job *j)
{
    size_t from = j->shown;
    j->shown = j->pieces.length;
    return j->shown > from ? j->p->on_piece(j->p->user, j->pieces.out + from, j->shown - from) : 0;
}

static int on_token(void *user, int32_t token)
{
    job *j = user;
    ec_speller_push(&j->pieces, token);
    return show(j);
}

/* ---- From ids to what the caller gets ---- */

static bool write_raw(const job *j, ec_speller *raw)
{
    size_t i;
    if (!ec_speller_open(&j->c->memory, j->c->codec, j->generated.count, false, raw)) {
        return false;
    }
    for (i = 0; i < j->generated.count; i++) {
        ec_speller_push(raw, j->generated.tokens[i].id);
    }
    ec_speller_finish(raw);
    return true;
}

static edgecap_status fill(job *j, edgecap_caption *caption, edgecap_error *error)
{
    const ec_manifest *m = &j->c->manifest;
    const ec_generated *g = &j->generated;
    const edgecap_memory *memory = &j->c->memory;
    ec_view view;
    ec_found found;
    ec_speller raw;
    bool enough, fits = false;
    memset(&raw, 0, sizeof raw);
    view.codec = j->c->codec;
    view.spec = &m->regions;
    view.height = ec_input_height(&m->image);
    view.width = ec_input_width(&m->image);
    view.placement = j->placement;
    enough = ec_find_regions(memory, &view, g->tokens, g->count, &found) && write_raw(j, &raw);
    if (enough) {
        caption->raw_length = raw.length;
        caption->text_length = found.text.length;
        caption->phrase_count = found.phrase_count;
        caption->box_count = found.box_count;
        caption->token_count = g->count;
        caption->score = g->score;
        caption->complete = g->complete;
        caption->malformed = found.malformed;
        fits = ec_give_caption(caption, found.text.data, raw.out, found.phrases, found.boxes, g,
                               (size_t)m->patches);
    }
    ec_found_close(memory, &found);
    ec_speller_close(memory, &raw);
    return !enough ? ec_no_memory(error)
           : fits  ? EDGECAP_OK
                   : ec_fail(error, EDGECAP_BUFFER, "caption.buffer",
                             "a buffer is too small: the counts say what is needed.");
}

static double now(const edgecap_captioner *c)
{
    return c->clock != NULL ? c->clock() : 0;
}

static edgecap_status generate(job *j, edgecap_error *error)
{
    ec_model model;
    edgecap_status status = ec_session_begin(j->c->session, j->request.beams, &model, error);
    if (status == EDGECAP_OK) {
        status = ec_generate(&j->request, &model, &j->generated, error);
    }
    if (status == EDGECAP_OK && j->p->on_piece != NULL) {
        ec_speller_finish(&j->pieces);
        if (show(j) != 0) {
            status = ec_fail(error, EDGECAP_STOPPED, "caption.stopped", "the callback stopped it.");
        }
    }
    return status;
}

static edgecap_status describe(job *j, const edgecap_image *image, edgecap_caption *caption,
                               edgecap_error *error)
{
    edgecap_captioner *c = j->c;
    double begin, encoded;
    edgecap_status filled, status = ec_place_image(c, image, &j->placement, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    begin = now(c);
    status = ec_session_encode(c->session, error);
    encoded = now(c);
    if (status == EDGECAP_OK) {
        status = generate(j, error);
    }
    if (status != EDGECAP_OK && status != EDGECAP_STOPPED) {
        return status;
    }
    caption->encode_seconds = encoded - begin;
    caption->decode_seconds = now(c) - encoded;
    filled = fill(j, caption, status == EDGECAP_OK ? error : NULL);
    return status == EDGECAP_STOPPED ? status : filled;
}

edgecap_status ec_describe_prompted(edgecap_captioner *c, const edgecap_image *image,
                                    const edgecap_caption_params *params, edgecap_caption *caption,
                                    edgecap_error *error)
{
    job j;
    edgecap_status status;
    size_t longest;
    memset(&j, 0, sizeof j);
    j.c = c;
    j.p = params;
    status = check(&j, caption, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    longest = j.request.longest;
    j.generated.tokens = ec_allocate_array(&c->memory, longest, sizeof *j.generated.tokens);
    if (caption->attention != NULL) {
        j.generated.attention = ec_allocate_array(&c->memory, longest * (size_t)c->manifest.patches,
                                                  sizeof *j.generated.attention);
    }
    if (params->on_piece != NULL) {
        j.request.on_token = on_token;
        j.request.user = &j;
    }
    status = j.generated.tokens == NULL ||
                     (caption->attention != NULL && j.generated.attention == NULL) ||
                     (params->on_piece != NULL &&
                      !ec_speller_open(&c->memory, c->codec, longest, true, &j.pieces))
                 ? ec_no_memory(error)
                 : describe(&j, image, caption, error);
    ec_speller_close(&c->memory, &j.pieces);
    ec_release(&c->memory, j.generated.tokens);
    ec_release(&c->memory, j.generated.attention);
    return status;
}
