/* tokenizer.c: "<text>\0<file>": the file as tokenizer of schema 1 and as codec of schema 2; where
 * it can be read, the text is encoded, and every id is spelled. */
#include "tokenizer.h"

#include <string.h>

#include "codec.h"
#include "fuzz.h"
#include "unicode.h"

enum { MOST_IDS = 64 };

static void tokenize(const char *file, size_t length, ec_text said)
{
    ec_arena arena;
    ec_tokenizer *tokenizer;
    edgecap_error error;
    int32_t *ids, id;
    size_t count, i;
    ec_arena_init(&arena, &FUZZ_MEMORY);
    if (ec_tokenizer_read(&arena, file, length, "fuzzed", &tokenizer, &error) == EDGECAP_OK) {
        char text[256];
        uint8_t pending[2 * MOST_IDS];
        ec_writer writer = {text, sizeof text, 0};
        ec_decoder decoder;
        ec_decoder_init(&decoder, tokenizer, &writer, true, pending);
        for (id = 0; id < ec_tokenizer_size(tokenizer) && id < MOST_IDS; id++) {
            ec_decoder_add(&decoder, id);
        }
        if (ec_utf8_valid(said.data, said.length) &&
            ec_tokenizer_encode(tokenizer, &arena, said, true, &ids, &count, &error) ==
                EDGECAP_OK) {
            for (i = 0; i < count && i < MOST_IDS; i++) {
                ec_decoder_add(&decoder, ids[i]);
            }
        }
        ec_decoder_end(&decoder);
    }
    ec_arena_free(&arena);
}

static void spell(const char *file, size_t length)
{
    ec_arena arena;
    ec_codec *codec;
    ec_speller speller;
    edgecap_error error;
    int32_t id;
    ec_arena_init(&arena, &FUZZ_MEMORY);
    if (ec_codec_read(&arena, file, length, "fuzzed", &codec, &error) == EDGECAP_OK &&
        ec_speller_open(&FUZZ_MEMORY, codec, MOST_IDS, true, &speller)) {
        ec_speller_begin(&speller);
        for (id = 0; id < codec->size && id < MOST_IDS; id++) {
            ec_speller_push(&speller, id);
        }
        ec_speller_finish(&speller);
        if (speller.length + 1 > ec_codec_bound(codec, MOST_IDS)) {
            abort(); /* the bound is what callers are told to provide */
        }
        ec_speller_close(&FUZZ_MEMORY, &speller);
    }
    ec_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    if (end != NULL) {
        ec_text said = {(const char *)data, (size_t)(end - data)};
        size_t length = size - said.length - 1;
        char *file = malloc(length + 1); /* of its own, so that reading beyond is seen */
        memcpy(file, end + 1, length);
        tokenize(file, length, said);
        spell(file, length);
        free(file);
    }
    return 0;
}
