/* vectors_manifests.c: reading manifests, and the codes of what is refused. */
#include <stdlib.h>
#include <string.h>

#include "manifest.h"
#include "vectors.h"

static void check_manifest(const ec_json *one, const char *data, size_t length)
{
    const ec_json *code = need(one, "code");
    ec_manifest manifest;
    edgecap_error error = {0};
    ec_arena arena;
    edgecap_status status;
    char *exact = malloc(length + 1); /* of its own, so that a checker sees what is read beyond */
    memcpy(exact, data, length);
    ec_arena_init(&arena, &plain_memory);
    status = ec_manifest_read(&arena, exact, length, &manifest, &error);
    if (code->kind == EC_JSON_NULL) {
        check(status == EDGECAP_OK, "manifest, %s: %s %s", text(one, "name"), error.code,
              error.message);
    } else {
        check(status == EDGECAP_BUNDLE && ec_text_is(code->text, error.code),
              "manifest, %s: %s instead of %s (%s)", text(one, "name"), error.code, code->text.data,
              error.message);
    }
    ec_arena_free(&arena);
    free(exact);
}

static char *replaced(char *data, ec_text old, ec_text new_)
{
    char *place = strstr(data, old.data);
    size_t before, rest;
    char *changed;
    if (place == NULL) {
        check(false, "%s is not in the base", old.data);
        return data;
    }
    before = (size_t)(place - data);
    rest = strlen(place + old.length);
    changed = malloc(before + new_.length + rest + 1);
    memcpy(changed, data, before);
    memcpy(changed + before, new_.data, new_.length);
    memcpy(changed + before + new_.length, place + old.length, rest + 1);
    free(data);
    return changed;
}

static size_t decode_base64(const char *from, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int held = 0;
    size_t count = 0;
    for (; *from != '\0' && *from != '='; from++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, *from) - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            to[count++] = (char)(bits >> held);
        }
    }
    return count;
}

static void run_changed(const topic *t)
{
    const char *base = text(t->root, "base");
    const ec_json *one, *pair;
    for (one = need(t->root, "cases")->first; one != NULL; one = one->next) {
        char *data = malloc(strlen(base) + 1);
        strcpy(data, base);
        for (pair = need(one, "replace")->first; pair != NULL; pair = pair->next) {
            data = replaced(data, item(pair, 0)->text, item(pair, 1)->text);
        }
        check_manifest(one, data, strlen(data));
        free(data);
    }
}

void run_manifests(const char *folder)
{
    static const char *const of_schema_2[] = {"manifests2", "manifests_cached", "manifests_crops"};
    topic t = open_topic(folder, "manifests");
    const ec_json *one;
    size_t i;
    run_changed(&t);
    for (one = need(t.root, "files")->first; one != NULL; one = one->next) {
        const char *encoded = text(one, "base64");
        char *data = malloc(strlen(encoded) + 1);
        check_manifest(one, data, decode_base64(encoded, data));
        free(data);
    }
    close_topic(&t);
    for (i = 0; i < sizeof of_schema_2 / sizeof *of_schema_2; i++) {
        t = open_topic(folder, of_schema_2[i]);
        run_changed(&t);
        close_topic(&t);
    }
}
