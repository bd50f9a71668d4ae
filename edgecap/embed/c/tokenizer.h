/* tokenizer.h: byte-fallback BPE from a tokenizer.json; the rules stand in bundle/SPEC.md. */
#ifndef EDGECAP_TOKENIZER_H
#define EDGECAP_TOKENIZER_H

#include "core.h"

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

/* The text of ids, token by token: what is certain is written, single bytes wait. */
typedef struct ec_decoder {
    const ec_tokenizer *tokenizer;
    ec_writer *writer;
    bool skip_special, begun;
    uint8_t *pending; /* one byte for each id that is added at most */
    size_t pending_count;
} ec_decoder;

void ec_decoder_init(ec_decoder *decoder, const ec_tokenizer *tokenizer, ec_writer *writer,
                     bool skip_special, uint8_t *pending);
bool ec_decoder_add(ec_decoder *decoder, int32_t id); /* true: a byte, which may wait */
void ec_decoder_end(ec_decoder *decoder);             /* what waits is written */

#endif
