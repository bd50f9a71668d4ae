/* codec.c: see codec.h. */
#include "codec.h"

#include <string.h>

#include "unicode.h"

#define REPLACEMENT "\xEF\xBF\xBD"

bool ec_speller_open(const edgecap_memory *memory, const ec_codec *codec, size_t ids,
                     bool skip_special, ec_speller *s)
{
    size_t bound = ec_codec_bound(codec, ids);
    memset(s, 0, sizeof *s);
    s->codec = codec;
    s->skip_special = skip_special;
    s->block = bound < (size_t)-1 / 4 ? ec_allocate_array(memory, 2 * bound + ids + 8, 1) : NULL;
    if (s->block == NULL) {
        return false;
    }
    s->raw = s->block;
    s->out = s->raw + bound;
    s->run = (uint8_t *)(s->out + bound);
    ec_speller_begin(s);
    return true;
}

void ec_speller_close(const edgecap_memory *memory, ec_speller *s)
{
    ec_release(memory, s->block);
    s->block = NULL;
}

void ec_speller_begin(ec_speller *s)
{
    s->begun = false;
    s->strip = s->codec->strip;
    s->raw_length = s->cleaned = s->run_count = s->length = 0;
}

size_t ec_codec_bound(const ec_codec *codec, size_t ids)
{
    size_t each = 3 * codec->longest + 3; /* a byte may become U+FFFD, a word gets a space */
    return ids < (size_t)-1 / each - 1 ? ids * each + 16 : (size_t)-1;
}

/* ---- What clean-up takes away ---- */

typedef struct rule {
    const char *found, *written;
} rule;

static const rule WHOLE_RULES[] = {/* transformers 5.23, clean_up_tokenization */
                                   {" .", "."},     {" ?", "?"},     {" !", "!"},   {" ,", ","},
                                   {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                                   {" 've", "'ve"}, {" 're", "'re"}};
static const rule TOKEN_RULES[] = {/* tokenizers 0.23, WordPiece decoder */
                                   {" .", "."},     {" ?", "?"},           {" !", "!"},
                                   {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                   {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                   {" 've", "'ve"}, {" 're", "'re"}};
enum {
    WHOLE_COUNT = sizeof WHOLE_RULES / sizeof *WHOLE_RULES,
    TOKEN_COUNT = sizeof TOKEN_RULES / sizeof *TOKEN_RULES,
    REACH = 3 /* characters of the longest rule of the whole text, less one */
};

/* The text without what the rules replace, in place: nothing grows. Its new length. */
static size_t apply(char *text, size_t length, const rule *rules, size_t count)
{
    size_t r;
    for (r = 0; r < count; r++) {
        size_t old = strlen(rules[r].found), new_ = strlen(rules[r].written), from = 0, to = 0;
        while (from < length) {
            if (length - from >= old && memcmp(text + from, rules[r].found, old) == 0) {
                memcpy(text + to, rules[r].written, new_);
                to += new_;
                from += old;
            } else {
                text[to++] = text[from++];
            }
        }
        length = to;
    }
    return length;
}

static bool continues(char byte)
{
    return ((uint8_t)byte & 0xC0) == 0x80;
}

/* The last place after REACH characters without a space; 0 where there is none. */
static size_t safe_cut(const char *text, size_t length)
{
    size_t cut = length;
    for (;;) {
        size_t place = cut;
        int seen = 0;
        while (place > 0 && seen < REACH) {
            place--;
            if (!continues(text[place])) {
                if (text[place] == ' ') {
                    break;
                }
                seen++;
            }
        }
        if (seen == REACH) {
            return cut;
        }
        if (place == 0 && (seen > 0 || cut == 0)) {
            return 0;
        }
        cut = place; /* the space: what ends at it is next */
        if (cut == 0) {
            return 0;
        }
    }
}

static void settle(ec_speller *s, size_t cut)
{
    size_t count = cut - s->cleaned;
    char *part = s->raw + s->cleaned;
    s->cleaned = cut;
    if (s->codec->clean_up) {
        count = apply(part, count, WHOLE_RULES, WHOLE_COUNT);
    }
    memcpy(s->out + s->length, part, count);
    s->length += count;
}

static void settle_certain(ec_speller *s)
{
    settle(s, s->codec->clean_up
                  ? s->cleaned + safe_cut(s->raw + s->cleaned, s->raw_length - s->cleaned)
                  : s->raw_length);
}

/* ---- Spelling ---- */

static void put(ec_speller *s, const char *data, size_t length)
{
    memcpy(s->raw + s->raw_length, data, length);
    s->raw_length += length;
}

static bool starts_with(ec_text text, size_t at, ec_text part)
{
    return text.length - at >= part.length && memcmp(text.data + at, part.data, part.length) == 0;
}

static void put_spaced(ec_speller *s, ec_text token, const char *written)
{
    size_t i = 0;
    while (i < token.length) {
        if (starts_with(token, i, s->codec->space)) {
            put(s, written, strlen(written));
            i += s->codec->space.length;
        } else {
            put(s, token.data + i++, 1);
        }
    }
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int byte_of(ec_text token)
{
    int high, low;
    if (token.length != 6 || memcmp(token.data, "<0x", 3) != 0 || token.data[5] != '>') {
        return -1;
    }
    high = digit(token.data[3]);
    low = digit(token.data[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Takes spaces off the beginning of what was put since `from`, while some are to be taken. */
static void strip(ec_speller *s, size_t from)
{
    size_t i = from;
    while (s->strip > 0 && i < s->raw_length) {
        if (s->raw[i] != ' ') {
            s->strip = 0;
            break;
        }
        i++;
        s->strip--;
    }
    memmove(s->raw + from, s->raw + i, s->raw_length - i);
    s->raw_length -= i - from;
}

static void end_run(ec_speller *s)
{
    size_t i;
    if (ec_utf8_valid((const char *)s->run, s->run_count)) {
        put(s, (const char *)s->run, s->run_count);
    } else {
        for (i = 0; i < s->run_count; i++) {
            put(s, REPLACEMENT, 3);
        }
    }
    s->run_count = 0;
}

static void push_fallback(ec_speller *s, ec_text token)
{
    int byte = byte_of(token);
    size_t from = s->raw_length;
    if (byte >= 0) {
        s->run[s->run_count++] = (uint8_t)byte;
        return;
    }
    end_run(s);
    put_spaced(s, token, " ");
    strip(s, from);
}

/* How many bytes a character has that begins so, and what may follow: Unicode, table 3-7. */
static size_t sequence(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return lead < 0x80                    ? 1
           : lead >= 0xC2 && lead <= 0xDF ? 2
           : lead >= 0xE0 && lead <= 0xEF ? 3
           : lead >= 0xF0 && lead <= 0xF4 ? 4
                                          : 0;
}

/* One byte more: each maximal part of a broken character becomes one U+FFFD. */
static void push_byte(ec_speller *s, uint8_t byte)
{
    uint8_t low = 0, high = 0;
    if (s->run_count > 0) {
        size_t needed = sequence(s->run[0], &low, &high);
        if (s->run_count > 1) {
            low = 0x80;
            high = 0xBF;
        }
        if (byte >= low && byte <= high) {
            s->run[s->run_count++] = byte;
            if (s->run_count == needed) {
                put(s, (const char *)s->run, needed);
                s->run_count = 0;
            }
            return;
        }
        put(s, REPLACEMENT, 3);
        s->run_count = 0;
    }
    switch (sequence(byte, &low, &high)) {
    case 0:
        put(s, REPLACEMENT, 3);
        break;
    case 1:
        put(s, (const char *)&byte, 1);
        break;
    default:
        s->run[s->run_count++] = byte;
    }
}

/* The byte of GPT-2's character, -1: none. */
static int byte_of_character(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF)) {
        return (int)c;
    }
    return c < 0x100    ? -1
           : c <= 0x120 ? (int)(c - 0x100)
           : c <= 0x142 ? (int)(c - 0x121 + 0x7F)
           : c == 0x143 ? 0xAD
                        : -1;
}

static void push_level(ec_speller *s, ec_text token)
{
    size_t i, step;
    bool bytes = true;
    for (i = 0; bytes && i < token.length; i += step) {
        bytes = byte_of_character(ec_utf8_decode(token.data + i, &step)) >= 0;
    }
    for (i = 0; i < token.length; i += step) {
        step = 1;
        push_byte(s, bytes ? (uint8_t)byte_of_character(ec_utf8_decode(token.data + i, &step))
                           : (uint8_t)token.data[i]);
    }
}

static void push_wordpiece(ec_speller *s, ec_text token)
{
    size_t from = s->raw_length, skip = 0;
    if (s->begun) {
        skip = starts_with(token, 0, s->codec->prefix) ? s->codec->prefix.length : 0;
        if (!starts_with(token, 0, s->codec->prefix)) {
            put(s, " ", 1);
        }
    }
    put(s, token.data + skip, token.length - skip);
    if (s->codec->clean_tokens) {
        s->raw_length = from + apply(s->raw + from, s->raw_length - from, TOKEN_RULES, TOKEN_COUNT);
    }
}

void ec_speller_push(ec_speller *s, int32_t id)
{
    const ec_codec *c = s->codec;
    if (id < 0 || id >= c->size || c->tokens[id].data == NULL ||
        (s->skip_special && c->special[id])) {
        return;
    }
    switch (c->family) {
    case EC_BYTE_FALLBACK:
        push_fallback(s, c->tokens[id]);
        break;
    case EC_BYTE_LEVEL:
        push_level(s, c->tokens[id]);
        break;
    case EC_WORDPIECE:
        push_wordpiece(s, c->tokens[id]);
        break;
    case EC_METASPACE:
        put_spaced(s, c->tokens[id], s->begun || !c->drop_first ? " " : "");
        break;
    }
    s->begun = true;
    settle_certain(s);
}

void ec_speller_finish(ec_speller *s)
{
    size_t from = s->raw_length;
    if (s->codec->family == EC_BYTE_FALLBACK) {
        end_run(s);
        strip(s, from);
    } else if (s->run_count > 0) {
        put(s, REPLACEMENT, 3);
        s->run_count = 0;
    }
    settle(s, s->raw_length);
    s->out[s->length] = '\0';
}
