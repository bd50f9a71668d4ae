/* tokenizer.c: text to ids; see tokenizer.h. */
#include <string.h>

#include "tokenizer_tables.h"
#include "unicode.h"

int32_t ec_token_find(const ec_tokenizer *t, const char *data, size_t length)
{
    size_t i = ec_hash(data, length) & (t->ids_size - 1);
    for (; t->ids[i] >= 0; i = (i + 1) & (t->ids_size - 1)) {
        ec_text text = t->tokens[t->ids[i]].text;
        if (text.length == length && memcmp(text.data, data, length) == 0) {
            return t->ids[i];
        }
    }
    return -1;
}

size_t ec_merge_slot(const ec_tokenizer *t, int32_t left, int32_t right)
{
    uint32_t hash = (uint32_t)left * 0x9E3779B1u ^ (uint32_t)right * 0x85EBCA77u;
    size_t i = (hash ^ hash >> 15) & (t->merges_size - 1);
    while (t->merges[i].left >= 0 && !(t->merges[i].left == left && t->merges[i].right == right)) {
        i = (i + 1) & (t->merges_size - 1);
    }
    return i;
}

const ec_merge *ec_merge_find(const ec_tokenizer *t, int32_t left, int32_t right)
{
    const ec_merge *found = &t->merges[ec_merge_slot(t, left, right)];
    return found->left < 0 ? NULL : found;
}

int32_t ec_tokenizer_size(const ec_tokenizer *tokenizer)
{
    return tokenizer->size;
}

size_t ec_tokenizer_longest(const ec_tokenizer *tokenizer)
{
    return tokenizer->longest;
}

edgecap_status ec_tokenizer_id(const ec_tokenizer *tokenizer, const char *name, int32_t *id,
                               edgecap_error *error)
{
    *id = ec_token_find(tokenizer, name, strlen(name));
    return *id >= 0 ? EDGECAP_OK
                    : ec_fail(error, EDGECAP_BUNDLE, "tokenizer.token",
                              "the tokenizer has no token '%.60s'.", name);
}

/* ---- Encoding ---- */

typedef struct waiting { /* a pair that may merge */
    int32_t rank, place, joined;
} waiting;

typedef struct merging { /* one piece: symbols in a chain, and a heap of pairs */
    int32_t *symbols, *next, *before;
    waiting *heap;
    size_t heap_count;
} merging;

static bool comes_first(const waiting *a, const waiting *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void push(merging *m, waiting item)
{
    size_t i = m->heap_count++;
    while (i > 0 && comes_first(&item, &m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = item;
}

static waiting pop(merging *m)
{
    waiting top = m->heap[0], last = m->heap[--m->heap_count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < m->heap_count) {
        if (child + 1 < m->heap_count && comes_first(&m->heap[child + 1], &m->heap[child])) {
            child++;
        }
        if (!comes_first(&m->heap[child], &last)) {
            break;
        }
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static void offer(const ec_tokenizer *t, merging *m, int32_t left)
{
    if (left >= 0 && m->next[left] >= 0) {
        const ec_merge *found = ec_merge_find(t, m->symbols[left], m->symbols[m->next[left]]);
        if (found != NULL) {
            waiting item;
            item.rank = found->rank;
            item.place = left;
            item.joined = found->joined;
            push(m, item);
        }
    }
}

/* Merges the lowest rank first, leftmost among equals; returns how many symbols are left. */
static size_t merge_piece(const ec_tokenizer *t, merging *m, size_t count)
{
    size_t i, kept = 0;
    for (i = 0; i < count; i++) {
        m->next[i] = i + 1 < count ? (int32_t)(i + 1) : -1;
        m->before[i] = (int32_t)i - 1;
    }
    m->heap_count = 0;
    for (i = 0; i + 1 < count; i++) {
        offer(t, m, (int32_t)i);
    }
    while (m->heap_count > 0) {
        waiting item = pop(m);
        int32_t left = item.place, right = m->next[left];
        const ec_merge *found;
        if (m->symbols[left] < 0 || right < 0) {
            continue;
        }
        found = ec_merge_find(t, m->symbols[left], m->symbols[right]);
        if (found == NULL || found->joined != item.joined) {
            continue; /* one of the two was merged with something else meanwhile */
        }
        m->symbols[left] = item.joined;
        m->symbols[right] = -1;
        m->next[left] = m->next[right];
        if (m->next[right] >= 0) {
            m->before[m->next[right]] = left;
        }
        offer(t, m, m->before[left]);
        offer(t, m, left);
    }
    for (i = 0; i < count; i++) {
        if (m->symbols[i] >= 0) {
            m->symbols[kept++] = m->symbols[i];
        }
    }
    return kept;
}

static bool is_mark(uint32_t code)
{
    static const uint16_t marks[] = {'.',    ',',    ';',    ':',    '!',    '?',    0x3001,
                                     0x3002, 0xFF0C, 0xFF1B, 0xFF1A, 0xFF01, 0xFF1F, 0x300C,
                                     0x300D, '(',    ')',    '\'',   0x2019, '"'};
    size_t i;
    for (i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (code == marks[i]) {
            return true;
        }
    }
    return false;
}

static uint32_t at(ec_text text, size_t place, size_t *step)
{
    uint32_t code = ec_utf8_decode(text.data + place, step);
    return code == ' ' ? 0x2581 : code;
}

/* Where the piece that begins at `place` ends: a word with the space before it, or one mark. */
static size_t piece_end(ec_text text, size_t place)
{
    size_t step, end = place;
    uint32_t code = at(text, end, &step);
    end += step;
    if (is_mark(code)) {
        return end;
    }
    for (; end < text.length; end += step) {
        code = at(text, end, &step);
        if (code == 0x2581 || is_mark(code)) {
            break;
        }
    }
    return end;
}

static size_t symbols_of(const ec_tokenizer *t, ec_text text, size_t place, size_t end,
                         int32_t *symbols)
{
    size_t count = 0, step, i;
    for (; place < end; place += step) {
        bool space = at(text, place, &step) == 0x2581;
        const char *data = space ? EC_SPACE : text.data + place;
        size_t length = space ? 3 : step;
        symbols[count] = ec_token_find(t, data, length);
        if (symbols[count] >= 0) {
            count++;
            continue;
        }
        for (i = 0; i < length; i++) {
            symbols[count++] = t->bytes[(uint8_t)data[i]];
        }
    }
    return count;
}

static edgecap_status encode_plain(const ec_tokenizer *t, ec_arena *scratch, ec_text text,
                                   int32_t *ids, size_t *count, edgecap_error *error)
{
    ec_text normal;
    merging m;
    size_t place = 0, most;
    if (!ec_nfc(scratch, text, &normal)) {
        return ec_no_memory(error);
    }
    most = 3 * normal.length + 1; /* a space is one byte here and may be spelled with three */
    m.symbols = ec_arena_array(scratch, most, sizeof *m.symbols);
    m.next = ec_arena_array(scratch, most, sizeof *m.next);
    m.before = ec_arena_array(scratch, most, sizeof *m.before);
    m.heap = ec_arena_array(scratch, most, 3 * sizeof *m.heap);
    if (m.symbols == NULL || m.next == NULL || m.before == NULL || m.heap == NULL) {
        return ec_no_memory(error);
    }
    while (place < normal.length) {
        size_t end = piece_end(normal, place);
        size_t kept = merge_piece(t, &m, symbols_of(t, normal, place, end, m.symbols));
        memcpy(ids + *count, m.symbols, kept * sizeof *ids);
        *count += kept;
        place = end;
    }
    return EDGECAP_OK;
}

/* The special token that begins at `place`, the longest of several; -1: none. */
static int32_t special_at(const ec_tokenizer *t, ec_text text, size_t place)
{
    int32_t i, found = -1;
    for (i = 0; i < t->size; i++) {
        ec_text name = t->tokens[i].text;
        if (t->tokens[i].special && name.length != 0 && name.length <= text.length - place &&
            memcmp(text.data + place, name.data, name.length) == 0 &&
            (found < 0 || name.length > t->tokens[found].text.length)) {
            found = i;
        }
    }
    return found;
}

edgecap_status ec_tokenizer_encode(const ec_tokenizer *t, ec_arena *arena, ec_text text,
                                   bool allow_special, int32_t **ids, size_t *count,
                                   edgecap_error *error)
{
    ec_arena scratch;
    edgecap_status status = EDGECAP_OK;
    size_t place = 0, begin = 0;
    ec_text spaced;
    char *copy;
    *count = 0;
    if (text.length > INT32_MAX / 16) {
        return ec_fail(error, EDGECAP_INPUT, "text.too_long", "the text is too long.");
    }
    ec_arena_init(&scratch, &arena->memory);
    copy = ec_arena_take(&scratch, text.length + 2);
    *ids = ec_arena_array(arena, 3 * text.length + 4, sizeof **ids);
    if (copy == NULL || *ids == NULL) {
        ec_arena_free(&scratch);
        return ec_no_memory(error);
    }
    copy[0] = ' ';
    memcpy(copy + 1, text.data, text.length);
    spaced.data = copy;
    spaced.length = text.length + 1;
    while (status == EDGECAP_OK && place < spaced.length) {
        int32_t special = allow_special ? special_at(t, spaced, place) : -1;
        if (special < 0) {
            place = allow_special ? place + 1 : spaced.length;
        }
        if (special >= 0 || place == spaced.length) {
            ec_text plain;
            plain.data = copy + begin;
            plain.length = place - begin;
            status = encode_plain(t, &scratch, plain, *ids, count, error);
        }
        if (special >= 0) {
            (*ids)[(*count)++] = special;
            place += t->tokens[special].text.length;
            begin = place;
        }
    }
    ec_arena_free(&scratch);
    return status;
}

/* ---- Ids to text ---- */

edgecap_status ec_tokenizer_codec(const ec_tokenizer *t, ec_arena *arena, ec_codec **codec,
                                  edgecap_error *error)
{
    ec_codec *c = ec_arena_take(arena, sizeof *c);
    int32_t i;
    *codec = c;
    if (c == NULL) {
        return ec_no_memory(error);
    }
    c->family = EC_BYTE_FALLBACK;
    c->size = t->size;
    c->longest = t->longest;
    c->space.data = EC_SPACE;
    c->space.length = sizeof EC_SPACE - 1;
    c->strip = 1; /* the space that encoding put before the text */
    c->tokens = ec_arena_array(arena, (size_t)t->size, sizeof *c->tokens);
    c->special = ec_arena_array(arena, (size_t)t->size, 1);
    if (c->tokens == NULL || c->special == NULL) {
        return ec_no_memory(error);
    }
    for (i = 0; i < t->size; i++) {
        c->tokens[i] = t->tokens[i].text;
        c->special[i] = t->tokens[i].special;
    }
    return EDGECAP_OK;
}
