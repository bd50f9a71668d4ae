/* regions.h: tokens to words, phrases and boxes, as edgecap/runtime/mentions.py reads them. */
#ifndef EDGECAP_REGIONS_H
#define EDGECAP_REGIONS_H

#include "tokenizer.h"

typedef struct ec_locations { /* ids of the edges of boxes */
    int32_t first, bins, bin_px;
} ec_locations;

bool ec_is_location(const ec_locations *locations, int32_t id);

/* Tokens of a caption, and where to put what they say. */
typedef struct ec_reading {
    const ec_tokenizer *tokenizer;
    const ec_locations *locations;
    const char *language;
    const edgecap_token *tokens;
    size_t count;
    const char *text; /* words alone, as ec_words writes them */
    size_t text_length;
    edgecap_phrase *phrases;
    size_t phrase_capacity, phrase_count;
    edgecap_box *boxes; /* in px of the model's input */
    size_t box_capacity, box_count;
    int32_t malformed;
} ec_reading;

/* The words of the first `words` tokens that are no locations (SIZE_MAX: all). `pending` has a
 * byte for each token. */
void ec_words(const ec_tokenizer *tokenizer, const ec_locations *locations,
              const edgecap_token *tokens, size_t count, size_t words, uint8_t *pending,
              ec_writer *writer);

/* Counts go on where a capacity is too small. False: no memory. */
bool ec_read_regions(const edgecap_memory *memory, ec_reading *reading);

/* Where the phrase that ends `text` begins, in bytes. */
size_t ec_phrase_start(ec_text text, const char *language);

#endif
