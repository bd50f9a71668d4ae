/* cli.c: edgecap-caption, captions of image files from a bundle.
 *
 *   edgecap-caption [options] BUNDLE IMAGE...
 *
 * Text on standard output, one line an image; --json gives one object an image instead. Exit codes:
 * 0 done, 1 an image failed and the others were done, 2 nothing could be done.
 */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if !defined(_WIN32)
#include <fcntl.h>
#include <unistd.h>
#endif

#include "cli_options.h"
#include "pnm.h"

static const char USAGE[] =
    "usage: edgecap-caption [options] BUNDLE IMAGE...\n"
    "  --lang LANG        language of the caption (en)\n"
    "  --style STYLE      style of the caption (grounded, or plain with --no-boxes)\n"
    "  --prompt NAME      prompt of a model with named prompts (its first)\n"
    "  --no-boxes         words alone\n"
    "  --no-rule          do not restrict the output to well-formed boxes\n"
    "  --max-tokens N     at most so many tokens\n"
    "  --beams N          search among N captions\n"
    "  --sample           sample tokens: --temperature T, --top-k N, --top-p P, --seed N\n"
    "  --min-confidence X decline captions of a lower confidence, 0-1; auto: as calibrated\n"
    "  --stream           print text as it is generated\n"
    "  --json             one JSON object an image\n"
    "  --embed            print the image's embedding instead of a caption\n"
    "  --text TEXT        print a text's embedding; no image is needed\n"
    "  --raw FORMAT WxH   images are raw bytes: grey, rgb, bgr, rgba or bgra\n"
    "  --orientation N    as in EXIF, of every image\n"
    "  --engine NAME      litert, tflite or onnxruntime\n"
    "  --library PATH     the engine's shared library\n"
    "  --threads N        threads of the engine (1)\n"
    "  --no-verify        do not hash the bundle's files\n"
    "  --times N          repeat each image N times and print the times on standard error\n";

static double seconds(void)
{
#if defined(_WIN32)
    return (double)clock() / CLOCKS_PER_SEC;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#endif
}

static int fail(const char *what, const edgecap_error *error)
{
    fprintf(stderr, "edgecap-caption: %s%s[%s] %s\n", what, *what != '\0' ? ": " : "", error->code,
            error->message);
    return 2;
}

static void print_json_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static void print_confidence(double confidence)
{
    if (confidence < 0) {
        printf("null");
    } else {
        printf("%.6f", confidence);
    }
}

static void print_json(const char *path, const edgecap_caption *c)
{
    size_t i, b;
    printf("{\"image\": ");
    print_json_text(path);
    printf(", \"text\": ");
    print_json_text(c->text);
    printf(", \"raw\": ");
    print_json_text(c->raw);
    printf(", \"confidence\": ");
    print_confidence(c->confidence);
    printf(", \"declined\": %s", c->declined ? "true" : "false");
    printf(", \"score\": %.6f, \"complete\": %s, \"malformed\": %ld, \"tokens\": [", c->score,
           c->complete ? "true" : "false", (long)c->malformed);
    for (i = 0; i < c->token_count; i++) {
        printf("%s%ld", i ? ", " : "", (long)c->tokens[i].id);
    }
    printf("], \"scores\": [");
    for (i = 0; i < c->token_count; i++) {
        printf("%s%.6f", i ? ", " : "", c->tokens[i].score);
    }
    printf("], \"phrases\": [");
    for (i = 0; i < c->phrase_count; i++) {
        const edgecap_phrase *p = &c->phrases[i];
        printf("%s{\"bytes\": [%lu, %lu], \"boxes\": [", i ? ", " : "", (unsigned long)p->begin,
               (unsigned long)p->end);
        for (b = p->first_box; b < p->first_box + p->box_count; b++) {
            const edgecap_box *box = &c->boxes[b];
            printf("%s[%.9g, %.9g, %.9g, %.9g]", b > p->first_box ? ", " : "", box->x0, box->y0,
                   box->x1, box->y1);
        }
        printf("], \"scores\": [");
        for (b = p->first_box; b < p->first_box + p->box_count; b++) {
            printf("%s%.6f", b > p->first_box ? ", " : "", c->boxes[b].score);
        }
        printf("], \"confidences\": [");
        for (b = p->first_box; b < p->first_box + p->box_count; b++) {
            printf("%s", b > p->first_box ? ", " : "");
            print_confidence(c->boxes[b].confidence);
        }
        printf("]}");
    }
    printf("]}\n");
}

static void print_text(const edgecap_caption *c, int streamed)
{
    if (c->declined) {
        printf("%s[declined, confidence %.2f]\n", streamed ? "\n" : "", c->confidence);
    } else {
        puts(streamed ? "" : c->text);
    }
}

static void print_embedding(const float *values, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        printf("%s%.9g", i ? " " : "", values[i]);
    }
    putchar('\n');
}

static int on_piece(void *user, const char *piece, size_t length)
{
    (void)user;
    fwrite(piece, 1, length, stdout);
    fflush(stdout);
    return 0;
}

/* ---- Work ---- */

static int raw_channels(const char *name, edgecap_pixels *format)
{
    static const char *const names[] = {"grey", "grey_alpha", "rgb", "bgr", "rgba", "bgra"};
    static const int channels[] = {1, 2, 3, 3, 4, 4};
    int i;
    for (i = 0; i < 6; i++) {
        if (strcmp(names[i], name) == 0) {
            *format = (edgecap_pixels)i;
            return channels[i];
        }
    }
    return 0;
}

static edgecap_status read_raw(const ec_options *o, const char *path, edgecap_image *image,
                               edgecap_error *error)
{
    int channels = raw_channels(o->raw_format, &image->format);
    size_t count;
    FILE *file;
    uint8_t *data;
    memset(error, 0, sizeof *error);
    error->status = EDGECAP_INPUT;
    strcpy(error->code, "image.unreadable");
    strcpy(error->message, "it does not hold raw pixels of the given format and size.");
    if (channels == 0 || o->width < 1 || o->height < 1 || o->width > 100000000 / o->height) {
        return EDGECAP_INPUT;
    }
    count = (size_t)channels * (size_t)o->width * (size_t)o->height;
    data = malloc(count);
    file = data != NULL ? fopen(path, "rb") : NULL;
    if (file == NULL || fread(data, 1, count, file) != count || fgetc(file) != EOF) {
        if (file != NULL) {
            fclose(file);
        }
        free(data);
        return EDGECAP_INPUT;
    }
    fclose(file);
    image->data = data;
    image->width = (int32_t)o->width;
    image->height = (int32_t)o->height;
    image->stride = (ptrdiff_t)channels * image->width;
    image->orientation = 1;
    return EDGECAP_OK;
}

typedef struct buffers { /* enough for any caption of a bundle */
    edgecap_caption caption;
    float *embedding;
    size_t embedding_count;
} buffers;

static int make_buffers(const edgecap_captioner *captioner, buffers *b)
{
    edgecap_info info = edgecap_get_info(captioner);
    memset(b, 0, sizeof *b);
    b->caption.text_capacity = b->caption.raw_capacity = info.most_text_bytes;
    b->caption.phrase_capacity = b->caption.box_capacity = info.most_boxes;
    b->caption.token_capacity = info.most_tokens;
    b->caption.text = malloc(info.most_text_bytes);
    b->caption.raw = malloc(info.most_text_bytes);
    b->caption.phrases = calloc(info.most_boxes + 1, sizeof *b->caption.phrases);
    b->caption.boxes = calloc(info.most_boxes + 1, sizeof *b->caption.boxes);
    b->caption.tokens = calloc(info.most_tokens + 1, sizeof *b->caption.tokens);
    b->embedding_count = (size_t)info.embedding;
    b->embedding = calloc(b->embedding_count + 1, sizeof *b->embedding);
    return b->caption.text != NULL && b->caption.raw != NULL && b->caption.phrases != NULL &&
           b->caption.boxes != NULL && b->caption.tokens != NULL && b->embedding != NULL;
}

static void free_buffers(buffers *b)
{
    free(b->caption.text);
    free(b->caption.raw);
    free(b->caption.phrases);
    free(b->caption.boxes);
    free(b->caption.tokens);
    free(b->embedding);
}

static void tell_times(const edgecap_caption *c)
{
    double steps = (double)(c->token_count + 2); /* prompt and all tokens but a last <eos> */
    fprintf(stderr, "encode %.2f ms, step %.3f ms\n", c->encode_seconds * 1e3,
            c->decode_seconds * 1e3 / steps);
}

static edgecap_status caption_once(edgecap_captioner *captioner, const ec_options *o,
                                   const edgecap_image *image, buffers *b, edgecap_error *error)
{
    return o->embed ? edgecap_embed_image(captioner, image, b->embedding, b->embedding_count, error)
                    : edgecap_describe(captioner, image, &o->caption, &b->caption, error);
}

static int caption_file(edgecap_captioner *captioner, ec_options *o, const char *path, buffers *b)
{
    edgecap_error error;
    edgecap_image image;
    int i;
    edgecap_status status = o->raw_format != NULL ? read_raw(o, path, &image, &error)
                                                  : edgecap_read_image(path, &image, &error);
    if (status != EDGECAP_OK) {
        return fail(path, &error);
    }
    image.orientation = o->orientation ? o->orientation : image.orientation;
    for (i = 0; i < o->times || i == 0; i++) {
        status = caption_once(captioner, o, &image, b, &error);
        if (status == EDGECAP_OK && o->times > 0) {
            tell_times(&b->caption);
        }
    }
    free((void *)image.data);
    if (status != EDGECAP_OK) {
        return fail(path, &error);
    }
    if (o->embed) {
        print_embedding(b->embedding, b->embedding_count);
    } else if (o->json) {
        print_json(path, &b->caption);
    } else {
        print_text(&b->caption, o->stream);
    }
    return 0;
}

/* Engines write a line or two of their own; it is theirs to be hidden, not the core's. */
static edgecap_captioner *open_quietly(const ec_options *o, edgecap_error *error)
{
    edgecap_captioner *captioner;
#if defined(_WIN32)
    captioner = edgecap_open(o->bundle, &o->open, error);
#else
    int null = open("/dev/null", O_WRONLY), kept = dup(2);
    fflush(stderr);
    if (null >= 0 && kept >= 0) {
        dup2(null, 2);
    }
    captioner = edgecap_open(o->bundle, &o->open, error);
    if (null >= 0 && kept >= 0) {
        dup2(kept, 2);
    }
    close(null);
    close(kept);
#endif
    return captioner;
}

static int run(ec_options *o, const char *const *paths, int count)
{
    edgecap_error error;
    edgecap_captioner *captioner;
    buffers b;
    double begin = seconds();
    int failed = 0, i;
    captioner = open_quietly(o, &error);
    if (captioner == NULL) {
        return fail("", &error);
    }
    if (o->times > 0) {
        fprintf(stderr, "load %.1f ms\n", (seconds() - begin) * 1e3);
    }
    edgecap_set_clock(captioner, seconds);
    if (!make_buffers(captioner, &b)) {
        fprintf(stderr, "edgecap-caption: memory ran out\n");
        failed = count + 1;
    }
    if (failed == 0 && o->text != NULL) {
        if (edgecap_embed_text(captioner, o->text, b.embedding, b.embedding_count, &error) !=
            EDGECAP_OK) {
            failed = fail("--text", &error);
        } else {
            print_embedding(b.embedding, b.embedding_count);
        }
    }
    for (i = 0; i < count && failed <= count; i++) {
        o->caption.index = (uint32_t)i;
        failed += caption_file(captioner, o, paths[i], &b) != 0;
    }
    free_buffers(&b);
    edgecap_close(captioner);
    return failed == 0 ? 0 : failed < count ? 1 : 2;
}

int main(int count, char **arguments)
{
    const char *const *given = (const char *const *)arguments;
    ec_options o;
    int i = 1;
#if !defined(_WIN32)
    (void)setenv("ORT_DISABLE_TELEMETRY", "1", 0); /* see edgecap_open */
#endif
    memset(&o, 0, sizeof o);
    o.open = edgecap_open_default_params();
    o.caption = edgecap_caption_default_params();
    while (i < count && strncmp(given[i], "--", 2) == 0) {
        int taken;
        if (strcmp(given[i], "--help") == 0) {
            fputs(USAGE, stdout);
            return 0;
        }
        taken = ec_read_option(&o, given[i], given + i + 1, count - i - 1);
        if (taken <= 0) {
            fprintf(stderr, "edgecap-caption: %s %s\n",
                    taken == 0 ? "unknown option" : "no value that fits", given[i]);
            return 2;
        }
        i += taken;
    }
    if (i >= count || (i + 1 >= count && o.text == NULL)) {
        fputs(USAGE, stderr);
        return 2;
    }
    o.bundle = given[i];
    if (o.stream && !o.json) {
        o.caption.on_piece = on_piece;
    }
    return run(&o, given + i + 1, count - i - 1);
}
