/* manifest.c: a manifest's fields; see manifest.h and edgecap/bundle/schema2.py. */
#include "manifest.h"

#include <string.h>

static void bad(ec_fields *f, const char *what)
{
    ec_refuse(f, "bundle.manifest", "%s", what);
}

static void read_model(ec_fields *f, const ec_json *model)
{
    static const char *const fields[] = {"family", "source", "license", "weights", NULL};
    if (model != NULL && ec_check_fields(f, model, "model", fields, 1)) {
        ec_string(f, model, "family");
        ec_string(f, model, "source");
        ec_string(f, model, "license");
        ec_check_weights(f, model, "bundle.manifest");
    }
}

/* A listed file's name, or null. */
static const char *read_listed(ec_fields *f, const ec_json *root, const char *name,
                               const ec_manifest *m)
{
    const char *file;
    if (ec_is_null(root, name)) {
        return NULL;
    }
    file = ec_string(f, root, name);
    if (f->status == EDGECAP_OK && ec_manifest_file(m, file) == NULL) {
        ec_refuse(f, "bundle.missing_file", "%.100s is not listed", file);
    }
    return file;
}

static void read_prompts(ec_fields *f, const ec_json *prompts, ec_manifest *m)
{
    const ec_json *item;
    m->prompts = ec_field_array(f, prompts->count + 1, sizeof *m->prompts);
    for (item = m->prompts != NULL ? prompts->first : NULL; item != NULL; item = item->next) {
        ec_prompt *prompt = &m->prompts[m->prompt_count];
        prompt->name = ec_arena_text(f->arena, item->key.data, item->key.length);
        if (prompt->name == NULL) {
            f->status = ec_no_memory(f->error);
            return;
        }
        ec_read_generation(f, item, prompt->name, m->vocabulary, &prompt->how);
        if (f->status != EDGECAP_OK) {
            return;
        }
        if ((int64_t)prompt->how.begin.count + prompt->how.max_new_tokens - 1 > m->text_rows) {
            ec_refuse(f, "bundle.manifest", "prompts.%.60s needs more than the %ld text rows",
                      prompt->name, (long)m->text_rows);
        }
        m->prompt_count++;
    }
}

/* ---- Languages ---- */

void ec_read_grammar(ec_fields *f, const ec_json *table, ec_manifest *m)
{
    enum { END_ID = 1 }; /* of the end in every bundle with a grammar */
    ec_grammar *grammar = table != NULL ? ec_field_array(f, 1, sizeof *grammar) : NULL;
    if (grammar != NULL) {
        ec_grammar_read(f, table, m->vocabulary, END_ID, grammar);
        m->grammar = grammar;
    }
}

/* Each language and style must have its prompt, and there must be no other. */
static void check_languages(ec_fields *f, const ec_manifest *m)
{
    size_t l, s;
    if ((m->language_count > 0) != (m->style_count > 0)) {
        bad(f, "languages and styles go together");
    } else if (m->language_count > 0 && m->prompt_count != m->language_count * m->style_count) {
        bad(f, "there must be a prompt for each language and style, and no other");
    }
    for (l = 0; l < m->language_count && f->status == EDGECAP_OK; l++) {
        for (s = 0; s < m->style_count; s++) {
            if (ec_manifest_prompt(m, m->languages[l], m->styles[s]) == NULL) {
                bad(f, "there must be a prompt for each language and style, and no other");
            }
        }
    }
}

static void read_languages(ec_fields *f, const ec_json *root, ec_manifest *m)
{
    ec_text_frame *texts;
    if (ec_json_get(root, "languages") != NULL) {
        m->languages = ec_strings(f, root, "languages", &m->language_count);
    }
    if (ec_json_get(root, "styles") != NULL) {
        m->styles = ec_strings(f, root, "styles", &m->style_count);
    }
    if (!ec_is_null(root, "texts")) {
        m->texts = texts = ec_field_array(f, 1, sizeof *texts);
        if (texts != NULL) {
            ec_read_text_frame(f, ec_json_get(root, "texts"), texts);
        }
    }
    if (!ec_is_null(root, "grammar") && m->captions) {
        ec_read_grammar(f, ec_inner(f, root, "grammar", EC_JSON_OBJECT), m);
    }
    if (m->captions && f->status == EDGECAP_OK) {
        check_languages(f, m);
    }
    if (m->encoder == NULL) { /* their rules need a tokenizer: the prompts have names */
        m->language_count = m->style_count = 0;
    }
}

/* ---- The whole ---- */

static void read_text(ec_fields *f, const ec_json *root, ec_manifest *m)
{
    const ec_json *prompts = ec_inner(f, root, "prompts", EC_JSON_OBJECT);
    if (prompts == NULL) {
        return;
    }
    if (m->captions != !ec_is_null(root, "tokenizer") || m->captions != (prompts->count > 0)) {
        bad(f, "a model with decode needs a tokenizer and prompts, and no other may have them");
    }
    m->tokenizer = read_listed(f, root, "tokenizer", m);
    m->encoder = read_listed(f, root, "encoder", m);
    if (m->captions && f->status == EDGECAP_OK) {
        read_prompts(f, prompts, m);
    }
    if (!ec_is_null(root, "regions") && f->status == EDGECAP_OK) {
        ec_read_regions_spec(f, ec_json_get(root, "regions"), m->captions ? m->vocabulary : 0,
                             &m->regions);
    }
    if (f->status == EDGECAP_OK) {
        read_languages(f, root, m);
    }
}

static void check_crops(ec_fields *f, const ec_manifest *m)
{
    int64_t most = ec_most_crops(&m->image);
    if ((most > 1) != (m->crops > 0)) {
        bad(f, "a model has encode_crop if its image is split into crops, and only then");
    } else if (most > 1 && most != m->crops) {
        bad(f, "image makes another number of crops than dims.n");
    }
}

static void read_schema2(ec_fields *f, const ec_json *root, ec_manifest *m)
{
    static const char *const fields[] = {
        "schema", "name",      "model",   "format",  "precision", "interface", "functions",
        "image",  "tokenizer", "encoder", "prompts", "regions",   "plan",      "tools",
        "files",  "languages", "styles",  "grammar", "texts",     NULL};
    size_t input[2] = {0, 0};
    if (!ec_check_fields(f, root, "manifest", fields, 4) ||
        !ec_is_kind(f, ec_json_get(root, "schema"), EC_JSON_WHOLE, "schema")) {
        return;
    }
    m->name = ec_string(f, root, "name");
    read_model(f, ec_inner(f, root, "model", EC_JSON_OBJECT));
    m->format = ec_string(f, root, "format");
    m->precision = ec_string(f, root, "precision");
    ec_inner(f, root, "plan", EC_JSON_OBJECT);
    ec_read_tools(f, ec_inner(f, root, "tools", EC_JSON_OBJECT));
    ec_read_files(f, ec_inner(f, root, "files", EC_JSON_OBJECT), m);
    ec_read_interface(f, ec_inner(f, root, "interface", EC_JSON_OBJECT),
                      ec_inner(f, root, "functions", EC_JSON_OBJECT), m, input);
    ec_read_image_spec(f, ec_inner(f, root, "image", EC_JSON_OBJECT), &m->image);
    ec_check_listed(f, m);
    if (f->status == EDGECAP_OK) {
        read_text(f, root, m);
    }
    if (f->status == EDGECAP_OK && (input[0] != (size_t)ec_input_height(&m->image) ||
                                    input[1] != (size_t)ec_input_width(&m->image))) {
        bad(f, "image gives another size than encode takes");
    }
    if (f->status == EDGECAP_OK) {
        check_crops(f, m);
    }
}

static void read_all(ec_fields *f, const ec_json *root, ec_manifest *m)
{
    const ec_json *schema = ec_json_get(root, "schema");
    bool one = schema != NULL && schema->kind == EC_JSON_TRUE; /* as in Python */
    if (schema != NULL && !one && schema->number == 2) {
        read_schema2(f, root, m);
    } else if (schema != NULL && (one || schema->number == 1)) {
        ec_read_schema1(f, root, m);
    } else {
        ec_refuse(f, "bundle.schema",
                  "this edgecap reads schemas 1 and 2: export the bundle again");
    }
}

edgecap_status ec_manifest_read(ec_arena *arena, const char *data, size_t length,
                                ec_manifest *manifest, edgecap_error *error)
{
    ec_fields f = ec_fields_of(arena, "manifest.json", error);
    ec_arena scratch;
    const ec_json *root = NULL;
    memset(manifest, 0, sizeof *manifest);
    ec_arena_init(&scratch, &arena->memory);
    f.status = ec_json_parse(&scratch, data, length, f.file, &root, error);
    if (f.status == EDGECAP_OK) {
        read_all(&f, root, manifest);
    }
    ec_arena_free(&scratch);
    return f.status;
}

/* ---- Looking things up ---- */

const ec_function *ec_manifest_function(const ec_manifest *manifest, const char *name)
{
    size_t i;
    for (i = 0; i < manifest->function_count; i++) {
        if (strcmp(manifest->functions[i].name, name) == 0) {
            return &manifest->functions[i];
        }
    }
    return NULL;
}

const ec_file *ec_manifest_file(const ec_manifest *manifest, const char *name)
{
    size_t i;
    for (i = 0; i < manifest->file_count; i++) {
        if (strcmp(manifest->files[i].name, name) == 0) {
            return &manifest->files[i];
        }
    }
    return NULL;
}

const ec_generation *ec_manifest_prompt(const ec_manifest *m, const char *language,
                                        const char *style)
{
    size_t length = strlen(language), i;
    for (i = 0; i < m->prompt_count; i++) {
        const char *name = m->prompts[i].name;
        if (strncmp(name, language, length) == 0 && name[length] == '.' &&
            strcmp(name + length + 1, style) == 0) {
            return &m->prompts[i].how;
        }
    }
    return NULL;
}
