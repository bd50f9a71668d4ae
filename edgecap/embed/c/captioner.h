/* captioner.h: what edgecap.h's handle holds, for the files that implement it. */
#ifndef EDGECAP_CAPTIONER_H
#define EDGECAP_CAPTIONER_H

#include "codec.h"
#include "image.h"
#include "regions.h"
#include "session.h"

enum { EC_PROMPT = 2 }; /* <language> <style> */

struct edgecap_captioner {
    edgecap_memory memory;
    ec_arena arena;
    ec_manifest manifest;
    ec_source source;
    const void *mapped; /* of a packed file, with its size */
    size_t mapped_size;
    void *copy; /* of one whose bytes came unaligned, or could not be mapped */
    ec_tokenizer *tokenizer; /* of schema 1 */
    ec_codec *codec;         /* of schema 2, where the model writes captions */
    const char **prompts;    /* their names */
    ec_session *session;
    const char *engine;
    int32_t pad, eos, text;
    int32_t *languages, *styles; /* their tokens */
    ec_locations locations;
    double (*clock)(void);
};

size_t ec_longest_caption(const edgecap_captioner *captioner); /* tokens, the end included */
size_t ec_text_bound(const edgecap_captioner *captioner);      /* bytes, with the null byte */

/* What was generated into the caller's caption; read.c. */
edgecap_status ec_fill_caption(const edgecap_captioner *captioner, const char *language,
                               const ec_placement *placement, const ec_generated *generated,
                               edgecap_caption *caption, edgecap_error *error);

/* Copies what fits into the caller's arrays, where they are; the counts stand in `caption`. False
 * where not all fits. */
bool ec_give_caption(edgecap_caption *caption, const char *text, const char *raw,
                     const edgecap_phrase *phrases, const edgecap_box *boxes,
                     const ec_generated *generated, size_t patches);

/* The image into the session's input, by the bundle's rules. */
edgecap_status ec_place_image(edgecap_captioner *captioner, const edgecap_image *image,
                              ec_placement *placement, edgecap_error *error);

/* Sampling that makes sense; describe.c. */
edgecap_status ec_check_sampling(const edgecap_caption_params *params, edgecap_error *error);

/* Schema 2; caption2.c. */
edgecap_status ec_describe_prompted(edgecap_captioner *captioner, const edgecap_image *image,
                                    const edgecap_caption_params *params, edgecap_caption *caption,
                                    edgecap_error *error);
size_t ec_longest_of_prompts(const edgecap_captioner *captioner);

#endif
