/* codec.h: ids to text in four tokenizer families, all at once or as they come.
 *
 * edgecap/bundle/text_spec.py is the file, edgecap/runtime/text the rules.
 */
#ifndef EDGECAP_CODEC_H
#define EDGECAP_CODEC_H

#include "typed.h"

enum { EC_CODEC_MOST_BYTES = 64 << 20 };

typedef enum ec_family { EC_BYTE_FALLBACK, EC_BYTE_LEVEL, EC_WORDPIECE, EC_METASPACE } ec_family;

typedef struct ec_codec {
    ec_family family;
    ec_text *tokens; /* by id; data NULL: none */
    uint8_t *special;
    int32_t size;
    size_t longest; /* bytes of a token */
    ec_text space, prefix;
    int32_t strip;
    bool drop_first, clean_tokens, clean_up;
} ec_codec;

/* tokenizer.unsupported, beside those of typed.h and json.h. Lives in `arena`. */
edgecap_status ec_codec_read(ec_arena *arena, const char *data, size_t length, const char *where,
                             ec_codec **codec, edgecap_error *error);

/* Bytes that a text of so many ids takes at most, the null byte included. */
size_t ec_codec_bound(const ec_codec *codec, size_t ids);

/* A text that grows; what `out` holds is settled. */
typedef struct ec_speller {
    const ec_codec *codec;
    bool skip_special, begun;
    int32_t strip;
    char *raw; /* before clean-up: settled up to `cleaned` */
    size_t raw_length, cleaned;
    uint8_t *run; /* bytes of byte_fallback that wait, or half a character of byte_level */
    size_t run_count;
    char *out;
    size_t length;
    char *block; /* all of it */
} ec_speller;

/* Room for `ids` of them, from `memory`; false: none. */
bool ec_speller_open(const edgecap_memory *memory, const ec_codec *codec, size_t ids,
                     bool skip_special, ec_speller *speller);
void ec_speller_close(const edgecap_memory *memory, ec_speller *speller);
void ec_speller_begin(ec_speller *speller); /* another text */
void ec_speller_push(ec_speller *speller, int32_t id);
void ec_speller_finish(ec_speller *speller); /* what waits is written, and a null byte */

#endif
