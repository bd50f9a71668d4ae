/* tokenizer_read.c: a tokenizer.json into tables; see tokenizer.h. */
#include "tokenizer_tables.h"

#include <string.h>

#include "json.h"

static const char PIECE[] =
    "\xE2\x96\x81?[^\xE2\x96\x81.,;:!?\xE3\x80\x81\xE3\x80\x82\xEF\xBC\x8C\xEF\xBC\x9B\xEF\xBC\x9A"
    "\xEF\xBC\x81\xEF\xBC\x9F\xE3\x80\x8C\xE3\x80\x8D()'\xE2\x80\x99\"]+|\xE2\x96\x81|"
    "[.,;:!?\xE3\x80\x81\xE3\x80\x82\xEF\xBC\x8C\xEF\xBC\x9B\xEF\xBC\x9A\xEF\xBC\x81\xEF\xBC\x9F"
    "\xE3\x80\x8C\xE3\x80\x8D()'\xE2\x80\x99\"]";

static edgecap_status unsupported(edgecap_error *error, const char *where, const char *what)
{
    return ec_fail(error, EDGECAP_BUNDLE, "tokenizer.unsupported", "%s %s.", where, what);
}

static bool is_true(const ec_json *value)
{
    return value != NULL && value->kind == EC_JSON_TRUE;
}

/* As Python's bool(): what an option that is not used looks like. */
static bool is_off(const ec_json *value)
{
    if (value == NULL) {
        return true;
    }
    switch (value->kind) {
    case EC_JSON_NULL:
    case EC_JSON_FALSE:
        return true;
    case EC_JSON_WHOLE:
    case EC_JSON_NUMBER:
        return value->number == 0;
    case EC_JSON_TEXT:
        return value->text.length == 0;
    case EC_JSON_LIST:
    case EC_JSON_OBJECT:
        return value->count == 0;
    default:
        return false;
    }
}

static bool text_is(const ec_json *object, const char *key, const char *text)
{
    const ec_json *value = ec_json_get(object, key);
    return value != NULL && value->kind == EC_JSON_TEXT && ec_text_is(value->text, text);
}

static bool normalizer_known(const ec_json *spec)
{
    const ec_json *steps = spec ? ec_json_get(spec, "normalizers") : NULL, *pattern;
    if (steps == NULL || steps->kind != EC_JSON_LIST || steps->count != 2) {
        return false;
    }
    pattern = ec_json_get(steps->first->next, "pattern");
    return steps->first->count == 1 && text_is(steps->first, "type", "NFC") &&
           steps->first->next->count == 3 && text_is(steps->first->next, "type", "Replace") &&
           text_is(steps->first->next, "content", EC_SPACE) && pattern != NULL &&
           pattern->count == 1 && text_is(pattern, "String", " ");
}

static bool splitter_known(const ec_json *spec)
{
    const ec_json *pattern = spec ? ec_json_get(spec, "pattern") : NULL;
    const ec_json *invert = spec ? ec_json_get(spec, "invert") : NULL;
    return pattern != NULL && spec->count == 4 && text_is(spec, "type", "Split") &&
           text_is(spec, "behavior", "Isolated") && pattern->count == 1 &&
           text_is(pattern, "Regex", PIECE) && invert != NULL && invert->kind == EC_JSON_FALSE;
}

/* One token of the vocabulary or of the added ones; a text that is known already moves its id. */
static edgecap_status add(ec_tokenizer *t, ec_arena *arena, ec_text text, const ec_json *id,
                          bool special, const char *where, edgecap_error *error)
{
    char *copy;
    size_t i;
    int32_t known = ec_token_find(t, text.data, text.length);
    if (id == NULL || id->kind != EC_JSON_WHOLE) {
        return unsupported(error, where, "has an id that is no whole number");
    }
    if (id->beyond || id->whole < 0 || id->whole >= t->size) {
        return unsupported(error, where, "has ids with gaps");
    }
    if (known >= 0 && known != id->whole) {
        return unsupported(error, where, "has two ids for a token");
    }
    if (t->tokens[id->whole].text.data != NULL && known < 0) {
        return unsupported(error, where, "has two tokens for an id");
    }
    if (known < 0) {
        copy = ec_arena_text(arena, text.data, text.length);
        if (copy == NULL) {
            return ec_no_memory(error);
        }
        t->tokens[id->whole].text.data = copy;
        t->tokens[id->whole].text.length = text.length;
        t->tokens[id->whole].byte = -1;
        t->longest = text.length > t->longest ? text.length : t->longest;
        i = ec_hash(text.data, text.length) & (t->ids_size - 1);
        while (t->ids[i] >= 0) {
            i = (i + 1) & (t->ids_size - 1);
        }
        t->ids[i] = (int32_t)id->whole;
    }
    t->tokens[id->whole].special = t->tokens[id->whole].special || special;
    return EDGECAP_OK;
}

static edgecap_status read_tokens(ec_tokenizer *t, ec_arena *arena, const ec_json *vocabulary,
                                  const ec_json *added, const char *where, edgecap_error *error)
{
    const ec_json *item;
    edgecap_status status = EDGECAP_OK;
    size_t extra = added != NULL ? added->count : 0, most = vocabulary->count + extra, i;
    int32_t b;
    if (most > 1 << 22) {
        return unsupported(error, where, "has too many tokens");
    }
    t->size = (int32_t)most; /* for now: added ones may be in the vocabulary as well */
    for (t->ids_size = 16; t->ids_size < 2 * most; t->ids_size *= 2) {
    }
    t->tokens = ec_arena_array(arena, most + 1, sizeof *t->tokens);
    t->ids = ec_arena_array(arena, t->ids_size, sizeof *t->ids);
    if (t->tokens == NULL || t->ids == NULL) {
        return ec_no_memory(error);
    }
    memset(t->ids, -1, t->ids_size * sizeof *t->ids);
    for (item = vocabulary->first; item != NULL && status == EDGECAP_OK; item = item->next) {
        status = add(t, arena, item->key, item, false, where, error);
    }
    for (item = extra ? added->first : NULL; item != NULL && status == EDGECAP_OK;
         item = item->next) {
        const ec_json *content = ec_json_get(item, "content");
        if (content == NULL || content->kind != EC_JSON_TEXT) {
            return unsupported(error, where, "has an added token without content");
        }
        status = add(t, arena, content->text, ec_json_get(item, "id"), true, where, error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    for (i = 0; i < most && t->tokens[i].text.data != NULL; i++) {
    }
    t->size = (int32_t)i;
    for (; i < most; i++) {
        if (t->tokens[i].text.data != NULL) {
            return unsupported(error, where, "has ids with gaps");
        }
    }
    for (b = 0; b < 256; b++) {
        static const char digits[] = "0123456789ABCDEF";
        char name[7] = "<0x00>";
        name[3] = digits[b >> 4];
        name[4] = digits[b & 15];
        t->bytes[b] = ec_token_find(t, name, 6);
        if (t->bytes[b] < 0) {
            return unsupported(error, where, "lacks some of the 256 byte tokens");
        }
        t->tokens[t->bytes[b]].byte = (int16_t)b;
    }
    return EDGECAP_OK;
}

static edgecap_status no_token(edgecap_error *error, const char *text)
{
    return ec_fail(error, EDGECAP_BUNDLE, "tokenizer.token", "the tokenizer has no token '%.60s'.",
                   text);
}

static edgecap_status add_merge(ec_tokenizer *t, ec_arena *scratch, const ec_json *item,
                                int32_t rank, const char *where, edgecap_error *error)
{
    ec_text left, right;
    char *both;
    int32_t ids[3];
    ec_merge *place;
    if (item->kind == EC_JSON_TEXT) { /* "left right", as before 0.20 */
        const char *gap = memchr(item->text.data, ' ', item->text.length);
        if (gap == NULL ||
            memchr(gap + 1, ' ', item->text.length - (size_t)(gap + 1 - item->text.data))) {
            return unsupported(error, where, "has a merge that does not join two tokens");
        }
        left.data = item->text.data;
        left.length = (size_t)(gap - item->text.data);
        right.data = gap + 1;
        right.length = item->text.length - left.length - 1;
    } else if (item->kind == EC_JSON_LIST && item->count == 2 &&
               item->first->kind == EC_JSON_TEXT && item->first->next->kind == EC_JSON_TEXT) {
        left = item->first->text;
        right = item->first->next->text;
    } else {
        return unsupported(error, where, "has a merge that does not join two tokens");
    }
    both = ec_arena_take(scratch, left.length + right.length + 1);
    if (both == NULL) {
        return ec_no_memory(error);
    }
    memcpy(both, left.data, left.length);
    memcpy(both + left.length, right.data, right.length);
    ids[0] = ec_token_find(t, left.data, left.length);
    ids[1] = ec_token_find(t, right.data, right.length);
    ids[2] = ec_token_find(t, both, left.length + right.length);
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0) {
        return no_token(error, both);
    }
    place = &t->merges[ec_merge_slot(t, ids[0], ids[1])];
    place->left = ids[0];
    place->right = ids[1];
    place->rank = rank; /* of two, the later one, as in Python */
    place->joined = ids[2];
    return EDGECAP_OK;
}

static edgecap_status read_merges(ec_tokenizer *t, ec_arena *arena, ec_arena *scratch,
                                  const ec_json *merges, const char *where, edgecap_error *error)
{
    const ec_json *item;
    int32_t rank = 0;
    size_t i;
    for (t->merges_size = 16; t->merges_size < 2 * merges->count; t->merges_size *= 2) {
    }
    t->merges = ec_arena_array(arena, t->merges_size, sizeof *t->merges);
    if (t->merges == NULL) {
        return ec_no_memory(error);
    }
    for (i = 0; i < t->merges_size; i++) {
        t->merges[i].left = -1;
    }
    for (item = merges->first; item != NULL; item = item->next, rank++) {
        edgecap_status status = add_merge(t, scratch, item, rank, where, error);
        if (status != EDGECAP_OK) {
            return status;
        }
    }
    return EDGECAP_OK;
}

static edgecap_status read_spec(ec_tokenizer *t, ec_arena *arena, ec_arena *scratch,
                                const ec_json *root, const char *where, edgecap_error *error)
{
    static const char *const extras[] = {"dropout", "continuing_subword_prefix",
                                         "end_of_word_suffix", "ignore_merges"};
    const ec_json *model = ec_json_get(root, "model"), *added = ec_json_get(root, "added_tokens");
    const ec_json *vocabulary, *merges;
    edgecap_status status;
    size_t i;
    if (model == NULL || !text_is(model, "type", "BPE") ||
        !is_true(ec_json_get(model, "byte_fallback"))) {
        return unsupported(error, where, "is not a BPE with byte fallback");
    }
    for (i = 0; i < sizeof extras / sizeof *extras; i++) {
        if (!is_off(ec_json_get(model, extras[i]))) {
            return unsupported(error, where, "uses an option that edgecap does not know");
        }
    }
    vocabulary = ec_json_get(model, "vocab");
    merges = ec_json_get(model, "merges");
    if (vocabulary == NULL || vocabulary->kind != EC_JSON_OBJECT || merges == NULL ||
        merges->kind != EC_JSON_LIST || (!is_off(added) && added->kind != EC_JSON_LIST)) {
        return unsupported(error, where, "lacks vocab or merges");
    }
    status = read_tokens(t, arena, vocabulary, is_off(added) ? NULL : added, where, error);
    if (status == EDGECAP_OK) {
        status = read_merges(t, arena, scratch, merges, where, error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    if (!normalizer_known(ec_json_get(root, "normalizer"))) {
        return unsupported(error, where, "does not normalise by NFC and space to U+2581 alone");
    }
    if (!splitter_known(ec_json_get(root, "pre_tokenizer"))) {
        return unsupported(error, where, "does not split words by the pattern that edgecap knows");
    }
    return EDGECAP_OK;
}

edgecap_status ec_tokenizer_read(ec_arena *arena, const char *data, size_t length,
                                 const char *where, ec_tokenizer **tokenizer, edgecap_error *error)
{
    ec_arena scratch;
    const ec_json *root = NULL;
    edgecap_status status;
    ec_tokenizer *t = ec_arena_take(arena, sizeof *t);
    if (t == NULL) {
        return ec_no_memory(error);
    }
    ec_arena_init(&scratch, &arena->memory);
    status = ec_json_parse(&scratch, data, length, where, &root, error);
    if (status == EDGECAP_OK) {
        status = read_spec(t, arena, &scratch, root, where, error);
    }
    ec_arena_free(&scratch);
    *tokenizer = t;
    return status;
}
