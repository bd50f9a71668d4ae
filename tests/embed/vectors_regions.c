/* vectors_regions.c: ids to text, phrases and boxes. */
#include <math.h>
#include <string.h>

#include "regions.h"
#include "vectors.h"

/* ---- Of a model with languages ---- */

static void check_groups(const ec_json *one, const ec_found *r)
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

static void run_language(const ec_json *one, ec_view *view)
{
    edgecap_token tokens[128];
    ec_found found;
    size_t i;
    const ec_json *id = need(one, "tokens")->first, *score = need(one, "scores")->first;
    for (i = 0; id != NULL; id = id->next, score = score->next, i++) {
        tokens[i].id = (int32_t)id->whole;
        tokens[i].score = (float)score->number;
    }
    view->language = text(one, "lang");
    check(ec_find_regions(&plain_memory, view, tokens, i, &found), "memory");
    check(ec_text_is(found.text, text(one, "text")), "text %s: %s", text(one, "text"),
          found.text.data);
    check(found.malformed == whole(one, "malformed"), "%s: malformed", text(one, "text"));
    check_groups(one, &found);
    ec_found_close(&plain_memory, &found);
}

static void run_languages(const char *folder)
{
    enum { SIDE = 224 }; /* of an image that fills the input */
    topic t = open_topic(folder, "regions");
    ec_tokenizer *tokenizer = kept_tokenizer(folder, &t.arena);
    ec_regions_spec spec = {0};
    ec_codec *codec;
    ec_view view = {0};
    const ec_json *one;
    check(ec_tokenizer_codec(tokenizer, &t.arena, &codec, NULL) == EDGECAP_OK, "codec");
    spec.codec = EC_EDGES4;
    spec.count = (int32_t)whole(t.root, "bins");
    spec.bin_px = (int32_t)whole(t.root, "bin_px");
    ec_tokenizer_id(tokenizer, text(t.root, "first"), &spec.first, NULL);
    view.codec = codec;
    view.spec = &spec;
    view.height = view.width = SIDE;
    view.placement.width = view.placement.height = SIDE;
    view.placement.scaled_width = view.placement.scaled_height = SIDE;
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        run_language(one, &view);
    }
    close_topic(&t);
}

/* ---- By each codec ---- */

static bool near_(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void check_found(const ec_json *one, const ec_found *found)
{
    const ec_json *span = need(one, "spans")->first, *boxes = need(one, "boxes")->first;
    const ec_json *scores = need(one, "box_scores")->first, *box;
    ec_text expected = need(one, "text")->text;
    const char *codec = need(need(one, "spec"), "codec")->text.data;
    size_t i, b;
    check(found->text.length == expected.length &&
              memcmp(found->text.data, expected.data, expected.length) == 0,
          "%s: the text '%.*s' is not '%s'", codec, (int)found->text.length, found->text.data,
          expected.data);
    check(found->malformed == whole(one, "malformed"), "%s: malformed %d, not %d", codec,
          (int)found->malformed, (int)whole(one, "malformed"));
    check(found->phrase_count == need(one, "spans")->count, "%s: %lu phrases", codec,
          (unsigned long)found->phrase_count);
    for (i = 0; i < found->phrase_count && span != NULL; i++) {
        const edgecap_phrase *p = &found->phrases[i];
        check((int64_t)p->begin == item(span, 0)->whole && (int64_t)p->end == item(span, 1)->whole,
              "%s: phrase %lu at %lu-%lu", codec, (unsigned long)i, (unsigned long)p->begin,
              (unsigned long)p->end);
        check(p->box_count == boxes->count, "%s: boxes of a phrase", codec);
        for (b = 0, box = boxes->first; box != NULL && b < p->box_count; b++, box = box->next) {
            const edgecap_box *got = &found->boxes[p->first_box + b];
            check(near_(got->x0, item(box, 0)->number) && near_(got->y0, item(box, 1)->number) &&
                      near_(got->x1, item(box, 2)->number) &&
                      near_(got->y1, item(box, 3)->number) &&
                      near_(got->score, item(scores, b)->number),
                  "%s: box %lu", codec, (unsigned long)b);
        }
        span = span->next;
        boxes = boxes->next;
        scores = scores->next;
    }
}

static void run_region(topic *t, const ec_json *one, const ec_codec *codec)
{
    edgecap_error error = {0};
    ec_fields f = ec_fields_of(&t->arena, "spec", &error);
    ec_regions_spec spec;
    edgecap_token tokens[256];
    const ec_json *id = need(one, "ids")->first, *score = need(one, "scores")->first;
    const ec_json *placed = need(one, "placement");
    size_t count = 0;
    ec_view view = {0};
    ec_found found;
    ec_read_regions_spec(&f, need(one, "spec"), 0, &spec);
    check(f.status == EDGECAP_OK, "regions: %s", error.message);
    for (; id != NULL && count < 256; id = id->next, score = score->next) {
        tokens[count].id = (int32_t)id->whole;
        tokens[count++].score = (float)score->number;
    }
    view.codec = codec;
    view.spec = &spec;
    view.height = (int32_t)item(need(one, "size"), 0)->whole;
    view.width = (int32_t)item(need(one, "size"), 1)->whole;
    view.placement.width = (int32_t)item(placed, 0)->whole;
    view.placement.height = (int32_t)item(placed, 1)->whole;
    view.placement.left = (int32_t)item(placed, 2)->whole;
    view.placement.top = (int32_t)item(placed, 3)->whole;
    view.placement.scaled_width = (int32_t)item(placed, 4)->whole;
    view.placement.scaled_height = (int32_t)item(placed, 5)->whole;
    check(ec_find_regions(&plain_memory, &view, tokens, count, &found), "memory");
    check_found(one, &found);
    ec_found_close(&plain_memory, &found);
}

static void run_regions2(const char *folder)
{
    topic t = open_topic(folder, "regions2");
    edgecap_error error = {0};
    ec_text file = need(t.root, "file")->text;
    ec_codec *codec = NULL;
    const ec_json *one;
    check(ec_codec_read(&t.arena, file.data, file.length, "file", &codec, &error) == EDGECAP_OK,
          "codec: %s", error.message);
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        run_region(&t, one, codec);
    }
    close_topic(&t);
}

void run_regions(const char *folder)
{
    run_languages(folder);
    run_regions2(folder);
}
