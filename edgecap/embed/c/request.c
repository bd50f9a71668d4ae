/* request.c: what a caller asks of a caption, checked; edgecap/runtime/requests.py in C. */
#include <string.h>

#include "captioner.h"

static const char DEFAULT_LANGUAGE[] = "en";

static edgecap_status unknown(const char *what, const char *code, const char *got,
                              const char *first, edgecap_error *error)
{
    return ec_fail(error, EDGECAP_INPUT, code, "unknown %s '%.40s'; the first allowed: %.40s.",
                   what, got, first);
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    size_t i;
    for (i = 0; i < count && strcmp(names[i], name) != 0; i++) {
    }
    return i < count;
}

/* The prompt and the grammar of a language and a style. */
static edgecap_status choose_language(const edgecap_captioner *c, const edgecap_caption_params *p,
                                      ec_asked *asked, edgecap_error *error)
{
    const ec_manifest *m = &c->manifest;
    const char *style = p->style != NULL ? p->style : p->boxes ? "grounded" : "plain";
    ec_rules *rules = &asked->request.rules;
    if (p->prompt != NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "prompt.unknown",
                       "this model takes a language and a style, not a prompt.");
    }
    asked->language = p->language != NULL ? p->language : DEFAULT_LANGUAGE;
    if (!is_one_of(asked->language, m->languages, m->language_count)) {
        return unknown("language", "language.unknown", asked->language, m->languages[0], error);
    }
    if (!is_one_of(style, m->styles, m->style_count)) {
        return unknown("style", "style.unknown", style, m->styles[0], error);
    }
    asked->style = style;
    rules->spec = *ec_manifest_prompt(m, asked->language, style);
    if (p->rule && m->grammar != NULL) {
        bool boxes = p->boxes && strcmp(style, "plain") != 0; /* "plain" implies it too */
        rules->grammar = m->grammar;
        rules->start = boxes ? m->grammar->boxes : m->grammar->plain;
        rules->known = ec_tokenizer_size(c->tokenizer);
    }
    return EDGECAP_OK;
}

static edgecap_status choose_prompt(const ec_manifest *m, const edgecap_caption_params *p,
                                    ec_asked *asked, edgecap_error *error)
{
    size_t i;
    if (p->language != NULL || p->style != NULL || !p->boxes || !p->rule) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "prompt.only",
                       "this model takes a prompt, and no language, style or rule.");
    }
    for (i = 0; i < m->prompt_count; i++) {
        if (p->prompt == NULL || strcmp(m->prompts[i].name, p->prompt) == 0) {
            asked->style = m->prompts[i].name;
            asked->request.rules.spec = m->prompts[i].how;
            return EDGECAP_OK;
        }
    }
    return unknown("prompt", "prompt.unknown", p->prompt, m->prompts[0].name, error);
}

static edgecap_status check_beams(const edgecap_caption_params *p, const ec_generation *spec,
                                  edgecap_error *error)
{
    if (spec->beams < 1 || spec->beams > EC_MOST_BEAMS) {
        return ec_fail(error, EDGECAP_INPUT, "caption.beams", "beams must be in 1-%d, got %ld.",
                       EC_MOST_BEAMS, (long)spec->beams);
    }
    if (spec->beams > 1 && p->sample) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "caption.beams_sampled",
                       "beam search and sampling cannot be combined.");
    }
    if (spec->beams > 1 && p->on_piece != NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "caption.beams_streamed",
                       "beam search cannot stream: its text is known at the end.");
    }
    return EDGECAP_OK;
}

static edgecap_status check_sampling(const edgecap_caption_params *p, edgecap_error *error)
{
    if (!(p->temperature >= 0.01 && p->temperature <= 100)) {
        return ec_fail(error, EDGECAP_INPUT, "sampling.temperature",
                       "temperature must be in 0.01-100.");
    }
    if (p->top_k < 0) {
        return ec_fail(error, EDGECAP_INPUT, "sampling.top_k", "top_k must be at least 1, or 0.");
    }
    if (!(p->top_p >= 0 && p->top_p <= 1)) {
        return ec_fail(error, EDGECAP_INPUT, "sampling.top_p",
                       "top_p must be above 0 and at most 1, or 0.");
    }
    return EDGECAP_OK;
}

/* The prompt's settings with the limits of this call. */
static edgecap_status limit(const edgecap_caption_params *p, ec_generation *spec,
                            edgecap_error *error)
{
    int64_t most = p->most_tokens;
    if (most < 0 || most > spec->max_new_tokens) {
        return ec_fail(error, EDGECAP_INPUT, "caption.length",
                       "most_tokens must be in 1-%ld, got %ld.", (long)spec->max_new_tokens,
                       (long)most);
    }
    if (most > 0) {
        spec->max_new_tokens = most;
        spec->min_new_tokens = spec->min_new_tokens < most ? spec->min_new_tokens : most;
    }
    if (p->beams != 0 || p->sample || p->on_piece != NULL) {
        spec->beams = p->beams != 0 ? p->beams : 1;
    }
    return check_beams(p, spec, error);
}

/* What the caption's confidence comes from, and whether it can be asked for. */
static edgecap_status limit_confidence(const edgecap_captioner *c, double minimum, ec_asked *asked,
                                       edgecap_error *error)
{
    bool automatic = minimum == EDGECAP_AUTO_CONFIDENCE;
    asked->sure = ec_caption_weights_of(c->calibration, asked->style);
    if (!automatic && !(minimum >= 0 && minimum <= 1)) {
        return ec_fail(error, EDGECAP_INPUT, "confidence.minimum",
                       "min_confidence must be in 0-1, or EDGECAP_AUTO_CONFIDENCE.");
    }
    if (minimum != 0 && c->calibration == NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "confidence.none",
                       "this model carries no calibration: edgecap calibrate fits one.");
    }
    if (minimum != 0 && asked->sure == NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "confidence.style",
                       "this model is not calibrated for '%.60s'; the first it is for: %.60s.",
                       asked->style, c->calibration->captions[0].name);
    }
    asked->least = automatic ? asked->sure->threshold : minimum;
    return EDGECAP_OK;
}

edgecap_status ec_settle_request(const edgecap_captioner *c, const edgecap_caption_params *p,
                                 ec_asked *asked, edgecap_error *error)
{
    const ec_manifest *m = &c->manifest;
    ec_request *r = &asked->request;
    edgecap_status status;
    memset(asked, 0, sizeof *asked);
    if (!m->captions) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "model.capability",
                       "%.60s embeds images and texts; it does not generate captions.", m->name);
    }
    status = m->language_count > 0 ? choose_language(c, p, asked, error)
                                   : choose_prompt(m, p, asked, error);
    if (status == EDGECAP_OK) {
        status = limit(p, &r->rules.spec, error);
    }
    if (status == EDGECAP_OK) {
        status = limit_confidence(c, p->min_confidence, asked, error);
    }
    r->memory = &c->memory;
    r->seed = p->seed;
    r->index = p->index;
    if (status == EDGECAP_OK && p->sample) {
        asked->sampling.temperature = p->temperature;
        asked->sampling.top_k = p->top_k;
        asked->sampling.top_p = p->top_p;
        r->sampling = &asked->sampling;
        status = check_sampling(p, error);
    }
    return status;
}
