/* c_worker.c: the process of the bench that measures the C core; see protocol.py for the messages.
 *
 *   c_worker BUNDLE LIBRARY THREADS IMAGE.ppm...
 *
 * It is linked with the core and its PNM reader. Requests come from the bench alone, one JSON
 * object a line, so numbers are found by their keys.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edgecap.h"
#include "pnm.h"

enum { MOST_SAMPLES = 64, MOST_LINE = 4096, STABLE_RUNS = 3, MOST_WARM_RUNS = 15 };

typedef struct times {
    double wall, cpu; /* ms */
} times;

typedef struct series {
    times values[MOST_SAMPLES];
    int count;
} series;

static edgecap_captioner *captioner;
static edgecap_info info;
static edgecap_caption caption;
static float *embedding;
static const char **images;
static int image_count, next_image, next_paused, next_encoded;

static double read_clock(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static times now(void)
{
    times t;
    t.wall = read_clock(CLOCK_MONOTONIC);
    t.cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    return t;
}

static times since(times began)
{
    times t = now();
    t.wall -= began.wall;
    t.cpu -= began.cpu;
    return t;
}

static void print_text(const char *text)
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

/* Tells the bench why, and ends. */
static void fail(const edgecap_error *error)
{
    char line[sizeof error->code + sizeof error->message + 4];
    snprintf(line, sizeof line, "[%s] %s", error->code, error->message);
    printf("{\"error\": ");
    print_text(line);
    printf("}\n");
    exit(2);
}

static void describe(const char *path, int most_tokens)
{
    edgecap_caption_params params = edgecap_caption_default_params();
    edgecap_image image;
    edgecap_error error;
    params.most_tokens = most_tokens;
    if (info.prompt_count == 0 && info.language_count > 0) {
        params.language = info.languages[0];
    }
    if (edgecap_read_image(path, &image, &error) != EDGECAP_OK ||
        edgecap_describe(captioner, &image, &params, &caption, &error) != EDGECAP_OK) {
        fail(&error);
    }
    free((void *)image.data);
}

static void add(series *all, times t)
{
    if (all->count < MOST_SAMPLES) {
        all->values[all->count++] = t;
    }
}

static void print_series(const char *key, const series *all, int *written)
{
    int i;
    if (all->count == 0) {
        return;
    }
    printf("%s\"%s\": {\"wall\": [", (*written)++ ? ", " : "", key);
    for (i = 0; i < all->count; i++) {
        printf("%s%.6f", i ? ", " : "", all->values[i].wall);
    }
    printf("], \"cpu\": [");
    for (i = 0; i < all->count; i++) {
        printf("%s%.6f", i ? ", " : "", all->values[i].cpu);
    }
    printf("]}");
}

/* The number after "key": in a line, or `otherwise`. */
static long number(const char *line, const char *key, long otherwise)
{
    char quoted[64];
    const char *found;
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    found = strstr(line, quoted);
    return found ? strtol(found + strlen(quoted), NULL, 10) : otherwise;
}

static void encode(series *all, long repeats)
{
    edgecap_image image;
    edgecap_error error;
    for (; repeats > 0; repeats--) {
        times began;
        if (edgecap_read_image(images[next_encoded], &image, &error) != EDGECAP_OK) {
            fail(&error);
        }
        next_encoded = (next_encoded + 1) % image_count;
        began = now();
        if (edgecap_embed_image(captioner, &image, embedding, (size_t)info.embedding, &error) !=
            EDGECAP_OK) {
            fail(&error);
        }
        add(all, since(began));
        free((void *)image.data);
    }
}

static void round_of(const char *line)
{
    series encodings = {0}, firsts = {0}, tokens = {0}, wholes = {0}, paused = {0};
    const struct timespec pause = {0, 200 * 1000 * 1000}; /* PAUSE_S */
    long i;
    int written = 0;
    if (info.embedding > 0) {
        encode(&encodings, number(line, "encode_image_ms", 0));
    }
    for (i = number(line, "caption_ms", 0); i > 0; i--) {
        times began = now(), first, whole, further;
        long steps;
        describe(images[next_image], 1);
        first = since(began);
        began = now();
        describe(images[next_image], 0);
        whole = since(began);
        next_image = (next_image + 1) % image_count;
        add(&firsts, first);
        add(&wholes, whole);
        steps = (long)caption.token_count + (caption.complete ? 1 : 0) - 1;
        if (steps > 0) {
            further.wall = (whole.wall - first.wall) / (double)steps;
            further.cpu = (whole.cpu - first.cpu) / (double)steps;
            add(&tokens, further);
        }
    }
    for (i = number(line, "caption_after_pause_ms", 0); i > 0; i--) {
        times began;
        nanosleep(&pause, NULL);
        began = now();
        describe(images[next_paused], 0);
        add(&paused, since(began));
        next_paused = (next_paused + 1) % image_count;
    }
    printf("{\"done\": {");
    print_series("encode_image_ms", &encodings, &written);
    print_series("first_token_ms", &firsts, &written);
    print_series("token_ms", &tokens, &written);
    print_series("caption_ms", &wholes, &written);
    print_series("caption_after_pause_ms", &paused, &written);
    printf("}}\n");
}

static double apart(double a, double b)
{
    return a > b ? a - b : b - a;
}

/* The same rule as worker.py: the last three within a tenth of their median. */
static void warm(void)
{
    double last[STABLE_RUNS] = {0};
    int runs = 0, stable = 0;
    while (runs < MOST_WARM_RUNS && !stable) {
        times began = now();
        double low, high, middle;
        describe(images[0], 0);
        last[runs++ % STABLE_RUNS] = since(began).cpu;
        low = last[0] < last[1] ? last[0] : last[1];
        high = last[0] < last[1] ? last[1] : last[0];
        middle = last[2] < low ? low : last[2] > high ? high : last[2];
        stable = runs >= STABLE_RUNS && apart(last[0], middle) <= 0.1 * middle &&
                 apart(last[1], middle) <= 0.1 * middle && apart(last[2], middle) <= 0.1 * middle;
    }
    printf("{\"done\": {\"runs\": %d}}\n", runs);
}

/* The core captions one image at a time. */
static void batch(long size)
{
    times began = now();
    long i;
    for (i = 0; i < size; i++) {
        describe(images[i % image_count], 0);
    }
    began = since(began);
    printf("{\"done\": {\"wall\": %.6f, \"cpu\": %.6f}}\n", began.wall, began.cpu);
}

static double status_mb(const char *key)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    double found = 0;
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            found = strtod(line + strlen(key), NULL) / 1024;
        }
    }
    if (status) {
        fclose(status);
    }
    return found;
}

static void captions(void)
{
    size_t *counts = calloc((size_t)image_count, sizeof *counts);
    int i;
    if (counts == NULL) {
        exit(70);
    }
    printf("{\"done\": {\"captions\": [");
    for (i = 0; i < image_count; i++) {
        describe(images[i], 0);
        counts[i] = caption.token_count;
        printf("%s", i ? ", " : "");
        print_text(caption.raw);
    }
    printf("], \"tokens\": [");
    for (i = 0; i < image_count; i++) {
        printf("%s%lu", i ? ", " : "", (unsigned long)counts[i]);
    }
    printf("]}}\n");
    free(counts);
}

static void answer(const char *line)
{
    if (strstr(line, "\"do\": \"round\"")) {
        round_of(line);
    } else if (strstr(line, "\"do\": \"warm\"")) {
        warm();
    } else if (strstr(line, "\"do\": \"batch\"")) {
        batch(number(line, "size", 1));
    } else if (strstr(line, "\"do\": \"memory\"")) {
        printf("{\"done\": {\"peak_rss_mb\": %.3f, \"steady_rss_mb\": %.3f}}\n",
               status_mb("VmHWM:"), status_mb("VmRSS:"));
    } else if (strstr(line, "\"do\": \"captions\"")) {
        captions();
    } else {
        printf("{\"done\": {}}\n"); /* accuracy is measured in Python */
    }
}

int main(int argc, char **argv)
{
    edgecap_open_params params = edgecap_open_default_params();
    edgecap_error error;
    static char line[MOST_LINE];
    if (argc < 5) {
        fprintf(stderr, "usage: c_worker BUNDLE LIBRARY THREADS IMAGE.ppm...\n");
        return 2;
    }
    params.library = argv[2];
    params.threads = (int32_t)strtol(argv[3], NULL, 10);
    params.verify = 0; /* as the Python runtime does by default */
    images = (const char **)(argv + 4);
    image_count = argc - 4;
    captioner = edgecap_open(argv[1], &params, &error);
    if (captioner == NULL) {
        fail(&error);
    }
    info = edgecap_get_info(captioner);
    caption = edgecap_caption_init();
    caption.text_capacity = caption.raw_capacity = info.most_text_bytes;
    caption.text = malloc(info.most_text_bytes);
    caption.raw = malloc(info.most_text_bytes);
    embedding = malloc(((size_t)info.embedding + 1) * sizeof *embedding);
    if (caption.text == NULL || caption.raw == NULL || embedding == NULL) {
        return 70;
    }
    describe(images[0], 0);
    printf("{\"ready\": {\"backend\": \"C core on %s\", \"first_caption\": ", info.engine);
    print_text(caption.text);
    printf("}}\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        answer(line);
        fflush(stdout);
    }
    edgecap_close(captioner);
    return 0;
}
