/* tokenizer.h: byte-fallback BPE from a tokenizer.json; the rules stand in bundle/SPEC.md. */
#ifndef EDGECAP_TOKENIZER_H
#define EDGECAP_TOKENIZER_H

#include "codec.h"

typedef struct ec_tokenizer ec_tokenizer;

/* Codes: bundle.json, bundle.duplicate_key, tokenizer.unsupported, tokenizer.token. Lives in
 * `arena`; `data` is not kept. */
edgecap_status ec_tokenizer_read(ec_arena *arena, const char *data, size_t length,
                                 const char *where, ec_tokenizer **tokenizer, edgecap_error *error);

int32_t ec_tokenizer_size(const ec_tokenizer *tokenizer);
size_t ec_tokenizer_longest(const ec_tokenizer *tokenizer); /* bytes of a token's text */
edgecap_status ec_tokenizer_id(const ec_tokenizer *tokenizer, const char *token, int32_t *id,
                               edgecap_error *error); /* tokenizer.token where there is none */

/* Ids of valid UTF-8, with a space before it; they lie in `arena`. */
edgecap_status ec_tokenizer_encode(const ec_tokenizer *tokenizer, ec_arena *arena, ec_text text,
                                   bool allow_special, int32_t **ids, size_t *count,
                                   edgecap_error *error);

/* What turns the ids back into text; its tokens are the tokenizer's. */
edgecap_status ec_tokenizer_codec(const ec_tokenizer *tokenizer, ec_arena *arena, ec_codec **codec,
                                  edgecap_error *error);

#endif
