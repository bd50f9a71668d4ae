/* vectors_containers.c: packed bundles, good and bad. */
#include <stdlib.h>
#include <string.h>

#include "bundle.h"
#include "vectors.h"

static void check_files(const ec_json *one, const ec_container *found, const uint8_t *data)
{
    const ec_json *files = need(one, "files"), *file;
    const char *what = text(one, "what");
    size_t count = 0;
    for (file = files->first; file != NULL; file = file->next, count++) {
        const ec_packed *got = count < found->count ? &found->files[count] : NULL;
        check(got != NULL && ec_text_is(item(file, 0)->text, got->name) &&
                  got->data - data == item(file, 1)->whole &&
                  (int64_t)got->size == item(file, 2)->whole,
              "container, %s: file %lu", what, (unsigned long)count);
    }
    check(count == found->count, "container, %s: %lu files", what, (unsigned long)found->count);
}

/* FIPS 180-4's examples, in pieces of a size, by this processor's instructions and by none. */
static void check_hash(const char *data, size_t length, size_t piece, bool portable,
                       const char *expected)
{
    ec_sha256 hash;
    char hex[65];
    size_t at;
    ec_sha256_begin(&hash);
    hash.mix = portable ? ec_sha256_mix : hash.mix;
    for (at = 0; at < length; at += piece) {
        size_t part = length - at < piece ? length - at : piece;
        ec_sha256_add(&hash, (const uint8_t *)data + at, part);
    }
    ec_sha256_end(&hash, hex);
    check(strcmp(hex, expected) == 0, "SHA-256 in pieces of %lu", (unsigned long)piece);
}

static void run_hashes(void)
{
    static char many[1000000];
    static const size_t pieces[] = {1, 63, 64, 65, 1000, sizeof many};
    size_t i;
    memset(many, 'a', sizeof many);
    for (i = 0; i < 2 * sizeof pieces / sizeof *pieces; i++) {
        bool portable = i % 2 == 1;
        check_hash("abc", 3, pieces[i / 2], portable,
                   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check_hash(many, sizeof many, pieces[i / 2], portable,
                   "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

void run_containers(const char *folder)
{
    topic t = open_topic(folder, "containers");
    const ec_json *one;
    for (one = need(t.root, "cases")->first; one != NULL; one = one->next) {
        size_t length = (size_t)whole(one, "length");
        const ec_json *code = need(one, "code");
        uint8_t *exact = malloc(length + 1); /* of its own: a checker sees what is read beyond */
        ec_container found = {0};
        edgecap_error error = {0};
        edgecap_status status;
        ec_arena arena;
        ec_arena_init(&arena, &plain_memory);
        exact = realloc(exact, length > 0 ? length : 1);
        memcpy(exact, t.bytes + whole(one, "at"), length);
        status = ec_container_read(&arena, exact, length, &found, &error);
        if (code->kind == EC_JSON_NULL) {
            check(status == EDGECAP_OK, "container, %s: %s", text(one, "what"), error.message);
            check_files(one, &found, exact);
        } else {
            check(status == EDGECAP_BUNDLE && ec_text_is(code->text, error.code),
                  "container, %s: %s instead of %s (%s)", text(one, "what"), error.code,
                  code->text.data, error.message);
        }
        ec_arena_free(&arena);
        free(exact);
    }
    run_hashes();
    close_topic(&t);
}
