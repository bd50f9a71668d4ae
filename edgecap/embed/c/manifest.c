/* manifest.c: a manifest's fields; see manifest.h. What they must be is in manifest_check.c. */
#include "manifest.h"

#include <string.h>

enum { END_ID = 1 }; /* the end's id, which schema 1 fixes */

static int32_t small(ec_fields *f, const ec_json *object, const char *name)
{
    int64_t value = ec_whole(f, object, name);
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

static ec_port *read_ports(ec_fields *f, const ec_json *object, const char *name, size_t *count)
{
    const ec_json *ports = ec_inner(f, object, name, EC_JSON_OBJECT), *item;
    ec_port *read = ports != NULL ? ec_field_array(f, ports->count, sizeof *read) : NULL;
    *count = 0;
    for (item = read != NULL ? ports->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_TEXT, name)) {
            break;
        }
        read[*count].name = ec_arena_text(f->arena, item->key.data, item->key.length);
        read[*count].target = ec_arena_text(f->arena, item->text.data, item->text.length);
        if (read[*count].name == NULL || read[*count].target == NULL) {
            f->status = ec_no_memory(f->error);
            break;
        }
        ++*count;
    }
    return read;
}

void ec_read_functions(ec_fields *f, const ec_json *list, ec_manifest *m)
{
    static const char *const fields[] = {"file", "entry", "inputs", "outputs", NULL};
    const ec_json *item;
    m->functions = ec_field_array(f, list->count, sizeof *m->functions);
    for (item = list->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        ec_function *function = &m->functions[m->function_count++];
        function->name = ec_arena_text(f->arena, item->key.data, item->key.length);
        if (function->name == NULL) {
            f->status = ec_no_memory(f->error);
            return;
        }
        if (ec_check_fields(f, item, function->name, fields, 0)) {
            function->file = ec_string(f, item, "file");
            function->entry = ec_string(f, item, "entry");
            function->inputs = read_ports(f, item, "inputs", &function->input_count);
            function->outputs = read_ports(f, item, "outputs", &function->output_count);
        }
    }
}

static void read_contract(ec_fields *f, const ec_json *contract, ec_manifest *m)
{
    static const char *const fields[] = {"layers",      "heads",      "head_width", "patches",
                                         "text_length", "vocabulary", "embedding",  "cache",
                                         "batch",       "functions",  NULL};
    const char *cache;
    const ec_json *functions, *batch;
    if (contract == NULL || !ec_check_fields(f, contract, "contract", fields, 0)) {
        return;
    }
    m->layers = small(f, contract, "layers");
    m->heads = small(f, contract, "heads");
    m->head_width = small(f, contract, "head_width");
    m->patches = small(f, contract, "patches");
    m->text_length = small(f, contract, "text_length");
    m->vocabulary = small(f, contract, "vocabulary");
    m->embedding = small(f, contract, "embedding");
    cache = ec_string(f, contract, "cache");
    m->cache_width = strcmp(cache, "float32") == 0 ? 4 : strcmp(cache, "float16") == 0 ? 2 : 0;
    batch = ec_json_get(contract, "batch");
    if (f->status == EDGECAP_OK && batch->kind != EC_JSON_NULL &&
        ec_whole(f, contract, "batch") != 1) {
        ec_refuse(f, "bundle.manifest", "contract.batch must be null (any) or 1");
    }
    functions = ec_inner(f, contract, "functions", EC_JSON_OBJECT);
    if (functions != NULL) {
        ec_read_functions(f, functions, m);
    }
}

static bool is_text(ec_fields *f, const ec_json *object, const char *name, const char *wanted)
{
    return strcmp(ec_string(f, object, name), wanted) == 0;
}

static void read_preprocessing(ec_fields *f, const ec_json *object, ec_manifest *m)
{
    static const char *const fields[] = {"size", "fit",      "resample", "anchor",
                                         "fill", "channels", NULL};
    int32_t fill;
    bool known;
    if (object == NULL || !ec_check_fields(f, object, "preprocessing", fields, 0)) {
        return;
    }
    m->image_size = small(f, object, "size");
    known = is_text(f, object, "fit", "contain");
    known = is_text(f, object, "resample", "bilinear") && known;
    known = is_text(f, object, "anchor", "centre") && known;
    fill = small(f, object, "fill");
    known = is_text(f, object, "channels", "RGB") && known;
    if (!known) {
        ec_refuse(f, "bundle.manifest", "preprocessing is not one this edgecap knows");
    }
    if (m->image_size < 1 || m->image_size > 4096 || fill < 0 || fill > 255) {
        ec_refuse(f, "bundle.manifest", "preprocessing.size must be 1-4096 and fill 0-255");
    }
    m->fill = (uint8_t)fill;
}

static const char *read_tokenizer(ec_fields *f, const ec_json *object, ec_manifest *m)
{
    static const char *const fields[] = {"file", "sha256", "pad", "eos", "text", NULL};
    if (object == NULL || !ec_check_fields(f, object, "tokenizer", fields, 0)) {
        return "";
    }
    m->tokenizer = ec_string(f, object, "file");
    m->pad = ec_string(f, object, "pad");
    m->eos = ec_string(f, object, "eos");
    m->text = ec_string(f, object, "text");
    return ec_string(f, object, "sha256");
}

static void read_coordinates(ec_fields *f, const ec_json *object, ec_manifest *m)
{
    static const char *const fields[] = {"order", "bins", "bin_px", "first", NULL};
    bool known;
    if (object == NULL || !ec_check_fields(f, object, "coordinates", fields, 0)) {
        return;
    }
    known = is_text(f, object, "order", "x0y0x1y1");
    m->bins = small(f, object, "bins");
    m->bin_px = small(f, object, "bin_px");
    m->first_location = ec_string(f, object, "first");
    if (!known || m->bins < 2 || m->bin_px < 1) {
        ec_refuse(f, "bundle.manifest", "coordinates with %ld bins are not known", (long)m->bins);
    }
}

void ec_read_files(ec_fields *f, const ec_json *object, ec_manifest *m)
{
    static const char *const fields[] = {"sha256", "size", NULL};
    const ec_json *item;
    m->files = object != NULL ? ec_field_array(f, object->count, sizeof *m->files) : NULL;
    for (item = m->files != NULL ? object->first : NULL; item != NULL && f->status == EDGECAP_OK;
         item = item->next) {
        ec_file *file = &m->files[m->file_count++];
        file->name = ec_arena_text(f->arena, item->key.data, item->key.length);
        if (file->name == NULL) {
            f->status = ec_no_memory(f->error);
        } else if (strlen(file->name) != item->key.length) {
            ec_refuse(f, "bundle.path", "a name of a file holds a null byte");
        } else if (ec_check_fields(f, item, file->name, fields, 0)) {
            file->sha256 = ec_string(f, item, "sha256");
            file->size = ec_whole(f, item, "size");
        }
    }
}

void ec_read_tools(ec_fields *f, const ec_json *tools)
{
    const ec_json *item;
    for (item = tools != NULL ? tools->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_TEXT, "tools")) {
            return;
        }
    }
}

/* The cache of schema 1 as state: k and v [L,1,H,P+T,Dh], the image's rows first. */
static void make_state(ec_fields *f, ec_manifest *m)
{
    static const char *const names[][3] = {{"k", "k", "k_new"}, {"v", "v", "v_new"}};
    size_t i;
    m->encode = "encode_image";
    m->state = ec_field_array(f, 2, sizeof *m->state);
    for (i = 0; m->state != NULL && i < 2; i++) {
        ec_entry *entry = &m->state[m->state_count++];
        entry->input = names[i][0];
        entry->from_image = names[i][1];
        entry->from_step = names[i][2];
        entry->role = EC_IMAGE | EC_TEXT;
        entry->groups = (size_t)m->layers * (size_t)m->heads;
        entry->rows = (size_t)m->patches + (size_t)m->text_length;
        entry->image_rows = entry->first_text = (size_t)m->patches;
        entry->row_bytes = (size_t)m->head_width * m->cache_width;
        entry->width = m->cache_width;
    }
}

bool ec_is_hash(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static void check_weights(ec_fields *f, const ec_json *root)
{
    const ec_json *weights = ec_json_get(root, "weights");
    if (weights != NULL && weights->kind != EC_JSON_NULL) {
        if (!ec_is_hash(ec_string(f, root, "weights"))) {
            ec_refuse(f, "bundle.manifest", "weights must be null or a SHA-256");
        }
    }
}

static void read_all(ec_fields *f, const ec_json *root, ec_manifest *m)
{
    static const char *const fields[] = {
        "schema",        "name",      "model",     "format", "precision",   "contract",
        "preprocessing", "tokenizer", "languages", "styles", "coordinates", "grammar",
        "plan",          "tools",     "license",   "files",  "weights",     NULL};
    const ec_json *schema = ec_json_get(root, "schema"), *grammar;
    const ec_file *tokenizer;
    const char *hash;
    if (schema != NULL && schema->kind != EC_JSON_TRUE && schema->number == EC_SCHEMA_2) {
        ec_read_schema2(f, root, m);
        return;
    }
    if (schema == NULL || !(schema->kind == EC_JSON_TRUE || schema->number == EC_SCHEMA)) {
        ec_refuse(f, "bundle.schema",
                  "this edgecap reads schemas 1 and 2: export the bundle again");
        return;
    }
    if (!ec_check_fields(f, root, "manifest", fields, 1) ||
        !ec_is_kind(f, schema, EC_JSON_WHOLE, "schema")) {
        return;
    }
    m->schema = EC_SCHEMA;
    m->captions = true;
    m->name = ec_string(f, root, "name");
    ec_string(f, root, "model");
    m->format = ec_string(f, root, "format");
    m->precision = ec_string(f, root, "precision");
    read_contract(f, ec_inner(f, root, "contract", EC_JSON_OBJECT), m);
    read_preprocessing(f, ec_inner(f, root, "preprocessing", EC_JSON_OBJECT), m);
    hash = read_tokenizer(f, ec_inner(f, root, "tokenizer", EC_JSON_OBJECT), m);
    m->languages = ec_strings(f, root, "languages", &m->language_count);
    m->styles = ec_strings(f, root, "styles", &m->style_count);
    read_coordinates(f, ec_inner(f, root, "coordinates", EC_JSON_OBJECT), m);
    ec_inner(f, root, "plan", EC_JSON_OBJECT);
    ec_read_tools(f, ec_inner(f, root, "tools", EC_JSON_OBJECT));
    ec_string(f, root, "license");
    ec_read_files(f, ec_inner(f, root, "files", EC_JSON_OBJECT), m);
    check_weights(f, root);
    ec_manifest_check(f, m);
    grammar = ec_inner(f, root, "grammar", EC_JSON_OBJECT);
    if (grammar != NULL) {
        ec_grammar_read(f, grammar, m->vocabulary, END_ID, &m->grammar);
    }
    tokenizer = f->status == EDGECAP_OK ? ec_manifest_file(m, m->tokenizer) : NULL;
    if (f->status == EDGECAP_OK && (m->language_count == 0 || m->style_count == 0)) {
        ec_refuse(f, "bundle.manifest", "languages and styles must not be empty");
    } else if (tokenizer == NULL) {
        ec_refuse(f, "bundle.missing_file", "%.100s is not listed", m->tokenizer);
    } else if (strcmp(tokenizer->sha256, hash) != 0) {
        ec_refuse(f, "bundle.manifest", "tokenizer.sha256 is not that of the tokenizer file");
    }
    make_state(f, m);
    m->text_rows = m->text_length;
}

edgecap_status ec_manifest_read(ec_arena *arena, const char *data, size_t length,
                                ec_manifest *manifest, edgecap_error *error)
{
    ec_fields f;
    ec_arena scratch;
    const ec_json *root = NULL;
    memset(manifest, 0, sizeof *manifest);
    ec_arena_init(&scratch, &arena->memory);
    f.arena = arena;
    f.error = error;
    f.status = ec_json_parse(&scratch, data, length, "manifest.json", &root, error);
    if (f.status == EDGECAP_OK) {
        read_all(&f, root, manifest);
    }
    ec_arena_free(&scratch);
    return f.status;
}

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
