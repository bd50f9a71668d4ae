/* upgrade.c: see upgrade.h. */
#include "upgrade.h"

#include <string.h>

enum { PROMPT = 2 }; /* <language> <style> */

typedef struct upgrading { /* the first error stays */
    ec_arena *arena;
    const ec_tokenizer *tokenizer;
    edgecap_status status;
    edgecap_error *error;
} upgrading;

static int32_t id_of(upgrading *u, const char *token)
{
    int32_t id = 0;
    if (u->status == EDGECAP_OK) {
        u->status = ec_tokenizer_id(u->tokenizer, token, &id, u->error);
    }
    return id;
}

static void *take(upgrading *u, size_t count, size_t size)
{
    void *block = u->status == EDGECAP_OK ? ec_arena_array(u->arena, count, size) : NULL;
    if (block == NULL && u->status == EDGECAP_OK) {
        u->status = ec_no_memory(u->error);
    }
    return block;
}

/* Texts one after the other; "" where memory ran out. */
static const char *joined(upgrading *u, const char *a, const char *b, const char *c)
{
    char *text = take(u, strlen(a) + strlen(b) + strlen(c) + 1, 1);
    if (text == NULL) {
        return "";
    }
    strcpy(text, a);
    strcpy(text + strlen(a), b);
    strcpy(text + strlen(a) + strlen(b), c);
    return text;
}

static ec_ids one_id(upgrading *u, int32_t id)
{
    ec_ids made;
    made.ids = take(u, 1, sizeof *made.ids);
    made.count = made.ids != NULL;
    if (made.ids != NULL) {
        made.ids[0] = id;
    }
    return made;
}

static void make_prompt(upgrading *u, const ec_manifest *m, const char *language,
                        const char *style, ec_ids eos, ec_prompt *prompt)
{
    ec_generation *how = &prompt->how;
    int32_t *begin = take(u, PROMPT, sizeof *begin);
    prompt->name = joined(u, language, ".", style);
    if (begin != NULL) {
        begin[0] = id_of(u, joined(u, "<", language, ">"));
        begin[1] = id_of(u, joined(u, "<", style, ">"));
    }
    memset(how, 0, sizeof *how);
    how->begin.ids = begin;
    how->begin.count = PROMPT;
    how->eos = eos;
    how->max_new_tokens = m->text_rows - PROMPT;
    how->beams = 1;
    how->forced_first = -1;
    how->length_penalty = how->repetition_penalty = 1;
    how->early_stopping = EC_ENDED;
}

static void make_prompts(upgrading *u, ec_manifest *m, ec_ids eos)
{
    size_t l, s;
    m->prompts = take(u, m->language_count * m->style_count, sizeof *m->prompts);
    for (l = 0; m->prompts != NULL && l < m->language_count; l++) {
        for (s = 0; s < m->style_count; s++) {
            make_prompt(u, m, m->languages[l], m->styles[s], eos, &m->prompts[m->prompt_count++]);
        }
    }
}

static void make_texts(upgrading *u, ec_manifest *m, ec_ids eos)
{
    ec_text_frame *texts = take(u, 1, sizeof *texts);
    if (texts != NULL) {
        texts->begin = one_id(u, id_of(u, m->to_upgrade->text));
        texts->end = eos;
        texts->pad = id_of(u, m->to_upgrade->pad);
        m->texts = texts;
    }
}

static void check(upgrading *u, const ec_manifest *m)
{
    int32_t known = ec_tokenizer_size(u->tokenizer);
    if (u->status != EDGECAP_OK) {
        return;
    }
    if (known > m->vocabulary) {
        u->status = ec_fail(u->error, EDGECAP_BUNDLE, "tokenizer.size",
                            "the tokenizer has %ld tokens and the model %ld.", (long)known,
                            (long)m->vocabulary);
    } else if (m->regions.count > known - m->regions.first) {
        u->status = ec_fail(u->error, EDGECAP_BUNDLE, "tokenizer.token",
                            "there are fewer than %ld locations.", (long)m->regions.count);
    } else if (m->text_rows <= PROMPT) {
        u->status = ec_fail(u->error, EDGECAP_BUNDLE, "bundle.manifest",
                            "contract.text_length leaves no room for a caption.");
    }
}

edgecap_status ec_upgrade(ec_arena *arena, const ec_tokenizer *tokenizer, ec_manifest *m,
                          edgecap_error *error)
{
    upgrading u;
    ec_ids eos;
    u.arena = arena;
    u.tokenizer = tokenizer;
    u.error = error;
    u.status = EDGECAP_OK;
    m->regions.first = id_of(&u, m->to_upgrade->first_location);
    check(&u, m);
    eos = one_id(&u, id_of(&u, m->to_upgrade->eos));
    make_prompts(&u, m, eos);
    make_texts(&u, m, eos);
    return u.status;
}
