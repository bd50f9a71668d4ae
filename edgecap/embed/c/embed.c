/* embed.c: embeddings of images and texts; see edgecap.h. */
#include <string.h>

#include "captioner.h"
#include "unicode.h"

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
    double seconds;
    edgecap_status status = check_embedding(c, image, embedding, capacity, error);
    if (status == EDGECAP_OK) {
        status = ec_encode_image(c, image, &placement, &seconds, error);
    }
    return status == EDGECAP_OK ? ec_session_embedding(c->session, embedding, error) : status;
}

/* A text's ids within their frame, padded to N. */
static edgecap_status frame(const edgecap_captioner *c, ec_arena *arena, ec_text words,
                            int32_t **tokens, size_t *length, edgecap_error *error)
{
    const ec_text_frame *around = c->manifest.texts;
    size_t N = (size_t)c->manifest.text_tokens, extra = around->begin.count + around->end.count;
    size_t room = N > extra ? N - extra : 0, most, count = room + 1, i;
    int32_t *ids = NULL, *out;
    words = ec_strip(words);
    if (words.length == 0) {
        return ec_fail(error, EDGECAP_INPUT, "text.empty", "an empty text cannot be embedded.");
    }
    /* No token is longer than the longest, and NFC never makes a text as much as 16 times shorter.
     */
    most = 16 * N * ec_tokenizer_longest(c->tokenizer);
    if (words.length <= most) {
        edgecap_status status =
            ec_tokenizer_encode(c->tokenizer, arena, words, false, &ids, &count, error);
        if (status != EDGECAP_OK) {
            return status;
        }
    }
    if (count > room) {
        return ec_fail(error, EDGECAP_INPUT, "text.too_long",
                       "the text has too many tokens; at most %lu fit.", (unsigned long)room);
    }
    *tokens = out = ec_arena_array(arena, N, sizeof *out);
    if (out == NULL) {
        return ec_no_memory(error);
    }
    *length = extra + count;
    for (i = 0; i < N; i++) {
        out[i] = around->pad;
    }
    memcpy(out, around->begin.ids, around->begin.count * sizeof *out);
    memcpy(out + around->begin.count, ids, count * sizeof *out);
    memcpy(out + around->begin.count + count, around->end.ids, around->end.count * sizeof *out);
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
    if (c->tokenizer == NULL || c->manifest.texts == NULL) {
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
    int32_t *padded, pad;
    size_t most, i;
    if (status != EDGECAP_OK) {
        return status;
    }
    most = (size_t)c->manifest.text_tokens;
    pad = c->manifest.texts != NULL ? c->manifest.texts->pad : 0;
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
        padded[i] = i < count ? tokens[i] : pad;
    }
    status = padded != NULL ? ec_session_embed_text(c->session, padded, count, embedding, error)
                            : ec_no_memory(error);
    ec_release(&c->memory, padded);
    return status;
}
