/* faults.c: memory that runs out at every single allocation, of opening and of
 * every call.
 *
 *   faults BUNDLE LIBRARY: 0 where each failure was returned, nothing was
 * leaked, and the captioner worked again afterwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgecap.h"

typedef struct pool {
    long until; /* allocations until one fails, negative: none does */
    long taken, held;
} pool;

static void *allocate(void *user, size_t size)
{
    pool *p = user;
    p->taken++;
    if (p->until >= 0 && p->until-- == 0) {
        return NULL;
    }
    p->held++;
    return malloc(size);
}

static void release(void *user, void *block)
{
    if (block != NULL) {
        ((pool *)user)->held--;
        free(block);
    }
}

static uint8_t pixels[20 * 31 * 3];
static char text[4096];
static float numbers[8192];

static edgecap_captioner *open_bundle(char **arguments, pool *p, edgecap_error *error)
{
    edgecap_open_params params = edgecap_open_default_params();
    params.library = arguments[2];
    params.memory.allocate = allocate;
    params.memory.release = release;
    params.memory.user = p;
    return edgecap_open(arguments[1], &params, error);
}

static int ignore(void *user, const char *piece, size_t length)
{
    (void)user, (void)piece, (void)length;
    return 0;
}

enum { WORKS = 7 };

static edgecap_status work(int kind, edgecap_captioner *captioner, edgecap_error *error)
{
    edgecap_image image = {pixels, 20, 31, 60, EDGECAP_RGB, 6};
    edgecap_caption_params params = edgecap_caption_default_params();
    edgecap_caption caption = edgecap_caption_init();
    edgecap_info info = edgecap_get_info(captioner);
    static const int32_t tokens[] = {1, 2, 3};
    caption.text = text;
    caption.text_capacity = sizeof text;
    params.most_tokens = 8;
    if (info.patches > 0 && (kind == 1 || kind == 2)) { /* where there is attention to give */
        caption.attention = numbers;
        caption.attention_capacity = sizeof numbers / sizeof *numbers;
    }
    switch (kind) {
    case 0:
        params.on_piece = ignore;
        return edgecap_describe(captioner, &image, &params, &caption, error);
    case 1:
        params.sample = 1;
        return edgecap_describe(captioner, &image, &params, &caption, error);
    case 2:
        params.beams = 3;
        return edgecap_describe(captioner, &image, &params, &caption, error);
    case 3:
        return edgecap_embed_image(captioner, &image, numbers, 8192, error);
    case 4:
        return edgecap_embed_text(captioner, "a do\xCC\x81g and an e\xCC\x81l", numbers, 8192,
                                  error);
    case 5:
        return edgecap_embed_tokens(captioner, tokens, 3, numbers, 8192, error);
    default:
        if (info.prompt_count == 0) {
            return EDGECAP_UNSUPPORTED;
        }
        params.prompt = info.prompts[info.prompt_count - 1];
        params.beams = 2;
        return edgecap_describe(captioner, &image, &params, &caption, error);
    }
}

/* What this bundle's model can be asked, tried on a captioner of its own: what is taken at the first
 * use of a function must be able to fail, too. */
static int find_works(char **arguments, int can[WORKS], edgecap_error *error)
{
    pool p = {-1, 0, 0};
    edgecap_captioner *captioner = open_bundle(arguments, &p, error);
    int kind, works = 0;
    for (kind = 0; kind < WORKS; kind++) {
        can[kind] = work(kind, captioner, error) == EDGECAP_OK;
        works += can[kind];
    }
    edgecap_close(captioner);
    return works;
}

static int complain(const char *what, int kind, long at, const edgecap_error *error)
{
    printf("%s: work %d, allocation %ld: %d [%s] %s\n", what, kind, at, (int)error->status,
           error->code, error->message);
    return 1;
}

int main(int count, char **arguments)
{
    edgecap_error error;
    long at, opening, failures = 0;
    int kind, works, can[WORKS];
    pool p = {-1, 0, 0};
    edgecap_captioner *captioner;
    if (count != 3) {
        return 2;
    }
    captioner = open_bundle(arguments, &p, &error);
    if (captioner == NULL) {
        return complain("opening", -1, -1, &error);
    }
    opening = p.taken;
    works = find_works(arguments, can, &error);
    for (kind = 0; kind < WORKS; kind++) {
        for (at = 0; can[kind]; at++, failures++) {
            edgecap_status status;
            p.until = at;
            status = work(kind, captioner, &error);
            if (p.until >= 0) {
                if (status != EDGECAP_OK) {
                    return complain("at last", kind, at, &error);
                }
                break; /* it took fewer than `at`: every one of them has failed once */
            }
            if (status != EDGECAP_MEMORY || error.status != EDGECAP_MEMORY ||
                strcmp(error.code, "memory.exhausted") != 0) {
                return complain("not told", kind, at, &error);
            }
        }
    }
    p.until = -1;
    edgecap_close(captioner);
    if (p.held != 0) {
        printf("%ld blocks were leaked\n", p.held);
        return 1;
    }
    for (at = 0; at < opening; at++, failures++) {
        p.until = at;
        captioner = open_bundle(arguments, &p, &error);
        if (captioner != NULL || error.status != EDGECAP_MEMORY || p.held != 0) {
            printf("%ld blocks held\n", p.held);
            return complain("opening", -1, at, &error);
        }
    }
    printf("%ld failures of %d works\n", failures, works);
    return 0;
}
