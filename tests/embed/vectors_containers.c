/* vectors_containers.c: packed bundles, good and bad. */
#include <stdlib.h>
#include <string.h>

#include "container.h"
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
    close_topic(&t);
}
