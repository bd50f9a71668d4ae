/* describe.c: captions and embeddings; see edgecap.h. */
#include <string.h>

#include "captioner.h"
#include "image_fit.h"
#include "unicode.h"

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

/* ---- What is asked, checked ---- */

static edgecap_status pick(const char *what, const char *code, const char *got,
                           const char *const *names, const int32_t *ids, size_t count, int32_t *id,
                           edgecap_error *error)
{
    size_t i;
    for (i = 0; i < count; i++) {
        if (strcmp(names[i], got) == 0) {
            *id = ids[i];
            return EDGECAP_OK;
        }
    }
    return ec_fail(error, EDGECAP_INPUT, code, "unknown %s '%.40s'; the first allowed: %.40s.",
                   what, got, names[0]);
}

edgecap_status ec_check_sampling(const edgecap_caption_params *p, edgecap_error *error)
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

static const char *language_of(const edgecap_caption_params *p)
{
    return p->language != NULL ? p->language : "en";
}

static int32_t beams_of(const edgecap_caption_params *p)
{
    return p->beams != 0 ? p->beams : 1;
}

static edgecap_status check_params(const edgecap_captioner *c, const edgecap_caption_params *p,
                                   ec_search *search, int32_t *prompt, edgecap_error *error)
{
    const ec_manifest *m = &c->manifest;
    const char *style = p->style != NULL ? p->style : p->boxes ? "grounded" : "plain";
    bool boxes = p->boxes && strcmp(style, "plain") != 0;
    edgecap_status status;
    if (p->prompt != NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "prompt.unknown",
                       "this model takes a language and a style, not a prompt.");
    }
    status = pick("language", "language.unknown", language_of(p), m->languages, c->languages,
                  m->language_count, &prompt[0], error);
    if (status == EDGECAP_OK) {
        status = pick("style", "style.unknown", style, m->styles, c->styles, m->style_count,
                      &prompt[1], error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    search->length = p->most_tokens == 0 ? ec_longest_caption(c) : (size_t)p->most_tokens;
    if (p->most_tokens < 0 || search->length > ec_longest_caption(c)) {
        return ec_fail(error, EDGECAP_INPUT, "caption.length",
                       "most_tokens must be in 1-%lu, got %ld.",
                       (unsigned long)ec_longest_caption(c), (long)p->most_tokens);
    }
    if (beams_of(p) < 1 || p->beams > EC_MOST_BEAMS) {
        return ec_fail(error, EDGECAP_INPUT, "caption.beams", "beams must be in 1-%d, got %ld.",
                       EC_MOST_BEAMS, (long)p->beams);
    }
    if (p->beams > 1 && p->sample) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "caption.beams_sampled",
                       "beam search and sampling cannot be combined.");
    }
    if (p->beams > 1 && p->on_piece != NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "caption.beams_streamed",
                       "beam search cannot stream: its text is known at the end.");
    }
    search->memory = &c->memory;
    search->prompt = prompt;
    search->prompt_count = EC_PROMPT;
    search->end = c->eos;
    search->grammar = p->rule ? &m->grammar : NULL;
    search->start = boxes ? m->grammar.boxes : m->grammar.plain;
    search->known = ec_tokenizer_size(c->tokenizer);
    search->seed = p->seed;
    search->index = p->index;
    return p->sample ? ec_check_sampling(p, error) : EDGECAP_OK;
}

/* ---- Pieces of text, as they become certain ---- */

typedef struct stream {
    edgecap_on_piece on_piece;
    void *user;
    ec_decoder decoder;
    ec_writer writer;
    uint8_t *pending;
    size_t shown;
} stream;

static int show(stream *s)
{
    size_t from = s->shown;
    s->shown = s->writer.length;
    return s->shown > from ? s->on_piece(s->user, s->writer.data + from, s->shown - from) : 0;
}

static int on_token(void *user, int32_t token)
{
    stream *s = user;
    return ec_decoder_add(&s->decoder, token) ? 0 : show(s); /* half a character waits */
}

static bool open_stream(const edgecap_captioner *c, const edgecap_caption_params *p, stream *s)
{
    memset(s, 0, sizeof *s);
    if (p->on_piece == NULL) {
        return true;
    }
    s->on_piece = p->on_piece;
    s->user = p->user;
    s->writer.capacity = ec_text_bound(c);
    s->writer.data = ec_allocate_array(&c->memory, s->writer.capacity, 1);
    s->pending = ec_allocate_array(&c->memory, ec_longest_caption(c), 1);
    ec_decoder_init(&s->decoder, c->tokenizer, &s->writer, false, s->pending);
    return s->writer.data != NULL && s->pending != NULL;
}

static void close_stream(const edgecap_captioner *c, stream *s)
{
    ec_release(&c->memory, s->writer.data);
    ec_release(&c->memory, s->pending);
}

/* ---- Captions ---- */

static double now(const edgecap_captioner *c)
{
    return c->clock != NULL ? c->clock() : 0;
}

edgecap_status ec_place_image(edgecap_captioner *c, const edgecap_image *image,
                              ec_placement *placement, edgecap_error *error)
{
    const ec_manifest *m = &c->manifest;
    uint8_t *input = ec_session_image(c->session);
    return m->schema == EC_SCHEMA_2
               ? ec_process_image(&c->memory, image, &m->image, input, placement, error)
               : ec_letterbox(&c->memory, image, m->image_size, m->fill, EC_BILINEAR, input,
                              placement, error);
}

static edgecap_status generate(edgecap_captioner *c, const edgecap_caption_params *p,
                               ec_search *search, ec_generated *g, edgecap_error *error)
{
    stream s;
    ec_model model;
    edgecap_status status = ec_session_begin(c->session, (size_t)beams_of(p), &model, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    if (!open_stream(c, p, &s)) {
        close_stream(c, &s);
        return ec_no_memory(error);
    }
    if (p->on_piece != NULL) {
        search->on_token = on_token;
        search->user = &s;
    }
    status = p->beams > 1 ? ec_beam_search(search, &model, (size_t)beams_of(p), g, error)
                          : ec_walk(search, &model, g, error);
    if (status == EDGECAP_OK && p->on_piece != NULL) {
        ec_decoder_end(&s.decoder);
        if (show(&s) != 0) {
            status = ec_fail(error, EDGECAP_STOPPED, "caption.stopped", "the callback stopped it.");
        }
    }
    close_stream(c, &s);
    return status;
}

static edgecap_status describe(edgecap_captioner *c, const edgecap_image *image,
                               const edgecap_caption_params *p, ec_search *search, ec_generated *g,
                               edgecap_caption *caption, edgecap_error *error)
{
    ec_placement placement;
    double begin, encoded;
    edgecap_status filled, status = ec_place_image(c, image, &placement, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    begin = now(c);
    status = ec_session_encode(c->session, error);
    encoded = now(c);
    if (status == EDGECAP_OK) {
        status = generate(c, p, search, g, error);
    }
    if (status != EDGECAP_OK && status != EDGECAP_STOPPED) {
        return status;
    }
    caption->encode_seconds = encoded - begin;
    caption->decode_seconds = now(c) - encoded;
    filled = ec_fill_caption(c, language_of(p), &placement, g, caption,
                             status == EDGECAP_OK ? error : NULL);
    return status == EDGECAP_STOPPED ? status : filled;
}

edgecap_status edgecap_describe(edgecap_captioner *c, const edgecap_image *image,
                                const edgecap_caption_params *params, edgecap_caption *caption,
                                edgecap_error *error)
{
    edgecap_caption_params defaults = edgecap_caption_default_params();
    const edgecap_caption_params *p = params != NULL ? params : &defaults;
    ec_search search;
    ec_sampling sampling;
    ec_generated g;
    int32_t prompt[EC_PROMPT];
    edgecap_status status;
    ec_clear(error);
    if (c == NULL || image == NULL || caption == NULL) {
        return ec_fail(error, EDGECAP_INPUT, "argument.missing",
                       "a captioner, an image and a caption are needed.");
    }
    if (c->manifest.schema == EC_SCHEMA_2) {
        return ec_describe_prompted(c, image, p, caption, error);
    }
    memset(&search, 0, sizeof search);
    memset(&g, 0, sizeof g);
    status = check_params(c, p, &search, prompt, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    if (caption->attention != NULL && !ec_session_attends(c->session)) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "attention.missing",
                       "this bundle's model has no attention output.");
    }
    if (p->sample) {
        sampling.temperature = p->temperature;
        sampling.top_k = p->top_k;
        sampling.top_p = p->top_p;
        search.sampling = &sampling;
    }
    g.tokens = ec_allocate_array(&c->memory, search.length, sizeof *g.tokens);
    if (caption->attention != NULL) {
        g.attention = ec_allocate_array(&c->memory, search.length * (size_t)c->manifest.patches,
                                        sizeof *g.attention);
    }
    status = g.tokens == NULL || (caption->attention != NULL && g.attention == NULL)
                 ? ec_no_memory(error)
                 : describe(c, image, p, &search, &g, caption, error);
    ec_release(&c->memory, g.tokens);
    ec_release(&c->memory, g.attention);
    return status;
}

/* ---- Embeddings ---- */

static edgecap_status check_embedding(const edgecap_captioner *c, const void *given,
                                      const float *embedding, size_t capacity, edgecap_error *error)
{
    ec_clear(error);
    if (c == NULL || given == NULL || embedding == NULL) {
        return ec_fail(error, EDGECAP_INPUT, "argument.missing",
                       "a captioner, something to embed and a place for it are needed.");
    }
    return capacity >= (size_t)c->manifest.embedding
               ? EDGECAP_OK
               : ec_fail(error, EDGECAP_BUFFER, "embedding.buffer", "an embedding has %ld values.",
                         (long)c->manifest.embedding);
}

edgecap_status edgecap_embed_image(edgecap_captioner *c, const edgecap_image *image,
                                   float *embedding, size_t capacity, edgecap_error *error)
{
    ec_placement placement;
    edgecap_status status = check_embedding(c, image, embedding, capacity, error);
    if (status == EDGECAP_OK) {
        status = ec_place_image(c, image, &placement, error);
    }
    if (status == EDGECAP_OK) {
        status = ec_session_encode(c->session, error);
    }
    return status == EDGECAP_OK ? ec_session_embedding(c->session, embedding, error) : status;
}

/* <text> words <eos>, padded to T. */
static edgecap_status frame(const edgecap_captioner *c, ec_arena *arena, ec_text words,
                            int32_t **tokens, size_t *length, edgecap_error *error)
{
    size_t T = (size_t)c->manifest.text_length, most, count, i;
    int32_t *ids;
    edgecap_status status;
    words = ec_strip(words);
    if (words.length == 0) {
        return ec_fail(error, EDGECAP_INPUT, "text.empty", "an empty text cannot be embedded.");
    }
    /* No token is longer than the longest, and NFC never makes a text as much as 16 times shorter.
     */
    most = 16 * T * ec_tokenizer_longest(c->tokenizer);
    count = T;
    if (words.length <= most) {
        status = ec_tokenizer_encode(c->tokenizer, arena, words, false, &ids, &count, error);
        if (status != EDGECAP_OK) {
            return status;
        }
    }
    if (count > T - 2) {
        return ec_fail(error, EDGECAP_INPUT, "text.too_long",
                       "the text has too many tokens; at most %lu fit.", (unsigned long)(T - 2));
    }
    *tokens = ec_arena_array(arena, T, sizeof **tokens);
    if (*tokens == NULL) {
        return ec_no_memory(error);
    }
    for (i = 0; i < T; i++) {
        (*tokens)[i] = i == 0           ? c->text
                       : i <= count     ? ids[i - 1]
                       : i == count + 1 ? c->eos
                                        : c->pad;
    }
    *length = count + 2;
    return EDGECAP_OK;
}

edgecap_status edgecap_embed_text(edgecap_captioner *c, const char *text, float *embedding,
                                  size_t capacity, edgecap_error *error)
{
    ec_arena arena;
    ec_text words;
    int32_t *tokens = NULL;
    size_t length = 0;
    edgecap_status status = check_embedding(c, text, embedding, capacity, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    if (c->manifest.schema == EC_SCHEMA_2) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "prompts.none",
                       "this model's tokenizer is not in C: give tokens to edgecap_embed_tokens.");
    }
    words.data = text;
    words.length = strlen(text);
    if (!ec_utf8_valid(text, words.length)) {
        return ec_fail(error, EDGECAP_INPUT, "text.utf8", "the text is not UTF-8.");
    }
    ec_arena_init(&arena, &c->memory);
    status = frame(c, &arena, words, &tokens, &length, error);
    if (status == EDGECAP_OK) {
        status = ec_session_embed_text(c->session, tokens, length, embedding, error);
    }
    ec_arena_free(&arena);
    return status;
}

edgecap_status edgecap_embed_tokens(edgecap_captioner *c, const int32_t *tokens, size_t count,
                                    float *embedding, size_t capacity, edgecap_error *error)
{
    edgecap_status status = check_embedding(c, tokens, embedding, capacity, error);
    int32_t *padded;
    size_t most, i;
    if (status != EDGECAP_OK) {
        return status;
    }
    most = (size_t)c->manifest.text_length;
    if (most == 0) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "embedding.missing",
                       "this bundle's model makes no embeddings of texts.");
    }
    if (count < 1 || count > most) {
        return ec_fail(error, EDGECAP_INPUT, "text.too_long",
                       "a text makes %lu tokens; 1 to %lu are possible.", (unsigned long)count,
                       (unsigned long)most);
    }
    padded = ec_allocate_array(&c->memory, most, sizeof *padded);
    for (i = 0; padded != NULL && i < most; i++) {
        padded[i] = i < count ? tokens[i] : c->pad;
    }
    status = padded != NULL ? ec_session_embed_text(c->session, padded, count, embedding, error)
                            : ec_no_memory(error);
    ec_release(&c->memory, padded);
    return status;
}
