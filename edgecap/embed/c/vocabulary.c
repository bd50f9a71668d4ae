/* vocabulary.c: a bundle's codec, tokenizer and prompts; see captioner.h. */
#include "captioner.h"
#include "upgrade.h"

static edgecap_status read_tokenizer(edgecap_captioner *c, edgecap_error *error)
{
    const char *name = c->manifest.encoder;
    char *data;
    size_t length;
    edgecap_status status =
        ec_read_file(&c->memory, &c->source, name, EC_JSON_MOST_BYTES, &data, &length, error);
    if (status == EDGECAP_OK) {
        status = ec_tokenizer_read(&c->arena, data, length, name, &c->tokenizer, error);
        ec_release(&c->memory, data);
    }
    if (status == EDGECAP_OK && ec_tokenizer_size(c->tokenizer) > c->manifest.vocabulary) {
        status = ec_fail(error, EDGECAP_BUNDLE, "tokenizer.size",
                         "the tokenizer has %ld tokens and the model %ld.",
                         (long)ec_tokenizer_size(c->tokenizer), (long)c->manifest.vocabulary);
    }
    return status;
}

static edgecap_status read_codec(edgecap_captioner *c, edgecap_error *error)
{
    const char *name = c->manifest.tokenizer;
    char *data;
    size_t length;
    edgecap_status status =
        ec_read_file(&c->memory, &c->source, name, EC_CODEC_MOST_BYTES, &data, &length, error);
    if (status == EDGECAP_OK) {
        status = ec_codec_read(&c->arena, data, length, name, &c->codec, error);
        ec_release(&c->memory, data);
    }
    return status;
}

static edgecap_status name_prompts(edgecap_captioner *c, edgecap_error *error)
{
    const ec_manifest *m = &c->manifest;
    size_t i;
    c->prompts = ec_arena_array(&c->arena, m->prompt_count, sizeof *c->prompts);
    if (c->prompts == NULL) {
        return ec_no_memory(error);
    }
    for (i = 0; i < m->prompt_count; i++) {
        c->prompts[i] = m->prompts[i].name;
    }
    return EDGECAP_OK;
}

edgecap_status ec_open_vocabulary(edgecap_captioner *c, edgecap_error *error)
{
    ec_manifest *m = &c->manifest;
    edgecap_status status = EDGECAP_OK;
    if (!m->captions) {
        return EDGECAP_OK;
    }
    if (m->language_count > 0) {
        status = read_tokenizer(c, error);
    } else {
        status = name_prompts(c, error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    if (m->to_upgrade == NULL) {
        return read_codec(c, error);
    }
    status = ec_tokenizer_codec(c->tokenizer, &c->arena, &c->codec, error);
    return status == EDGECAP_OK ? ec_upgrade(&c->arena, c->tokenizer, m, error) : status;
}
