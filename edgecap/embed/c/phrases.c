/* phrases.c: where the phrase before a box begins; see regions.h.
 *
 * Not by any grammar: since the last separator, without a leading conjunction, from the last
 * determiner or number word on.
 */
#include <string.h>

#include "regions.h"
#include "unicode.h"

enum { LONGEST_WORD = 40 }; /* bytes; no word of the lists is longer */

typedef struct list {
    const char *language, *words; /* a space before and after each */
} list;

/* With which a list item begins, before its phrase; and leads of a first phrase. */
static const list SKIPPED[] = {
    {"en", " and "},  {"es", " y e "}, {"fr", " et "}, {"de", " und "},
    {"it", " e ed "}, {"pt", " e "},   {"nl", " en "}, {"ko", " 그리고 그림에 여기에 "},
};
/* With which an indefinite phrase begins. */
static const list DETERMINERS[] = {
    {"en", " a an the two three four five six seven "},
    {"es", " un una el la los las dos tres cuatro cinco seis siete "},
    {"fr", " un une le la les deux trois quatre cinq six sept "},
    {"de", " ein eine einen einem einer der die das den dem zwei drei vier fünf sechs sieben "},
    {"it", " un uno una il lo la i gli le due tre quattro cinque sei sette "},
    {"pt", " um uma o a os as dois duas três quatro cinco seis sete "},
    {"nl", " een de het twee drie vier vijf zes zeven "},
};
static const char *const ELIDED[] = {"un'", "un’", "l'", "l’"};

static bool is_separator(uint32_t code)
{
    static const uint16_t marks[] = {'.',    ',',    ';',    ':',    '!',    '?',
                                     0x3001, 0x3002, 0xFF0C, 0xFF1B, 0xFF1A, 0xFF01,
                                     0xFF1F, 0x300C, 0x300D, '(',    ')',    '"'};
    size_t i;
    for (i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (code == marks[i]) {
            return true;
        }
    }
    return false;
}

static bool begins_with(ec_text text, size_t place, const char *word)
{
    size_t length = strlen(word);
    return text.length - place >= length && memcmp(text.data + place, word, length) == 0;
}

/* The first place from `from` on where `word` stands, SIZE_MAX: none. */
static size_t find(ec_text text, size_t from, const char *word)
{
    for (; from < text.length; from++) {
        if (begins_with(text, from, word)) {
            return from;
        }
    }
    return SIZE_MAX;
}

static bool listed(const list *lists, size_t count, const char *language, const char *word)
{
    char padded[LONGEST_WORD + 8] = " ";
    size_t i;
    strcat(padded, word);
    strcat(padded, " ");
    for (i = 0; i < count; i++) {
        if (strcmp(lists[i].language, language) == 0) {
            return strstr(lists[i].words, padded) != NULL;
        }
    }
    return false;
}

static size_t last_separator(ec_text text)
{
    size_t start = 0, i, step;
    for (i = 0; i < text.length; i += step) {
        if (is_separator(ec_utf8_decode(text.data + i, &step))) {
            start = i + step;
        }
    }
    return start;
}

static size_t chinese(ec_text text, size_t start)
{
    static const char *const ands[] = {"和", "与", "及"};
    static const char *const numbers[] = {"一", "两", "三", "四", "五", "六", "七"};
    size_t first = SIZE_MAX, i, found;
    for (i = 0; i < sizeof ands / sizeof *ands; i++) {
        for (found = find(text, start, ands[i]); found != SIZE_MAX;
             found = find(text, start, ands[i])) {
            start = found + strlen(ands[i]);
        }
    }
    /* The first: what follows may be a word with a number of its own. */
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        found = find(text, start, numbers[i]);
        first = found < first ? found : first;
    }
    return first == SIZE_MAX ? start : first;
}

static size_t japanese(ec_text text, size_t start)
{
    while (begins_with(text, start, "と") || begins_with(text, start, "や")) {
        start += 3;
    }
    return begins_with(text, start, "ここに") ? start + strlen("ここに") : start;
}

/* The word at `*place`, in lower case, and where it begins; false where there is none. */
static bool next_word(ec_text text, size_t *place, size_t *begin, char *word)
{
    size_t length = 0, step;
    while (*place < text.length && ec_is_space(ec_utf8_decode(text.data + *place, &step))) {
        *place += step;
    }
    *begin = *place;
    while (*place < text.length) {
        uint32_t code = ec_utf8_decode(text.data + *place, &step);
        if (ec_is_space(code)) {
            break;
        }
        if (length + 4 < LONGEST_WORD) {
            length += ec_utf8_encode(ec_lower(code), word + length);
        }
        *place += step;
    }
    word[length] = '\0';
    return *place > *begin;
}

static bool opens_phrase(const char *word, const char *language)
{
    size_t i;
    for (i = 0; i < sizeof ELIDED / sizeof *ELIDED; i++) {
        if (strncmp(word, ELIDED[i], strlen(ELIDED[i])) == 0) {
            return true;
        }
    }
    return listed(DETERMINERS, sizeof DETERMINERS / sizeof *DETERMINERS, language, word);
}

size_t ec_phrase_start(ec_text text, const char *language)
{
    size_t start = last_separator(text), place = start, begin, first = SIZE_MAX, last = SIZE_MAX;
    char word[LONGEST_WORD + 1];
    bool leading = true;
    if (language == NULL) {
        return next_word(text, &place, &begin, word) ? begin : text.length;
    }
    if (strcmp(language, "zh") == 0) {
        return chinese(text, start);
    }
    if (strcmp(language, "ja") == 0) {
        return japanese(text, start);
    }
    while (next_word(text, &place, &begin, word)) {
        bool skipped = leading && listed(SKIPPED, sizeof SKIPPED / sizeof *SKIPPED, language, word);
        leading = false;
        if (skipped) {
            continue;
        }
        first = first == SIZE_MAX ? begin : first;
        if (opens_phrase(word, language)) {
            last = begin;
        }
    }
    return last != SIZE_MAX ? last : first != SIZE_MAX ? first : text.length;
}
