/* vectors_texts.c: NFC, and text to ids and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"
#include "unicode.h"
#include "vectors.h"

ec_tokenizer *kept_tokenizer(const char *folder, ec_arena *arena)
{
    size_t length = 0;
    char *data = read_file(folder, "tokenizer.json", &length);
    ec_tokenizer *tokenizer = NULL;
    edgecap_error error = {0};
    if (data == NULL ||
        ec_tokenizer_read(arena, data, length, "tokenizer.json", &tokenizer, &error)) {
        printf("the tokenizer cannot be read: %s\n", error.message);
        exit(2);
    }
    free(data);
    return tokenizer;
}

static ec_text spell(ec_arena *arena, const ec_json *codes)
{
    ec_text text = {0};
    char *out = ec_arena_take(arena, 4 * codes->count + 1);
    const ec_json *code;
    text.data = out;
    for (code = codes->first; code != NULL; code = code->next) {
        text.length += ec_utf8_encode((uint32_t)code->whole, out + text.length);
    }
    return text;
}

static void run_nfc(const char *folder)
{
    topic t = open_topic(folder, "nfc");
    const ec_json *one;
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        ec_text given = spell(&t.arena, one->first), expected = spell(&t.arena, one->first->next);
        ec_text out;
        check(ec_nfc(&t.arena, given, &out) && out.length == expected.length &&
                  memcmp(out.data, expected.data, out.length) == 0,
              "NFC of %s", given.data);
    }
    close_topic(&t);
}

static void run_encode(const ec_tokenizer *tokenizer, const ec_json *cases, bool special)
{
    const ec_json *one, *id;
    for (one = cases->first; one != NULL; one = one->next) {
        ec_arena arena;
        int32_t *ids;
        size_t count = 0, i = 0;
        bool same;
        ec_arena_init(&arena, &plain_memory);
        same = ec_tokenizer_encode(tokenizer, &arena, one->first->text, special, &ids, &count,
                                   NULL) == EDGECAP_OK &&
               count == one->first->next->count;
        for (id = one->first->next->first; same && id != NULL; id = id->next) {
            same = ids[i++] == id->whole;
        }
        check(same, "encode %s", one->first->text.data);
        ec_arena_free(&arena);
    }
}

static void run_decode(const ec_tokenizer *tokenizer, const ec_json *cases)
{
    const ec_json *one, *id;
    edgecap_error error = {0};
    ec_arena arena;
    ec_codec *codec;
    ec_arena_init(&arena, &plain_memory);
    check(ec_tokenizer_codec(tokenizer, &arena, &codec, &error) == EDGECAP_OK, "codec");
    for (one = cases->first; one != NULL; one = one->next) {
        const ec_json *expected = item(one, 2);
        ec_speller s;
        check(ec_speller_open(&plain_memory, codec, one->first->count,
                              item(one, 1)->kind == EC_JSON_TRUE, &s),
              "memory");
        for (id = one->first->first; id != NULL; id = id->next) {
            ec_speller_push(&s, (int32_t)id->whole);
        }
        ec_speller_finish(&s);
        check(s.length == expected->text.length &&
                  memcmp(s.out, expected->text.data, s.length) == 0,
              "decode %s: %.*s", expected->text.data, (int)s.length, s.out);
        ec_speller_close(&plain_memory, &s);
    }
    ec_arena_free(&arena);
}

static void run_refusals(const char *folder)
{
    topic t = open_topic(folder, "tokenizer_refusals");
    const ec_json *one;
    size_t length = 0;
    char *data = read_file(folder, "tokenizer.json", &length);
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        ec_text old = item(need(one, "replace"), 0)->text,
                new_ = item(need(one, "replace"), 1)->text;
        char *place = strstr(data, old.data), *changed = malloc(length + new_.length + 1);
        size_t before = (size_t)(place - data);
        edgecap_error error = {0};
        ec_tokenizer *tokenizer;
        ec_arena arena;
        ec_arena_init(&arena, &plain_memory);
        memcpy(changed, data, before);
        memcpy(changed + before, new_.data, new_.length);
        memcpy(changed + before + new_.length, place + old.length, length - before - old.length);
        check(ec_tokenizer_read(&arena, changed, length - old.length + new_.length, "changed",
                                &tokenizer, &error) == EDGECAP_BUNDLE &&
                  strcmp(error.code, text(one, "code")) == 0,
              "tokenizer with %s: %s", text(one, "name"), error.code);
        ec_arena_free(&arena);
        free(changed);
    }
    free(data);
    close_topic(&t);
}

void run_texts(const char *folder)
{
    topic t = open_topic(folder, "words");
    ec_tokenizer *tokenizer = kept_tokenizer(folder, &t.arena);
    run_nfc(folder);
    run_encode(tokenizer, need(t.root, "encode"), false);
    run_encode(tokenizer, need(t.root, "encode_special"), true);
    run_decode(tokenizer, need(t.root, "decode"));
    run_refusals(folder);
    close_topic(&t);
}
