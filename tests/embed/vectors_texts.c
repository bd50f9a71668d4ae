/* vectors_texts.c: NFC, tokenizer, phrases and boxes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "regions.h"
#include "tokenizer.h"
#include "unicode.h"
#include "vectors.h"

static ec_tokenizer *kept_tokenizer(const char *folder, ec_arena *arena)
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
    for (one = cases->first; one != NULL; one = one->next) {
        char out[4096];
        uint8_t pending[1024];
        ec_writer writer = {0};
        ec_decoder decoder;
        const ec_json *expected = item(one, 2);
        writer.data = out;
        writer.capacity = sizeof out;
        ec_decoder_init(&decoder, tokenizer, &writer, item(one, 1)->kind == EC_JSON_TRUE, pending);
        for (id = one->first->first; id != NULL; id = id->next) {
            ec_decoder_add(&decoder, (int32_t)id->whole);
        }
        ec_decoder_end(&decoder);
        check(writer.length == expected->text.length &&
                  memcmp(out, expected->text.data, writer.length) == 0,
              "decode %s: %.*s", expected->text.data, (int)writer.length, out);
    }
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

static void check_groups(const ec_json *one, const ec_reading *r)
{
    const ec_json *group;
    size_t g = 0, b, i;
    check(r->phrase_count == need(one, "groups")->count, "%s: %lu phrases", text(one, "text"),
          (unsigned long)r->phrase_count);
    for (group = need(one, "groups")->first; group != NULL && g < r->phrase_count;
         group = group->next, g++) {
        const edgecap_phrase *phrase = &r->phrases[g];
        const ec_json *bytes = need(group, "bytes"), *boxes = need(group, "boxes");
        check((int64_t)phrase->begin == item(bytes, 0)->whole &&
                  (int64_t)phrase->end == item(bytes, 1)->whole &&
                  phrase->box_count == boxes->count,
              "%s: phrase %s is %lu-%lu", text(one, "text"), text(group, "phrase"),
              (unsigned long)phrase->begin, (unsigned long)phrase->end);
        for (b = 0; b < phrase->box_count && b < boxes->count; b++) {
            const edgecap_box *box = &r->boxes[phrase->first_box + b];
            double edges[4];
            edges[0] = box->x0, edges[1] = box->y0, edges[2] = box->x1, edges[3] = box->y1;
            for (i = 0; i < 4; i++) {
                check(edges[i] == item(item(boxes, b), i)->number, "%s: a box", text(one, "text"));
            }
            check(fabs(box->score - item(need(group, "scores"), b)->number) < 1e-8, "%s: a score",
                  text(one, "text"));
        }
    }
}

static void run_regions(const char *folder)
{
    topic t = open_topic(folder, "regions");
    ec_tokenizer *tokenizer = kept_tokenizer(folder, &t.arena);
    ec_locations locations;
    const ec_json *one;
    locations.bins = (int32_t)whole(t.root, "bins");
    locations.bin_px = (int32_t)whole(t.root, "bin_px");
    ec_tokenizer_id(tokenizer, text(t.root, "first"), &locations.first, NULL);
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        edgecap_token tokens[128];
        edgecap_phrase phrases[32];
        edgecap_box boxes[32];
        char words[2048];
        uint8_t pending[128];
        ec_writer writer = {0};
        ec_reading r = {0};
        size_t i;
        const ec_json *id = need(one, "tokens")->first, *score = need(one, "scores")->first;
        for (i = 0; id != NULL; id = id->next, score = score->next, i++) {
            tokens[i].id = (int32_t)id->whole;
            tokens[i].score = (float)score->number;
        }
        writer.data = words;
        writer.capacity = sizeof words;
        ec_words(tokenizer, &locations, tokens, i, SIZE_MAX, pending, &writer);
        r.tokenizer = tokenizer;
        r.locations = &locations;
        r.language = text(one, "lang");
        r.tokens = tokens;
        r.count = i;
        r.text = words;
        r.text_length = writer.length;
        r.phrases = phrases;
        r.phrase_capacity = r.box_capacity = 32;
        r.boxes = boxes;
        check(strcmp(words, text(one, "text")) == 0, "text %s: %s", text(one, "text"), words);
        check(ec_read_regions(&plain_memory, &r), "regions");
        check(r.malformed == whole(one, "malformed"), "%s: malformed", text(one, "text"));
        check_groups(one, &r);
    }
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
    run_regions(folder);
    close_topic(&t);
}
