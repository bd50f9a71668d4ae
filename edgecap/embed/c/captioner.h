/* captioner.h: what edgecap.h's handle holds, for the files that implement it. */
#ifndef EDGECAP_CAPTIONER_H
#define EDGECAP_CAPTIONER_H

#include "image.h"
#include "regions.h"
#include "session.h"

enum { EC_PROMPT = 2 }; /* <language> <style> */

struct edgecap_captioner {
    edgecap_memory memory;
    ec_arena arena;
    ec_manifest manifest;
    ec_tokenizer *tokenizer;
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

#endif
