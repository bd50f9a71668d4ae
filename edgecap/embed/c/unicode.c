/* unicode.c: see unicode.h. NFC by Unicode Standard Annex 15: decompose, order, compose. */
#include "unicode.h"

#include <string.h>

enum {
    HANGUL = 0xAC00,
    LEAD = 0x1100,
    VOWEL = 0x1161,
    TAIL = 0x11A7,
    LEADS = 19,
    VOWELS = 21,
    TAILS = 28,
    SYLLABLES = LEADS * VOWELS * TAILS
};

bool ec_utf8_valid(const char *data, size_t length)
{
    const uint8_t *p = (const uint8_t *)data, *end = p + length;
    while (p < end) {
        uint8_t first = *p++, low = 0x80, high = 0xBF;
        int more;
        if (first < 0x80) {
            continue;
        }
        if (first < 0xC2 || first > 0xF4) {
            return false;
        }
        more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : low;
        high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : high;
        for (; more > 0; more--, low = 0x80, high = 0xBF) {
            if (p == end || *p < low || *p > high) {
                return false;
            }
            p++;
        }
    }
    return true;
}

uint32_t ec_utf8_decode(const char *data, size_t *length)
{
    const uint8_t *p = (const uint8_t *)data;
    if (p[0] < 0x80) {
        *length = 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *length = 2;
        return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    }
    if (p[0] < 0xF0) {
        *length = 3;
        return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    }
    *length = 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
           (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}

size_t ec_utf8_encode(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t ec_utf8_count(const char *data, size_t length)
{
    size_t count = 0, i;
    for (i = 0; i < length; i++) {
        count += ((uint8_t)data[i] & 0xC0) != 0x80;
    }
    return count;
}

size_t ec_utf8_offset(const char *data, size_t length, size_t count)
{
    size_t i = 0;
    for (; i < length && count > 0; count--) {
        do {
            i++;
        } while (i < length && ((uint8_t)data[i] & 0xC0) == 0x80);
    }
    return i;
}

/* The row whose first `columns` equal the key's, by bisection; NULL: none. */
static const uint32_t *find(const uint32_t (*rows)[3], size_t count, const uint32_t *key,
                            int columns)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint32_t *row = rows[middle];
        bool below = row[0] != key[0] ? row[0] < key[0] : columns > 1 && row[1] < key[1];
        if (row[0] == key[0] && (columns == 1 || row[1] == key[1])) {
            return row;
        }
        if (below) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static uint8_t combining(uint32_t code)
{
    size_t low = 0, high = ec_classes_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ec_classes[middle][1] < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < ec_classes_count && ec_classes[low][0] <= code ? (uint8_t)ec_classes[low][2] : 0;
}

/* Appends the full decomposition; only counts where `out` is NULL. At most 18 steps in all. */
static size_t decompose(uint32_t code, uint32_t *out)
{
    uint32_t waiting[8];
    size_t depth = 0, count = 0;
    if (code >= HANGUL && code < HANGUL + SYLLABLES) {
        uint32_t index = code - HANGUL, tail = index % TAILS;
        if (out != NULL) {
            out[0] = LEAD + index / (VOWELS * TAILS);
            out[1] = VOWEL + index % (VOWELS * TAILS) / TAILS;
            if (tail) {
                out[2] = TAIL + tail;
            }
        }
        return tail ? 3 : 2;
    }
    waiting[depth++] = code;
    while (depth > 0) {
        uint32_t next = waiting[--depth];
        const uint32_t *row = find(ec_decompositions, ec_decompositions_count, &next, 1);
        if (row == NULL || depth + 2 > sizeof waiting / sizeof *waiting) {
            if (out != NULL) {
                out[count] = next;
            }
            count++;
            continue;
        }
        if (row[2]) {
            waiting[depth++] = row[2];
        }
        waiting[depth++] = row[1];
    }
    return count;
}

static uint32_t compose(uint32_t first, uint32_t second)
{
    uint32_t pair[2];
    const uint32_t *row;
    if (first >= LEAD && first < LEAD + LEADS && second >= VOWEL && second < VOWEL + VOWELS) {
        return HANGUL + ((first - LEAD) * VOWELS + (second - VOWEL)) * TAILS;
    }
    if (first >= HANGUL && first < HANGUL + SYLLABLES && (first - HANGUL) % TAILS == 0 &&
        second > TAIL && second < TAIL + TAILS) {
        return first + (second - TAIL);
    }
    pair[0] = first;
    pair[1] = second;
    row = find(ec_compositions, ec_compositions_count, pair, 2);
    return row ? row[2] : 0;
}

/* Stable order by class of a run of marks: counting, so that a hostile run costs no square. */
static void order(uint32_t *codes, uint8_t *kinds, size_t count, uint32_t *spare)
{
    size_t starts[257] = {0}, i;
    for (i = 0; i < count; i++) {
        starts[kinds[i] + 1]++;
        spare[i] = codes[i];
    }
    for (i = 1; i < 257; i++) {
        starts[i] += starts[i - 1];
    }
    for (i = 0; i < count; i++) {
        codes[starts[kinds[i]]++] = spare[i];
    }
    for (i = 0; i < count; i++) {
        kinds[i] = combining(codes[i]);
    }
}

static void order_all(uint32_t *codes, uint8_t *kinds, size_t count, uint32_t *spare)
{
    size_t begin = 0, end, i;
    for (; begin < count; begin = end) {
        bool sorted = true;
        end = begin + 1;
        if (kinds[begin] == 0) {
            continue;
        }
        for (; end < count && kinds[end] != 0; end++) {
            sorted = sorted && kinds[end - 1] <= kinds[end];
        }
        i = end - begin;
        if (!sorted) {
            order(codes + begin, kinds + begin, i, spare);
        }
    }
}

static size_t compose_all(uint32_t *codes, uint8_t *kinds, size_t count)
{
    size_t kept = 0, starter = 0, i;
    bool has_starter = false;
    for (i = 0; i < count; i++) {
        /* Blocked where something of no lower class stands between. */
        bool between = has_starter && kept > starter + 1;
        bool blocked = between && (kinds[kept - 1] == 0 || kinds[kept - 1] >= kinds[i]);
        uint32_t joined = has_starter && !blocked ? compose(codes[starter], codes[i]) : 0;
        if (joined) {
            codes[starter] = joined;
            continue;
        }
        if (kinds[i] == 0) {
            starter = kept;
            has_starter = true;
        }
        codes[kept] = codes[i];
        kinds[kept++] = kinds[i];
    }
    return kept;
}

bool ec_nfc(ec_arena *arena, ec_text text, ec_text *normal)
{
    size_t count = 0, filled = 0, i, step;
    uint32_t *codes, *spare;
    uint8_t *kinds;
    char *out;
    bool plain = true; /* below U+0300 nothing combines */
    for (i = 0; i < text.length; i += step) {
        uint32_t code = ec_utf8_decode(text.data + i, &step);
        plain = plain && code < 0x300;
        count += plain ? 1 : decompose(code, NULL);
    }
    if (plain) {
        *normal = text;
        return true;
    }
    count += 2 * text.length; /* what was counted as plain decomposes as well: at most twice */
    codes = ec_arena_array(arena, count, sizeof *codes);
    spare = ec_arena_array(arena, count, sizeof *spare);
    kinds = ec_arena_array(arena, count, 1);
    if (codes == NULL || spare == NULL || kinds == NULL) {
        return false;
    }
    for (i = 0; i < text.length; i += step) {
        size_t added = decompose(ec_utf8_decode(text.data + i, &step), codes + filled);
        for (; added > 0; added--, filled++) {
            kinds[filled] = combining(codes[filled]);
        }
    }
    order_all(codes, kinds, filled, spare);
    filled = compose_all(codes, kinds, filled);
    out = ec_arena_array(arena, filled, 4);
    if (out == NULL) {
        return false;
    }
    normal->data = out;
    normal->length = 0;
    for (i = 0; i < filled; i++) {
        normal->length += ec_utf8_encode(codes[i], out + normal->length);
    }
    return true;
}

bool ec_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
           code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

uint32_t ec_lower(uint32_t code)
{
    bool upper = (code >= 'A' && code <= 'Z') || (code >= 0xC0 && code <= 0xDE && code != 0xD7);
    return upper ? code + 32 : code;
}

ec_text ec_strip(ec_text text)
{
    size_t step;
    while (text.length > 0 && ec_is_space(ec_utf8_decode(text.data, &step))) {
        text.data += step;
        text.length -= step;
    }
    while (text.length > 0) {
        size_t last = text.length - 1;
        while (last > 0 && ((uint8_t)text.data[last] & 0xC0) == 0x80) {
            last--;
        }
        if (!ec_is_space(ec_utf8_decode(text.data + last, &step))) {
            break;
        }
        text.length = last;
    }
    return text;
}
