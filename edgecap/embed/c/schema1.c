/* schema1.c: a manifest of schema 1, read and checked; see manifest.h and upgrade.h.
 *
 * Letters: S side of the image in px, L layers, H heads, Dh head width, P image rows, T text rows,
 * V vocabulary, E embedding.
 */
#include <string.h>

#include "upgrade.h"

typedef struct contract { /* in JSON's order */
    int64_t layers, heads, head_width, patches, text_length, vocabulary, embedding;
    size_t cache_width; /* bytes of a cached number: 4 or 2; 0: another type */
} contract;

static const char *const FUNCTIONS[][3] = {
    /* name, inputs, outputs; spaces around each tensor */
    {"encode_image", " image ", " k v image_embedding "},
    {"decode", " token position k v ", " logits k_new v_new attention "},
    {"encode_text", " tokens length ", " text_embedding "},
    {"decode_stateful", " token position k_image v_image ", " logits attention "}, /* optional */
    {"decode_attention", " token position k v ", " logits k_new v_new attention "},
    {"extend", " tokens position k v ", " logits k_new v_new "},
};
enum { NEEDED = 3, KNOWN = 6 };

/* ---- Reading ---- */

static bool is_text(ec_fields *f, const ec_json *object, const char *name, const char *wanted)
{
    return strcmp(ec_string(f, object, name), wanted) == 0;
}

static void read_contract(ec_fields *f, const ec_json *object, contract *c, ec_manifest *m)
{
    static const char *const fields[] = {"layers",      "heads",      "head_width", "patches",
                                         "text_length", "vocabulary", "embedding",  "cache",
                                         "batch",       "functions",  NULL};
    const char *cache;
    const ec_json *functions;
    if (object == NULL || !ec_check_fields(f, object, "contract", fields, 0)) {
        return;
    }
    c->layers = ec_whole(f, object, "layers");
    c->heads = ec_whole(f, object, "heads");
    c->head_width = ec_whole(f, object, "head_width");
    c->patches = ec_whole(f, object, "patches");
    c->text_length = ec_whole(f, object, "text_length");
    c->vocabulary = ec_whole(f, object, "vocabulary");
    c->embedding = ec_whole(f, object, "embedding");
    cache = ec_string(f, object, "cache");
    c->cache_width = strcmp(cache, "float32") == 0 ? 4 : strcmp(cache, "float16") == 0 ? 2 : 0;
    if (!ec_is_null(object, "batch") && ec_whole(f, object, "batch") != 1) {
        ec_refuse(f, "bundle.manifest", "contract.batch must be null (any) or 1");
    }
    functions = ec_inner(f, object, "functions", EC_JSON_OBJECT);
    if (functions != NULL) {
        ec_read_functions(f, functions, m);
    }
}

static void read_preprocessing(ec_fields *f, const ec_json *object, ec_image_spec *image)
{
    static const char *const fields[] = {"size", "fit",      "resample", "anchor",
                                         "fill", "channels", NULL};
    int64_t size, fill;
    bool known;
    if (object == NULL || !ec_check_fields(f, object, "preprocessing", fields, 0)) {
        return;
    }
    size = ec_whole(f, object, "size");
    known = is_text(f, object, "fit", "contain");
    known = is_text(f, object, "resample", "bilinear") && known;
    known = is_text(f, object, "anchor", "centre") && known;
    fill = ec_whole(f, object, "fill");
    known = is_text(f, object, "channels", "RGB") && known;
    if (!known) {
        ec_refuse(f, "bundle.manifest", "preprocessing is not one this edgecap knows");
    }
    if (size < 1 || size > 4096 || fill < 0 || fill > 255) {
        ec_refuse(f, "bundle.manifest", "preprocessing.size must be 1-4096 and fill 0-255");
        return;
    }
    image->height = image->width = (int32_t)size;
    image->fit = EC_CONTAIN;
    image->filter = EC_BILINEAR;
    image->background = image->fill = (int32_t)fill;
}

/* The SHA-256 that the tokenizer's file must have. */
static const char *read_tokenizer(ec_fields *f, const ec_json *object, ec_manifest *m)
{
    static const char *const fields[] = {"file", "sha256", "pad", "eos", "text", NULL};
    if (object == NULL || !ec_check_fields(f, object, "tokenizer", fields, 0)) {
        return "";
    }
    m->tokenizer = m->encoder = ec_string(f, object, "file");
    m->to_upgrade->pad = ec_string(f, object, "pad");
    m->to_upgrade->eos = ec_string(f, object, "eos");
    m->to_upgrade->text = ec_string(f, object, "text");
    return ec_string(f, object, "sha256");
}

static void read_coordinates(ec_fields *f, const ec_json *object, ec_manifest *m)
{
    static const char *const fields[] = {"order", "bins", "bin_px", "first", NULL};
    int64_t bins, bin_px;
    bool known;
    if (object == NULL || !ec_check_fields(f, object, "coordinates", fields, 0)) {
        return;
    }
    known = is_text(f, object, "order", "x0y0x1y1");
    bins = ec_whole(f, object, "bins");
    bin_px = ec_whole(f, object, "bin_px");
    m->to_upgrade->first_location = ec_string(f, object, "first");
    if (!known || bins < 2 || bins > INT32_MAX || bin_px < 1 || bin_px > INT32_MAX) {
        ec_refuse(f, "bundle.manifest", "coordinates with %.0f bins are not known", (double)bins);
        return;
    }
    m->regions.codec = EC_EDGES4;
    m->regions.count = (int32_t)bins;
    m->regions.bin_px = (int32_t)bin_px;
}

/* ---- Checking ---- */

/* Whether the ports are exactly the names of a list. */
static bool ports_are(const ec_port *ports, size_t count, const char *names)
{
    size_t wanted = 0, i, j;
    const char *place;
    for (place = names + 1; *place != '\0'; place++) {
        wanted += *place == ' ';
    }
    for (i = 0; i < count; i++) {
        size_t length = strlen(ports[i].name);
        bool found = false;
        for (j = 0; names[j] != '\0' && !found; j++) {
            found = names[j] == ' ' && length > 0 &&
                    strncmp(names + j + 1, ports[i].name, length) == 0 &&
                    names[j + 1 + length] == ' ' && strchr(ports[i].name, ' ') == NULL;
        }
        if (!found) {
            return false;
        }
    }
    return count == wanted; /* no key stands twice in JSON */
}

static void check_functions(ec_fields *f, const ec_manifest *m)
{
    size_t i, j;
    for (i = 0; i < NEEDED; i++) {
        if (ec_manifest_function(m, FUNCTIONS[i][0]) == NULL) {
            ec_refuse(f, "bundle.manifest", "contract.functions lacks %s", FUNCTIONS[i][0]);
        }
    }
    for (i = 0; i < m->function_count && f->status == EDGECAP_OK; i++) {
        const ec_function *function = &m->functions[i];
        for (j = 0; j < KNOWN && strcmp(function->name, FUNCTIONS[j][0]) != 0; j++) {
        }
        if (j == KNOWN) {
            ec_refuse(f, "bundle.manifest", "function '%.60s' is not known", function->name);
        } else if (!ports_are(function->inputs, function->input_count, FUNCTIONS[j][1]) ||
                   !ports_are(function->outputs, function->output_count, FUNCTIONS[j][2])) {
            ec_refuse(f, "bundle.manifest", "%s must map exactly%sto%s", function->name,
                      FUNCTIONS[j][1], FUNCTIONS[j][2]);
        }
    }
    ec_check_listed(f, m);
}

static bool is_square(int64_t count)
{
    int64_t side = 1;
    while (side < 46340 && side * side < count) {
        side++;
    }
    return side * side == count;
}

static void check_sizes(ec_fields *f, const contract *c)
{
    const double most = 2147483648.0; /* bytes of a cache at 8 a number */
    double rows = (double)c->patches + (double)c->text_length;
    double cache = 8.0 * (double)c->layers * (double)c->heads * (double)c->head_width * rows;
    if (c->layers < 1 || c->heads < 1 || c->head_width < 1 || c->patches < 1 ||
        c->text_length < 1 || c->vocabulary < 1 || c->embedding < 1 ||
        (c->patches < INT32_MAX && !is_square(c->patches))) {
        ec_refuse(f, "bundle.manifest",
                  "contract sizes must be positive and patches a square number");
    } else if (cache > most || c->vocabulary > 1 << 22 || c->embedding > 1 << 16) {
        ec_refuse(f, "bundle.oversized", "a cache of %.0f bytes is too large", cache);
    } else if (c->cache_width == 0) {
        ec_refuse(f, "bundle.manifest", "contract.cache must be float32 or float16");
    }
}

static void check_tokenizer(ec_fields *f, const ec_manifest *m, const char *hash)
{
    const ec_file *file = f->status == EDGECAP_OK ? ec_manifest_file(m, m->tokenizer) : NULL;
    if (f->status == EDGECAP_OK && (m->language_count == 0 || m->style_count == 0)) {
        ec_refuse(f, "bundle.manifest", "languages and styles must not be empty");
    } else if (file == NULL) {
        ec_refuse(f, "bundle.missing_file", "%.100s is not listed", m->tokenizer);
    } else if (strcmp(file->sha256, hash) != 0) {
        ec_refuse(f, "bundle.manifest", "tokenizer.sha256 is not that of the tokenizer file");
    }
}

/* ---- Into the form of schema 2 ---- */

static const char *renamed(const char *name)
{
    static const char *const pairs[][2] = {
        {"encode_image", "encode"}, {"k_new", "new_k"}, {"v_new", "new_v"}};
    size_t i;
    for (i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (strcmp(pairs[i][0], name) == 0) {
            return pairs[i][1];
        }
    }
    return name;
}

/* The numbers of a port; 0 for state, whose entry knows. */
static size_t count_of(const contract *c, size_t S, const char *name)
{
    static const char *const names[] = {"image",    "image_embedding", "token",
                                        "position", "logits",          "attention",
                                        "tokens",   "length",          "text_embedding"};
    const size_t counts[] = {3 * S * S,
                             (size_t)c->embedding,
                             1,
                             1,
                             (size_t)c->vocabulary,
                             (size_t)c->patches,
                             (size_t)c->text_length,
                             1,
                             (size_t)c->embedding};
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            return counts[i];
        }
    }
    return 0;
}

static void bring_ports(const contract *c, size_t S, ec_port *ports, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        ports[i].count = count_of(c, S, ports[i].name);
        ports[i].name = renamed(ports[i].name);
    }
}

/* The functions that the core runs, by their names in schema 2; the others are left out. */
static void bring_functions(const contract *c, ec_manifest *m)
{
    size_t S = (size_t)m->image.width, kept = 0, i;
    for (i = 0; i < m->function_count; i++) {
        ec_function one = m->functions[i];
        size_t j;
        for (j = 0; j < NEEDED && strcmp(one.name, FUNCTIONS[j][0]) != 0; j++) {
        }
        if (j < NEEDED) {
            one.name = renamed(one.name);
            bring_ports(c, S, one.inputs, one.input_count);
            bring_ports(c, S, one.outputs, one.output_count);
            m->functions[kept++] = one;
        }
    }
    m->function_count = kept;
}

/* k and v [L,1,H,P+T,Dh], the image's rows first. */
static void bring_state(ec_fields *f, const contract *c, ec_manifest *m)
{
    static const char *const names[][2] = {{"k", "new_k"}, {"v", "new_v"}};
    size_t i;
    m->state = ec_field_array(f, 2, sizeof *m->state);
    for (i = 0; m->state != NULL && i < 2; i++) {
        ec_entry *entry = &m->state[m->state_count++];
        entry->input = entry->from_image = names[i][0];
        entry->from_step = names[i][1];
        entry->role = EC_CACHE;
        entry->groups = (size_t)c->layers * (size_t)c->heads;
        entry->rows = (size_t)(c->patches + c->text_length);
        entry->image_rows = entry->first_text = (size_t)c->patches;
        entry->row_bytes = (size_t)c->head_width * c->cache_width;
        entry->width = c->cache_width;
    }
}

void ec_read_schema1(ec_fields *f, const ec_json *root, ec_manifest *m)
{
    static const char *const fields[] = {
        "schema",        "name",      "model",     "format", "precision",   "contract",
        "preprocessing", "tokenizer", "languages", "styles", "coordinates", "grammar",
        "plan",          "tools",     "license",   "files",  "weights",     NULL};
    contract c = {0};
    const char *hash;
    m->to_upgrade = ec_field_array(f, 1, sizeof *m->to_upgrade);
    if (m->to_upgrade == NULL || !ec_check_fields(f, root, "manifest", fields, 1) ||
        !ec_is_kind(f, ec_json_get(root, "schema"), EC_JSON_WHOLE, "schema")) {
        return;
    }
    m->captions = true;
    m->name = ec_string(f, root, "name");
    ec_string(f, root, "model");
    m->format = ec_string(f, root, "format");
    m->precision = ec_string(f, root, "precision");
    read_contract(f, ec_inner(f, root, "contract", EC_JSON_OBJECT), &c, m);
    read_preprocessing(f, ec_inner(f, root, "preprocessing", EC_JSON_OBJECT), &m->image);
    hash = read_tokenizer(f, ec_inner(f, root, "tokenizer", EC_JSON_OBJECT), m);
    m->languages = ec_strings(f, root, "languages", &m->language_count);
    m->styles = ec_strings(f, root, "styles", &m->style_count);
    read_coordinates(f, ec_inner(f, root, "coordinates", EC_JSON_OBJECT), m);
    ec_inner(f, root, "plan", EC_JSON_OBJECT);
    ec_read_tools(f, ec_inner(f, root, "tools", EC_JSON_OBJECT));
    ec_string(f, root, "license");
    ec_read_files(f, ec_inner(f, root, "files", EC_JSON_OBJECT), m);
    ec_check_weights(f, root, "bundle.manifest");
    if (f->status != EDGECAP_OK) {
        return;
    }
    check_sizes(f, &c);
    check_functions(f, m);
    if (f->status != EDGECAP_OK) {
        return;
    }
    m->patches = (int32_t)c.patches;
    m->text_rows = m->text_tokens = (int32_t)c.text_length;
    m->vocabulary = (int32_t)c.vocabulary;
    m->embedding = (int32_t)c.embedding;
    ec_read_grammar(f, ec_inner(f, root, "grammar", EC_JSON_OBJECT), m);
    check_tokenizer(f, m, hash);
    bring_functions(&c, m);
    bring_state(f, &c, m);
}
