/* edgecap.h: run an edgecap bundle from C. C99, no dependency; the engine is opened at run time.
 *
 *   cc -std=c99 -O2 -o edgecap-caption *.c -lm -ldl        (in this directory)
 *
 *   edgecap_error error;
 *   edgecap_captioner *captioner = edgecap_open("captioner-S-tflite-w8a8", NULL, &error);
 *   edgecap_image image = {pixels, width, height, 3 * width, EDGECAP_RGB, 1};
 *   char text[1024];
 *   edgecap_caption caption = edgecap_caption_init();
 *   caption.text = text; caption.text_capacity = sizeof text;
 *   if (edgecap_describe(captioner, &image, NULL, &caption, &error) == EDGECAP_OK) puts(text);
 *   edgecap_close(captioner);
 *
 * Rules
 *   Memory.  What a function fills belongs to the caller: give arrays and their capacities;
 *            edgecap_info says what is enough for any caption. A captioner allocates when it is
 *            opened, and when beams are used for the first time; only through
 *            edgecap_open_params.memory (the engine's own library aside). A caption allocates
 *            nothing else that outlives the call.
 *   Threads. No global state. One captioner is used by one thread at a time; several captioners
 *            may be used at once, also of one bundle. edgecap_info, _default_params and _init
 *            functions may be called from anywhere.
 *   Errors.  Every function that can fail returns a status, and fills `error` where one is given
 *            (NULL is allowed). Nothing is printed, nothing is left half open; after an error a
 *            captioner can be used again. Codes are those of edgecap/bundle/SPEC.md.
 *   Text.    UTF-8, and always ended by a null byte where there is room for one.
 *   Growth.  Fields are added at the end of structs: take the defaults from the functions here.
 */
#ifndef EDGECAP_H
#define EDGECAP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(EDGECAP_SHARED)
#define EDGECAP_API __declspec(dllexport)
#elif defined(__GNUC__)
#define EDGECAP_API __attribute__((visibility("default")))
#else
#define EDGECAP_API
#endif

#define EDGECAP_VERSION "0.2.0"

typedef enum edgecap_status {
    EDGECAP_OK = 0,
    EDGECAP_INPUT = 1,       /* an argument, image or text that cannot be used */
    EDGECAP_BUNDLE = 2,      /* a bundle that is missing, altered, truncated or foreign */
    EDGECAP_UNSUPPORTED = 3, /* a combination that cannot work */
    EDGECAP_ENGINE = 4,      /* the engine's library is missing, too old, or failed */
    EDGECAP_MEMORY = 5,      /* memory ran out */
    EDGECAP_BUFFER = 6,      /* a caller's buffer is too small; the counts say what is needed */
    EDGECAP_STOPPED = 7      /* a callback stopped it; the caption so far is filled in */
} edgecap_status;

typedef struct edgecap_error {
    edgecap_status status;
    char code[32];     /* stable, such as "bundle.altered"; "" where there is no error */
    char message[224]; /* one line for people */
} edgecap_error;

/* ---- Memory ---- */

/* Both NULL: malloc and free. `allocate` returns NULL where there is no memory, `release` takes
 * NULL. Called by the thread that called edgecap. */
typedef struct edgecap_memory {
    void *(*allocate)(void *user, size_t size);
    void (*release)(void *user, void *block);
    void *user;
} edgecap_memory;

/* ---- Opening a bundle ---- */

typedef struct edgecap_captioner edgecap_captioner;

typedef struct edgecap_open_params {
    const char *engine;  /* "auto" (default), "litert", "tflite" or "onnxruntime" */
    const char *library; /* path of the engine's shared library; NULL: its usual names */
    int32_t threads;     /* of the engine; 1 by default */
    int32_t verify;      /* 1 (default): hash every file; 0: names and sizes alone */
    edgecap_memory memory;
    const struct edgecap_engine *custom; /* an engine of your own, edgecap_engine.h; NULL: none */
} edgecap_open_params;

EDGECAP_API edgecap_open_params edgecap_open_default_params(void);

/* Opens a bundle: a directory, or one packed file (.edgecap), which is mapped and not unpacked.
 * NULL where that fails; `params` NULL: the defaults.
 *
 * onnxruntime from 1.29 on reports its use to its makers. This turns the reports off, but for the
 * one of its start: only ORT_DISABLE_TELEMETRY=1, in the environment of the process before this
 * call, turns off that one as well. A library must not change the environment, so the app does. */
EDGECAP_API edgecap_captioner *edgecap_open(const char *bundle, const edgecap_open_params *params,
                                            edgecap_error *error);
/* A packed bundle that lies in memory, such as an app's asset. The bytes must stay until
 * edgecap_close; where they begin at a multiple of 64 they are not copied. */
EDGECAP_API edgecap_captioner *edgecap_open_bytes(const void *data, size_t size,
                                                  const edgecap_open_params *params,
                                                  edgecap_error *error);
EDGECAP_API void edgecap_close(edgecap_captioner *captioner); /* NULL is allowed */

/* What a captioner is; pointers live as long as it does. */
typedef struct edgecap_info {
    const char *name, *format, *precision, *engine;
    size_t language_count, style_count;
    const char *const *languages, *const *styles;
    int32_t image_size;     /* S: side of the model's input in px */
    int32_t patches;        /* P: attention values per token, a square number */
    int32_t embedding;      /* E */
    int32_t vocabulary;     /* V */
    size_t most_tokens;     /* of a caption */
    size_t most_text_bytes; /* of a caption's text or raw text, null byte included */
    size_t most_boxes;      /* of a caption, and of phrases */
    size_t prompt_count;    /* the default is the first; 0 for a model with languages */
    const char *const *prompts;
    int32_t text_tokens; /* N: tokens of a text to embed at most; 0: it embeds no texts */
    int32_t calibrated;  /* 1: captions have a confidence, and a lowest one may be asked for */
} edgecap_info;

EDGECAP_API edgecap_info edgecap_get_info(const edgecap_captioner *captioner);

/* ---- Images ---- */

typedef enum edgecap_pixels {
    EDGECAP_GREY = 0,
    EDGECAP_GREY_ALPHA = 1,
    EDGECAP_RGB = 2,
    EDGECAP_BGR = 3,
    EDGECAP_RGBA = 4,
    EDGECAP_BGRA = 5
} edgecap_pixels;

/* 8 bits a channel, rows `stride` bytes apart, the upper row first; alpha is not premultiplied.
 * Transparent pixels are laid over the bundle's grey. At most 89,478,485 pixels. */
typedef struct edgecap_image {
    const uint8_t *data;
    int32_t width, height;
    ptrdiff_t stride; /* may be negative: `data` is then the upper row all the same */
    edgecap_pixels format;
    int32_t orientation; /* as in EXIF, 1-8; 1: upright */
} edgecap_image;

/* ---- Captions ---- */

/* A piece of text as soon as it is certain, not null-terminated; joined they are `raw`, less
 * special tokens where a model has prompts. Return 0 to go on, anything else to stop. */
typedef int (*edgecap_on_piece)(void *user, const char *piece, size_t length);

typedef struct edgecap_caption_params {
    const char *language; /* of a model with languages; NULL (default): "en" */
    const char *style;    /* of the same; NULL: "grounded", or "plain" where `boxes` is 0 */
    int32_t boxes;        /* 1 (default): generate boxes */
    int32_t rule;         /* 1 (default): only well-formed boxes */
    int32_t most_tokens;  /* 0 (default): all the model can; else 1 ... , the end included */
    int32_t beams;        /* 1 ... 32; 0 (default): as the model ships, one where it streams */
    int32_t sample;       /* 1: sample tokens; 0 (default): take the most probable */
    double temperature;   /* 0.01 ... 100; 1 by default */
    int32_t top_k;        /* 0 (default): all */
    double top_p;         /* 0 (default): all; else at most 1 */
    uint32_t seed;
    edgecap_on_piece on_piece; /* not with beams */
    void *user;
    const char *prompt; /* one of edgecap_info.prompts; NULL (default): the first */
    uint32_t index;     /* of the image among those drawn with one seed; 0 by default */
    /* Captions of a lower confidence are declined. 0 (default): none is; else up to 1, or
     * EDGECAP_AUTO_CONFIDENCE: as the model's calibration recommends. */
    double min_confidence;
} edgecap_caption_params;

#define EDGECAP_AUTO_CONFIDENCE (-1.0)

EDGECAP_API edgecap_caption_params edgecap_caption_default_params(void);

typedef struct edgecap_box { /* px of the image as displayed, origin in the upper left corner */
    double x0, y0, x1, y1;
    double score;      /* 0-1: geometric mean probability of its tokens */
    double confidence; /* 0-1: it is right; -1: the model is not calibrated for it */
} edgecap_box;

typedef struct edgecap_phrase {
    size_t begin, end;           /* bytes of `text` */
    size_t first_box, box_count; /* in `boxes` */
} edgecap_phrase;

typedef struct edgecap_token {
    int32_t id;
    float score; /* natural log of the probability the model gave it */
} edgecap_token;

/* Give the arrays you want, the others stay NULL with capacity 0; counts are filled in either way,
 * also where a capacity is too small (EDGECAP_BUFFER). Text counts leave out the null byte. */
typedef struct edgecap_caption {
    char *text; /* words alone */
    size_t text_capacity, text_length;
    char *raw; /* with location tokens */
    size_t raw_capacity, raw_length;
    edgecap_phrase *phrases;
    size_t phrase_capacity, phrase_count;
    edgecap_box *boxes;
    size_t box_capacity, box_count;
    edgecap_token *tokens; /* without the end */
    size_t token_capacity, token_count;
    float *attention; /* token_count rows of P values: attention over the image, mean over heads */
    size_t attention_capacity;
    double score;                          /* mean log-probability, the end included */
    int32_t complete;                      /* 0 where the length limit, or a callback, cut it */
    int32_t malformed;                     /* location runs that made no box; 0 under the rule */
    double encode_seconds, decode_seconds; /* 0 unless a clock is set: see edgecap_set_clock */
    double confidence; /* 0-1: the caption is right; -1: the model is not calibrated for it */
    int32_t declined;  /* 1: less sure than asked for, so there are no words and no boxes */
} edgecap_caption;

EDGECAP_API edgecap_caption edgecap_caption_init(void); /* everything NULL and 0 */

/* Captions one image. `params` NULL: the defaults. */
EDGECAP_API edgecap_status edgecap_describe(edgecap_captioner *captioner,
                                            const edgecap_image *image,
                                            const edgecap_caption_params *params,
                                            edgecap_caption *caption, edgecap_error *error);

/* ---- Embeddings ---- */

/* E values of norm 1; images and texts share one space, the dot product ranks. */
EDGECAP_API edgecap_status edgecap_embed_image(edgecap_captioner *captioner,
                                               const edgecap_image *image, float *embedding,
                                               size_t capacity, edgecap_error *error);
EDGECAP_API edgecap_status edgecap_embed_text(edgecap_captioner *captioner, const char *text,
                                              float *embedding, size_t capacity,
                                              edgecap_error *error);

/* The same from the ids of the model's own tokenizer, begin and end included: 1 ... text_tokens. */
EDGECAP_API edgecap_status edgecap_embed_tokens(edgecap_captioner *captioner, const int32_t *tokens,
                                                size_t count, float *embedding, size_t capacity,
                                                edgecap_error *error);

/* ---- Measuring ---- */

/* Seconds on any monotonic clock; NULL takes it away. The core itself reads no clock. */
EDGECAP_API void edgecap_set_clock(edgecap_captioner *captioner, double (*seconds)(void));

#ifdef __cplusplus
}
#endif
#endif
