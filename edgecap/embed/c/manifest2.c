/* manifest2.c: a manifest of schema 2; see manifest.h and edgecap/bundle/schema2.py. */
#include <string.h>

#include "manifest.h"

static void bad(ec_fields *f, const char *what)
{
    ec_refuse(f, "bundle.manifest", "%s", what);
}

static void read_model(ec_fields *f, const ec_json *model)
{
    static const char *const fields[] = {"family", "source", "license", "weights", NULL};
    if (model == NULL || !ec_check_fields(f, model, "model", fields, 1)) {
        return;
    }
    ec_string(f, model, "family");
    ec_string(f, model, "source");
    ec_string(f, model, "license");
    if (!ec_is_null(model, "weights") && !ec_is_hash(ec_string(f, model, "weights"))) {
        bad(f, "model.weights must be null or a SHA-256");
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
    m->prompts = prompts != NULL ? ec_field_array(f, prompts->count + 1, sizeof *m->prompts) : NULL;
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
    read_listed(f, root, "encoder", m);
    if (m->captions && f->status == EDGECAP_OK) {
        read_prompts(f, prompts, m);
    }
    if (!ec_is_null(root, "regions") && f->status == EDGECAP_OK) {
        ec_read_regions_spec(f, ec_json_get(root, "regions"), m->captions ? m->vocabulary : 0,
                             &m->regions);
    }
}

/* encode's image is [1,h,w,3]; its h and w must be what image processing gives. */
static void check_input(ec_fields *f, const ec_manifest *m)
{
    size_t h = (size_t)ec_input_height(&m->image), w = (size_t)ec_input_width(&m->image);
    if (f->status == EDGECAP_OK && (m->input_height != h || m->input_width != w)) {
        bad(f, "image gives another size than encode takes");
    }
}

static void check_listed(ec_fields *f, const ec_manifest *m)
{
    size_t i;
    for (i = 0; i < m->function_count && f->status == EDGECAP_OK; i++) {
        if (!ec_is_listed(m, m->functions[i].file)) {
            ec_refuse(f, "bundle.missing_file", "%.60s of %s is not listed", m->functions[i].file,
                      m->functions[i].name);
        }
    }
}

void ec_read_schema2(ec_fields *f, const ec_json *root, ec_manifest *m)
{
    static const char *const fields[] = {"schema",    "name",      "model",     "format",
                                         "precision", "interface", "functions", "image",
                                         "tokenizer", "encoder",   "prompts",   "regions",
                                         "plan",      "tools",     "files",     NULL};
    m->schema = EC_SCHEMA_2;
    if (!ec_check_fields(f, root, "manifest", fields, 0) ||
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
    if (f->status == EDGECAP_OK) {
        ec_check_files(f, m);
    }
    ec_read_interface(f, ec_inner(f, root, "interface", EC_JSON_OBJECT),
                      ec_inner(f, root, "functions", EC_JSON_OBJECT), m);
    ec_read_image_spec(f, ec_inner(f, root, "image", EC_JSON_OBJECT), &m->image);
    check_listed(f, m);
    if (f->status == EDGECAP_OK) {
        read_text(f, root, m);
    }
    check_input(f, m);
    m->tokenizer = m->tokenizer != NULL ? m->tokenizer : "";
    m->image_size = ec_input_width(&m->image);
}
