/* upgrade.c: see upgrade.h. */
#include "upgrade.h"

#include <string.h>

enum { PROMPT = 2 }; /* <language> <style> */

static int32_t id_of(ec_fields *f, const ec_tokenizer *tokenizer, const char *token)
{
    int32_t id = 0;
    if (f->status == EDGECAP_OK) {
        f->status = ec_tokenizer_id(tokenizer, token, &id, f->error);
    }
    return id;
}

static ec_ids one_id(ec_fields *f, int32_t id)
{
    ec_ids made;
    made.ids = ec_field_array(f, 1, sizeof *made.ids);
    made.count = made.ids != NULL;
    if (made.ids != NULL) {
        made.ids[0] = id;
    }
    return made;
}

static void make_prompt(ec_fields *f, const ec_tokenizer *t, const ec_manifest *m,
                        const char *language, const char *style, ec_ids eos, ec_prompt *prompt)
{
    ec_generation *how = &prompt->how;
    int32_t *begin = ec_field_array(f, PROMPT, sizeof *begin);
    prompt->name = ec_join(f, language, ".", style);
    if (begin != NULL) {
        begin[0] = id_of(f, t, ec_join(f, "<", language, ">"));
        begin[1] = id_of(f, t, ec_join(f, "<", style, ">"));
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

static void make_prompts(ec_fields *f, const ec_tokenizer *t, ec_manifest *m, ec_ids eos)
{
    size_t l, s;
    m->prompts = ec_field_array(f, m->language_count * m->style_count, sizeof *m->prompts);
    for (l = 0; m->prompts != NULL && l < m->language_count; l++) {
        for (s = 0; s < m->style_count; s++) {
            ec_prompt *prompt = &m->prompts[m->prompt_count++];
            make_prompt(f, t, m, m->languages[l], m->styles[s], eos, prompt);
        }
    }
}

static void make_texts(ec_fields *f, const ec_tokenizer *t, ec_manifest *m, ec_ids eos)
{
    ec_text_frame *texts = ec_field_array(f, 1, sizeof *texts);
    if (texts != NULL) {
        texts->begin = one_id(f, id_of(f, t, m->to_upgrade->text));
        texts->end = eos;
        texts->pad = id_of(f, t, m->to_upgrade->pad);
        m->texts = texts;
    }
}

static void check(ec_fields *f, const ec_tokenizer *t, const ec_manifest *m)
{
    if (f->status != EDGECAP_OK) {
        return;
    }
    if (m->regions.count > ec_tokenizer_size(t) - m->regions.first) {
        f->status = ec_fail(f->error, EDGECAP_BUNDLE, "tokenizer.token",
                            "there are fewer than %ld locations.", (long)m->regions.count);
    } else if (m->text_rows <= PROMPT) {
        f->status = ec_fail(f->error, EDGECAP_BUNDLE, "bundle.manifest",
                            "contract.text_length leaves no room for a caption.");
    }
}

edgecap_status ec_upgrade(ec_arena *arena, const ec_tokenizer *t, ec_manifest *m,
                          edgecap_error *error)
{
    ec_fields f = ec_fields_of(arena, "manifest.json", error);
    ec_ids eos;
    m->regions.first = id_of(&f, t, m->to_upgrade->first_location);
    check(&f, t, m);
    eos = one_id(&f, id_of(&f, t, m->to_upgrade->eos));
    make_prompts(&f, t, m, eos);
    make_texts(&f, t, m, eos);
    return f.status;
}
