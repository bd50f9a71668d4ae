/* tokenizer.c: "<text>\0<file>": the file as tokenizer and as codec; where it
 * can be read, the text is encoded, and every id is spelled. */
#include "tokenizer.h"

#include <string.h>

#include "fuzz.h"
#include "unicode.h"

enum { MOST_IDS = 64 };

/* Every id is spelled, within the bound that callers are told to provide. */
static void spell(const ec_codec *codec)
{
    ec_speller speller;
    int32_t id;
    if (!ec_speller_open(&FUZZ_MEMORY, codec, MOST_IDS, true, &speller)) {
        return;
    }
    for (id = 0; id < codec->size && id < MOST_IDS; id++) {
        ec_speller_push(&speller, id);
    }
    ec_speller_finish(&speller);
    if (speller.length + 1 > ec_codec_bound(codec, MOST_IDS)) {
        abort();
    }
    ec_speller_close(&FUZZ_MEMORY, &speller);
}

static void read_tokenizer(const char *file, size_t length, ec_text said)
{
    ec_arena arena;
    ec_tokenizer *tokenizer;
    ec_codec *codec;
    edgecap_error error;
    int32_t *ids;
    size_t count;
    ec_arena_init(&arena, &FUZZ_MEMORY);
    if (ec_tokenizer_read(&arena, file, length, "fuzzed", &tokenizer, &error) == EDGECAP_OK) {
        if (ec_tokenizer_codec(tokenizer, &arena, &codec, &error) == EDGECAP_OK) {
            spell(codec);
        }
        if (ec_utf8_valid(said.data, said.length)) {
            ec_tokenizer_encode(tokenizer, &arena, said, true, &ids, &count, &error);
        }
    }
    ec_arena_free(&arena);
}

static void read_codec(const char *file, size_t length)
{
    ec_arena arena;
    ec_codec *codec;
    edgecap_error error;
    ec_arena_init(&arena, &FUZZ_MEMORY);
    if (ec_codec_read(&arena, file, length, "fuzzed", &codec, &error) == EDGECAP_OK) {
        spell(codec);
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
        read_tokenizer(file, length, said);
        read_codec(file, length);
        free(file);
    }
    return 0;
}
