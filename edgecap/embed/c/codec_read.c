/* codec_read.c: a bundle's tokenizer.json of schema 2 into tables; see codec.h. */
#include <string.h>

#include "codec.h"
#include "unicode.h"

enum { MOST_TOKENS = 1 << 20, MOST_CHARACTERS = 4096, MOST_PREFIX = 16 };

static void bad(ec_fields *f, const char *what)
{
    ec_refuse(f, "tokenizer.unsupported", "%s", what);
}

static void read_tokens(ec_fields *f, const ec_json *list, ec_codec *c)
{
    const ec_json *item;
    size_t all = 0, i = 0;
    char *place;
    if (list->count < 1 || list->count > MOST_TOKENS) {
        bad(f, "must have 1-1048576 tokens");
        return;
    }
    for (item = list->first; item != NULL; item = item->next) {
        if (item->kind != EC_JSON_NULL && item->kind != EC_JSON_TEXT) {
            bad(f, "has a token that is no text and not null");
            return;
        }
        all += item->kind == EC_JSON_TEXT ? item->text.length + 1 : 0;
    }
    c->size = (int32_t)list->count;
    c->tokens = ec_field_array(f, list->count, sizeof *c->tokens);
    c->special = ec_field_array(f, list->count, 1);
    place = ec_field_array(f, all + 1, 1); /* one block for a quarter of a million texts */
    for (item = place != NULL ? list->first : NULL; item != NULL; item = item->next, i++) {
        if (item->kind != EC_JSON_TEXT) {
            continue;
        }
        if (!ec_utf8_valid(item->text.data, item->text.length)) {
            bad(f, "has a token with a lone surrogate");
        } else if (ec_utf8_count(item->text.data, item->text.length) > MOST_CHARACTERS) {
            bad(f, "has a token of more than 4096 characters");
        }
        memcpy(place, item->text.data, item->text.length);
        c->tokens[i].data = place;
        c->tokens[i].length = item->text.length;
        c->longest = item->text.length > c->longest ? item->text.length : c->longest;
        place += item->text.length + 1;
    }
}

static void read_special(ec_fields *f, const ec_json *list, ec_codec *c)
{
    const ec_json *item;
    int64_t before = -1;
    for (item = list != NULL ? list->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, "special")) {
            return;
        }
        if (item->whole <= before || item->whole >= c->size) {
            bad(f, "has special ids that do not ascend below the number of tokens");
            return;
        }
        before = item->whole;
        c->special[before] = 1;
    }
}

static ec_text text_or(ec_fields *f, const ec_json *root, const char *name, const char *otherwise)
{
    const ec_json *value = ec_json_get(root, name);
    ec_text text;
    text.data = otherwise;
    text.length = strlen(otherwise);
    if (value != NULL && ec_is_kind(f, value, EC_JSON_TEXT, name)) {
        text.data = ec_arena_text(f->arena, value->text.data, value->text.length);
        text.length = value->text.length;
        if (text.data == NULL) {
            f->status = ec_no_memory(f->error);
        }
    }
    return text;
}

static void read_spec(ec_fields *f, const ec_json *root, ec_codec *c)
{
    static const char *const fields[] = {"family",   "tokens",     "special", "space",
                                         "strip",    "drop_first", "prefix",  "clean_tokens",
                                         "clean_up", NULL};
    static const char *const families[] = {"byte_fallback", "byte_level", "wordpiece", "metaspace"};
    const ec_json *tokens = root->kind == EC_JSON_OBJECT ? ec_json_get(root, "tokens") : NULL;
    const char *family;
    int64_t strip;
    int i;
    if (tokens == NULL || tokens->kind != EC_JSON_LIST) {
        bad(f, "has no list of tokens");
        return;
    }
    if (!ec_check_fields(f, root, "tokenizer", fields, 6)) {
        return;
    }
    family = ec_string(f, root, "family");
    for (i = 0; i < 4 && strcmp(family, families[i]) != 0; i++) {
    }
    c->family = (ec_family)(i % 4);
    strip = ec_json_get(root, "strip") != NULL ? ec_whole(f, root, "strip") : 0;
    c->strip = (int32_t)(strip & 31);
    c->space = text_or(f, root, "space", "\xE2\x96\x81");
    c->prefix = text_or(f, root, "prefix", "##");
    c->drop_first = ec_flag(f, root, "drop_first", true);
    c->clean_tokens = ec_flag(f, root, "clean_tokens", false);
    c->clean_up = ec_flag(f, root, "clean_up", false);
    if (f->status == EDGECAP_OK && i == 4) {
        bad(f, "is of a family that is not known");
    }
    read_tokens(f, tokens, c);
    if (f->status == EDGECAP_OK) {
        read_special(f, ec_inner(f, root, "special", EC_JSON_LIST), c);
    }
    if (f->status == EDGECAP_OK && (!ec_utf8_valid(c->space.data, c->space.length) ||
                                    !ec_utf8_valid(c->prefix.data, c->prefix.length) ||
                                    ec_utf8_count(c->space.data, c->space.length) != 1 ||
                                    ec_utf8_count(c->prefix.data, c->prefix.length) > MOST_PREFIX ||
                                    strip < 0 || strip > MOST_PREFIX)) {
        bad(f, "has a space, prefix or strip that is not allowed");
    }
}

edgecap_status ec_codec_read(ec_arena *arena, const char *data, size_t length, const char *where,
                             ec_codec **codec, edgecap_error *error)
{
    ec_fields f = ec_fields_of(arena, where, error);
    ec_arena scratch;
    const ec_json *root = NULL;
    ec_codec *c = ec_arena_take(arena, sizeof *c);
    *codec = c;
    if (c == NULL) {
        return ec_no_memory(error);
    }
    ec_arena_init(&scratch, &arena->memory);
    f.status = ec_json_parse_most(&scratch, data, length, EC_CODEC_MOST_BYTES, where, &root, error);
    if (f.status == EDGECAP_OK) {
        read_spec(&f, root, c);
    }
    ec_arena_free(&scratch);
    return f.status;
}
