/* captioner.h: what edgecap.h's handle holds, for the files that implement it. */
#ifndef EDGECAP_CAPTIONER_H
#define EDGECAP_CAPTIONER_H

#include "confidence.h"
#include "session.h"
#include "tokenizer.h"

struct edgecap_captioner {
    edgecap_memory memory;
    ec_arena arena;
    ec_manifest manifest;
    ec_source source;
    const void *mapped; /* of a packed file, with its size */
    size_t mapped_size;
    void *copy;                  /* of one whose bytes came unaligned, or could not be mapped */
    ec_codec *codec;             /* ids to text; NULL where the model writes no captions */
    ec_tokenizer *tokenizer;     /* texts to ids, of a model with languages; NULL of others */
    const char **prompts;        /* their names, of a model without languages */
    ec_calibration *calibration; /* NULL: none */
    ec_session *session;
    const char *engine;
    double (*clock)(void);
};

size_t ec_longest_caption(const edgecap_captioner *captioner); /* tokens, the end included */

/* vocabulary.c: opens codec and tokenizer, and upgrades what schema 1 says with names. */
edgecap_status ec_open_vocabulary(edgecap_captioner *captioner, edgecap_error *error);

typedef struct ec_asked { /* of one caption, checked */
    ec_request request;
    ec_sampling sampling;
    const char *language, *style;   /* NULL and the prompt's name for a model with prompts */
    const ec_caption_weights *sure; /* NULL: captions have no confidence */
    double least;                   /* the lowest confidence that is not declined */
} ec_asked;

/* request.c. `asked` must stay where it is. */
edgecap_status ec_settle_request(const edgecap_captioner *captioner,
                                 const edgecap_caption_params *params, ec_asked *asked,
                                 edgecap_error *error);

/* encode.c: the image, by the bundle's rules and through its encoder. `*seconds`: of the latter, by
 * the captioner's clock. */
edgecap_status ec_encode_image(edgecap_captioner *captioner, const edgecap_image *image,
                               ec_placement *placement, double *seconds, edgecap_error *error);
double ec_now(const edgecap_captioner *captioner); /* 0 without a clock */

#endif
