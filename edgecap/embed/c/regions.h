/* regions.h: ids to words, phrases and boxes; edgecap/runtime/regions.py and mentions.py in C. */
#ifndef EDGECAP_REGIONS_H
#define EDGECAP_REGIONS_H

#include "codec.h"
#include "image.h"
#include "specs.h"

typedef struct ec_view { /* where boxes are written: the input, and the image in it */
    const ec_codec *codec;
    const ec_regions_spec *spec;
    int32_t height, width; /* of the input in px */
    ec_placement placement;
    const char *language; /* as whose phrases begin; NULL: at a mark, and the text is stripped */
} ec_view;

typedef struct ec_found {
    ec_text text; /* without white space around it; lies in `block` */
    edgecap_phrase *phrases;
    edgecap_box *boxes; /* in px of the image */
    size_t phrase_count, box_count;
    int32_t malformed;
    char *block;
} ec_found;

/* Without regions in the bundle: the words alone. False: no memory; the caller closes either way.
 */
bool ec_find_regions(const edgecap_memory *memory, const ec_view *view, const edgecap_token *tokens,
                     size_t count, ec_found *found);
void ec_found_close(const edgecap_memory *memory, ec_found *found);

/* phrases.c: where the phrase that ends `text` begins, in bytes; `language` NULL: of any. */
size_t ec_phrase_start(ec_text text, const char *language);

#endif
