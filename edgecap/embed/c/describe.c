/* describe.c: captions; see edgecap.h. */
#include <string.h>

#include "captioner.h"
#include "regions.h"

typedef struct job { /* one caption while it is made */
    edgecap_captioner *c;
    const edgecap_caption_params *p;
    ec_asked asked;
    ec_generated generated;
    bool rated;        /* there is what its confidence needs */
    double second;     /* ec_mean_score of the caption in the second style; 0: none is needed */
    ec_speller pieces; /* where a callback takes them */
    size_t shown;
    ec_placement placement;
} job;

edgecap_caption_params edgecap_caption_default_params(void)
{
    edgecap_caption_params params;
    memset(&params, 0, sizeof params);
    params.boxes = 1;
    params.rule = 1;
    params.temperature = 1;
    return params;
}

edgecap_caption edgecap_caption_init(void)
{
    edgecap_caption caption;
    memset(&caption, 0, sizeof caption);
    return caption;
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

/* Copies what fits, where something is wanted; false where not all fits. */
static bool give(const void *from, size_t count, size_t size, void *to, size_t capacity)
{
    size_t part = count < capacity ? count : capacity;
    if (to != NULL && part > 0) {
        memcpy(to, from, part * size);
    }
    return to == NULL || count <= capacity;
}

static bool give_text(const char *from, size_t length, char *to, size_t capacity)
{
    bool fits = give(from, length, 1, to, capacity) && (to == NULL || length < capacity);
    if (to != NULL && fits) {
        to[length] = '\0'; /* `from` may go on: it is a part of a text */
    }
    if (to != NULL && capacity > 0 && !fits) {
        to[capacity - 1] = '\0';
    }
    return fits;
}

/* Copies what fits into the caller's arrays, where they are; the counts stand in `caption`. False
 * where not all fits. */
static bool give_caption(edgecap_caption *c, const ec_found *found, const char *raw,
                         const ec_generated *g, size_t patches)
{
    size_t looked = g->attention != NULL ? g->count * patches : 0;
    bool fits = give_text(found->text.data, c->text_length, c->text, c->text_capacity);
    fits = give_text(raw, c->raw_length, c->raw, c->raw_capacity) && fits;
    fits =
        give(found->phrases, c->phrase_count, sizeof *c->phrases, c->phrases, c->phrase_capacity) &&
        fits;
    fits = give(found->boxes, c->box_count, sizeof *c->boxes, c->boxes, c->box_capacity) && fits;
    fits = give(g->tokens, g->count, sizeof *g->tokens, c->tokens, c->token_capacity) && fits;
    return give(g->attention, looked, sizeof *g->attention, c->attention, c->attention_capacity) &&
           fits;
}

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

/* Confidences, and a caption without words and boxes where it is declined. */
static void rate(const job *j, ec_found *found, ec_speller *raw, edgecap_caption *caption)
{
    const ec_box_weights *boxes = ec_box_weights_of(j->c->calibration, j->asked.style);
    const ec_generated *g = &j->generated;
    bool rated = j->rated && g->count > 0;
    size_t i;
    caption->confidence =
        rated ? ec_caption_confidence(j->asked.sure, g->tokens, g->count, j->second) : -1;
    caption->declined = rated && caption->confidence < j->asked.least;
    if (caption->declined) {
        found->text.length = found->phrase_count = found->box_count = raw->length = 0;
    }
    for (i = 0; i < found->box_count; i++) {
        edgecap_box *box = &found->boxes[i];
        box->confidence =
            rated && boxes != NULL ? ec_box_confidence(boxes, box->score, g->tokens, g->count) : -1;
    }
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
    view.language = j->asked.language;
    enough = ec_find_regions(memory, &view, g->tokens, g->count, &found) && write_raw(j, &raw);
    if (enough) {
        rate(j, &found, &raw, caption);
        caption->raw_length = raw.length;
        caption->text_length = found.text.length;
        caption->phrase_count = found.phrase_count;
        caption->box_count = found.box_count;
        caption->token_count = g->count;
        caption->score = g->score;
        caption->complete = g->complete;
        caption->malformed = found.malformed;
        fits = give_caption(caption, &found, raw.out, g, (size_t)m->patches);
    }
    ec_found_close(memory, &found);
    ec_speller_close(memory, &raw);
    return !enough ? ec_no_memory(error)
           : fits  ? EDGECAP_OK
                   : ec_fail(error, EDGECAP_BUFFER, "caption.buffer",
                             "a buffer is too small: the counts say what is needed.");
}

/* ---- Captions ---- */

static edgecap_status generate(job *j, edgecap_error *error)
{
    ec_model model;
    size_t beams = (size_t)j->asked.request.rules.spec.beams;
    edgecap_status status = ec_session_begin(j->c->session, beams, &model, error);
    if (status == EDGECAP_OK) {
        status = ec_generate(&j->asked.request, &model, &j->generated, error);
    }
    if (status == EDGECAP_OK && j->p->on_piece != NULL) {
        ec_speller_finish(&j->pieces);
        if (show(j) != 0) {
            status = ec_fail(error, EDGECAP_STOPPED, "caption.stopped", "the callback stopped it.");
        }
    }
    return status;
}

/* The image in a second style where the confidence needs it: greedily, to its end. It takes time,
 * so only where a lowest confidence was asked for. */
static edgecap_status caption_again(job *j, edgecap_error *error)
{
    const edgecap_memory *memory = &j->c->memory;
    edgecap_caption_params params = edgecap_caption_default_params();
    ec_asked again;
    ec_generated g;
    ec_model model;
    edgecap_status status;
    params.language = j->asked.language;
    params.style = j->asked.language != NULL ? j->asked.sure->second : NULL;
    params.prompt = j->asked.language != NULL ? NULL : j->asked.sure->second;
    params.beams = 1;
    status = ec_settle_request(j->c, &params, &again, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    memset(&g, 0, sizeof g);
    g.tokens = ec_allocate_array(memory, (size_t)again.request.rules.spec.max_new_tokens,
                                 sizeof *g.tokens);
    status =
        g.tokens != NULL ? ec_session_begin(j->c->session, 1, &model, error) : ec_no_memory(error);
    if (status == EDGECAP_OK) {
        status = ec_generate(&again.request, &model, &g, error);
    }
    j->second = status == EDGECAP_OK ? ec_mean_score(g.tokens, g.count) : 0;
    ec_release(memory, g.tokens);
    return status;
}

static edgecap_status prepare_rating(job *j, edgecap_error *error)
{
    const ec_caption_weights *sure = j->asked.sure;
    bool twice = sure != NULL && sure->second != NULL;
    j->rated = sure != NULL && (!twice || j->p->min_confidence != 0);
    return j->rated && twice ? caption_again(j, error) : EDGECAP_OK;
}

static edgecap_status describe(job *j, const edgecap_image *image, edgecap_caption *caption,
                               edgecap_error *error)
{
    edgecap_captioner *c = j->c;
    double encode_seconds, encoded;
    edgecap_status filled,
        status = ec_encode_image(c, image, &j->placement, &encode_seconds, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    encoded = ec_now(c);
    status = generate(j, error);
    if (status == EDGECAP_OK) {
        status = prepare_rating(j, error);
    }
    if (status != EDGECAP_OK && status != EDGECAP_STOPPED) {
        return status;
    }
    caption->encode_seconds = encode_seconds;
    caption->decode_seconds = ec_now(c) - encoded;
    filled = fill(j, caption, status == EDGECAP_OK ? error : NULL);
    return status == EDGECAP_STOPPED ? status : filled;
}

static edgecap_status open_job(job *j, const edgecap_caption *caption, edgecap_error *error)
{
    const edgecap_memory *memory = &j->c->memory;
    size_t longest = (size_t)j->asked.request.rules.spec.max_new_tokens;
    size_t P = (size_t)j->c->manifest.patches;
    ec_generated *g = &j->generated;
    g->tokens = ec_allocate_array(memory, longest, sizeof *g->tokens);
    if (caption->attention != NULL) {
        g->attention = ec_allocate_array(memory, longest * P, sizeof *g->attention);
    }
    if (j->p->on_piece != NULL) {
        j->asked.request.on_token = on_token;
        j->asked.request.user = j;
        /* Of a model with languages the pieces make up `raw`. */
        if (!ec_speller_open(memory, j->c->codec, longest, j->asked.language == NULL, &j->pieces)) {
            return ec_no_memory(error);
        }
    }
    return g->tokens == NULL || (caption->attention != NULL && g->attention == NULL)
               ? ec_no_memory(error)
               : EDGECAP_OK;
}

static void close_job(job *j)
{
    ec_speller_close(&j->c->memory, &j->pieces);
    ec_release(&j->c->memory, j->generated.tokens);
    ec_release(&j->c->memory, j->generated.attention);
}

edgecap_status edgecap_describe(edgecap_captioner *c, const edgecap_image *image,
                                const edgecap_caption_params *params, edgecap_caption *caption,
                                edgecap_error *error)
{
    edgecap_caption_params defaults = edgecap_caption_default_params();
    job j;
    edgecap_status status;
    ec_clear(error);
    if (c == NULL || image == NULL || caption == NULL) {
        return ec_fail(error, EDGECAP_INPUT, "argument.missing",
                       "a captioner, an image and a caption are needed.");
    }
    memset(&j, 0, sizeof j);
    j.c = c;
    j.p = params != NULL ? params : &defaults;
    status = ec_settle_request(c, j.p, &j.asked, error);
    if (status == EDGECAP_OK && caption->attention != NULL && !ec_session_attends(c->session)) {
        status = ec_fail(error, EDGECAP_UNSUPPORTED, "attention.missing",
                         "this bundle's model has no attention output.");
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    status = open_job(&j, caption, error);
    if (status == EDGECAP_OK) {
        status = describe(&j, image, caption, error);
    }
    close_job(&j);
    return status;
}
