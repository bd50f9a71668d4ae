/* json.c: see json.h. One loop, no recursion: a stranger's file may nest as deep as it likes. */
#include "json.h"

#include <math.h>
#include <string.h>

#include "unicode.h"

typedef struct reader {
    ec_arena *arena;
    const char *place, *end, *where;
    edgecap_error *error;
} reader;

static edgecap_status bad(reader *r, const char *what)
{
    return ec_fail(r->error, EDGECAP_BUNDLE, "bundle.json", "%s is not valid JSON: %s.", r->where,
                   what);
}

static void skip_space(reader *r)
{
    while (r->place < r->end &&
           (*r->place == ' ' || *r->place == '\t' || *r->place == '\n' || *r->place == '\r')) {
        r->place++;
    }
}

static bool digit(const reader *r)
{
    return r->place < r->end && *r->place >= '0' && *r->place <= '9';
}

static bool take(reader *r, char what)
{
    if (r->place < r->end && *r->place == what) {
        r->place++;
        return true;
    }
    return false;
}

static edgecap_status read_number(reader *r, ec_json *value)
{
    const uint64_t most = UINT64_C(1) << 63;
    bool negative = take(r, '-'), beyond = false;
    const char *begin = r->place;
    uint64_t whole = 0;
    double number = 0;
    int exponent = 0;
    value->kind = EC_JSON_WHOLE;
    if (!digit(r)) {
        return bad(r, "a value was expected");
    }
    do {
        unsigned int next = (unsigned int)(*r->place++ - '0');
        beyond = beyond || whole > (most - next) / 10;
        whole = beyond ? 0 : whole * 10 + next;
        number = number * 10 + next;
    } while (digit(r));
    if (*begin == '0' && r->place - begin > 1) {
        return bad(r, "a number begins with 0");
    }
    if (r->place - begin > 4300) { /* as Python says */
        return bad(r, "a number is too long");
    }
    if (take(r, '.')) {
        value->kind = EC_JSON_NUMBER;
        if (!digit(r)) {
            return bad(r, "a number ends in a point");
        }
        for (; digit(r); r->place++) {
            number = number * 10 + (*r->place - '0');
            exponent--;
        }
    }
    if (take(r, 'e') || take(r, 'E')) {
        bool down = take(r, '-');
        int given = 0;
        value->kind = EC_JSON_NUMBER;
        if (!down) {
            take(r, '+');
        }
        if (!digit(r)) {
            return bad(r, "a number has no exponent");
        }
        for (; digit(r); r->place++) {
            given = given > 10000 ? given : given * 10 + (*r->place - '0');
        }
        exponent += down ? -given : given;
    }
    if (exponent > 0) {
        number *= pow(10, exponent);
    } else if (exponent < 0) { /* exact up to 15 digits and 22 places */
        number = exponent < -300 ? number / 1e300 / pow(10, -exponent - 300)
                                 : number / pow(10, -exponent);
    }
    value->number = negative ? -number : number;
    value->beyond = beyond || (whole == most && !negative);
    if (!value->beyond) {
        value->whole = whole == most ? INT64_MIN : negative ? -(int64_t)whole : (int64_t)whole;
    }
    return EDGECAP_OK;
}

static int hex(const char *place)
{
    int value = 0, i;
    for (i = 0; i < 4; i++) {
        char c = place[i];
        int digit_ = c >= '0' && c <= '9'   ? c - '0'
                     : c >= 'a' && c <= 'f' ? c - 'a' + 10
                     : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                            : -1;
        if (digit_ < 0) {
            return -1;
        }
        value = value * 16 + digit_;
    }
    return value;
}

/* One \u escape, or two that make a character; a lone surrogate is kept as three bytes. */
static size_t read_escaped(reader *r, char *out)
{
    int unit = r->end - r->place < 4 ? -1 : hex(r->place);
    if (unit < 0) {
        return 0;
    }
    r->place += 4;
    if (unit >= 0xD800 && unit < 0xDC00 && r->end - r->place >= 6 && r->place[0] == '\\' &&
        r->place[1] == 'u') {
        int low = hex(r->place + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            r->place += 6;
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return ec_utf8_encode((uint32_t)unit, out);
}

static edgecap_status read_text(reader *r, ec_text *text)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *scan = r->place;
    char *out;
    while (scan < r->end && *scan != '"') {
        scan += *scan == '\\' && r->end - scan > 1 ? 2 : 1;
    }
    if (scan >= r->end) {
        return bad(r, "a text does not end");
    }
    out = ec_arena_take(r->arena, (size_t)(scan - r->place) + 1); /* escapes only grow shorter */
    if (out == NULL) {
        return ec_no_memory(r->error);
    }
    text->data = out;
    while (*r->place != '"') {
        unsigned char c = (unsigned char)*r->place++;
        if (c < 0x20) {
            return bad(r, "a text holds a control character");
        }
        if (c != '\\') {
            *out++ = (char)c;
            continue;
        }
        c = (unsigned char)*r->place++;
        if (c == 'u') {
            size_t length = read_escaped(r, out);
            if (length == 0) {
                return bad(r, "an escape is not four digits");
            }
            out += length;
        } else {
            const char *known = c ? strchr(plain, c) : NULL;
            if (known == NULL) {
                return bad(r, "an escape is not known");
            }
            *out++ = meant[known - plain];
        }
    }
    r->place++;
    text->length = (size_t)(out - text->data);
    return EDGECAP_OK;
}

static edgecap_status read_word(reader *r, ec_json *value)
{
    static const struct {
        const char *word;
        ec_json_kind kind;
    } words[] = {{"null", EC_JSON_NULL}, {"true", EC_JSON_TRUE}, {"false", EC_JSON_FALSE}};
    size_t i;
    for (i = 0; i < 3; i++) {
        size_t length = strlen(words[i].word);
        if ((size_t)(r->end - r->place) >= length && memcmp(r->place, words[i].word, length) == 0) {
            r->place += length;
            value->kind = words[i].kind;
            return EDGECAP_OK;
        }
    }
    return read_number(r, value);
}

static edgecap_status check_keys(reader *r, const ec_json *object)
{
    size_t size = 8, i;
    const ec_json **table, *item;
    ec_arena scratch;
    edgecap_status status = EDGECAP_OK;
    if (object->count < 2) {
        return EDGECAP_OK;
    }
    while (size < 2 * object->count) {
        size *= 2;
    }
    ec_arena_init(&scratch, &r->arena->memory);
    table = ec_arena_array(&scratch, size, sizeof *table);
    if (table == NULL) {
        return ec_no_memory(r->error);
    }
    for (item = object->first; item != NULL && status == EDGECAP_OK; item = item->next) {
        i = ec_hash(item->key.data, item->key.length) & (size - 1);
        for (; table[i] != NULL; i = (i + 1) & (size - 1)) {
            if (table[i]->key.length == item->key.length &&
                memcmp(table[i]->key.data, item->key.data, item->key.length) == 0) {
                status = ec_fail(r->error, EDGECAP_BUNDLE, "bundle.duplicate_key",
                                 "%s has the key '%.60s' twice.", r->where, item->key.data);
                break;
            }
        }
        table[i] = item;
    }
    ec_arena_free(&scratch);
    return status;
}

/* What comes after a value: its list or object goes on, or ends, as do those around it. */
static edgecap_status close_all(reader *r, ec_json **open, size_t *depth, bool *more)
{
    *more = false;
    while (*open != NULL) {
        edgecap_status status;
        char end = (*open)->kind == EC_JSON_LIST ? ']' : '}';
        skip_space(r);
        if (take(r, ',')) {
            *more = true;
            return EDGECAP_OK;
        }
        if (!take(r, end)) {
            return bad(r, "a comma or an end was expected");
        }
        status = end == '}' ? check_keys(r, *open) : EDGECAP_OK;
        if (status != EDGECAP_OK) {
            return status;
        }
        *open = (*open)->parent;
        --*depth;
    }
    return EDGECAP_OK;
}

static edgecap_status read_all(reader *r, const ec_json **root)
{
    ec_json *open = NULL, *last = NULL; /* the innermost list or object, and its newest item */
    size_t depth = 0;
    bool more = true;
    while (more) {
        edgecap_status status = EDGECAP_OK;
        ec_json *value = ec_arena_take(r->arena, sizeof *value);
        if (value == NULL) {
            return ec_no_memory(r->error);
        }
        value->parent = open;
        skip_space(r);
        if (open != NULL && open->kind == EC_JSON_OBJECT) {
            status = take(r, '"') ? read_text(r, &value->key) : bad(r, "a key was expected");
            skip_space(r);
            if (status == EDGECAP_OK && !take(r, ':')) {
                status = bad(r, "a colon was expected");
            }
            skip_space(r);
        }
        if (status != EDGECAP_OK) {
            return status;
        }
        if (open == NULL) {
            *root = value;
        } else {
            if (last == NULL) {
                open->first = value;
            } else {
                last->next = value;
            }
            open->count++;
        }
        if (take(r, '[') || take(r, '{')) {
            bool list = r->place[-1] == '[';
            value->kind = list ? EC_JSON_LIST : EC_JSON_OBJECT;
            if (++depth > EC_JSON_MOST_DEPTH) {
                return bad(r, "it nests too deep");
            }
            skip_space(r);
            if (r->place < r->end && *r->place != (list ? ']' : '}')) {
                open = value;
                last = NULL;
                continue;
            }
            if (!take(r, list ? ']' : '}')) {
                return bad(r, "it ends too early");
            }
            depth--;
        } else {
            status = take(r, '"') ? (value->kind = EC_JSON_TEXT, read_text(r, &value->text))
                                  : read_word(r, value);
            if (status != EDGECAP_OK) {
                return status;
            }
        }
        {
            ec_json *before = open;
            last = value;
            status = close_all(r, &open, &depth, &more);
            if (status != EDGECAP_OK) {
                return status;
            }
            if (open != before && open != NULL) { /* the newest item is the one just closed */
                for (last = before; last->parent != open; last = last->parent) {
                }
            }
        }
    }
    skip_space(r);
    return r->place == r->end ? EDGECAP_OK : bad(r, "there is more after its end");
}

edgecap_status ec_json_parse(ec_arena *arena, const char *data, size_t length, const char *where,
                             const ec_json **root, edgecap_error *error)
{
    return ec_json_parse_most(arena, data, length, EC_JSON_MOST_BYTES, where, root, error);
}

edgecap_status ec_json_parse_most(ec_arena *arena, const char *data, size_t length, size_t most,
                                  const char *where, const ec_json **root, edgecap_error *error)
{
    reader r;
    r.arena = arena;
    r.place = data;
    r.end = data + length;
    r.where = where;
    r.error = error;
    if (length > most) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.oversized",
                       "%s has more than the %lu bytes that are read.", where, (unsigned long)most);
    }
    if (!ec_utf8_valid(data, length)) {
        return bad(&r, "it is not UTF-8");
    }
    return read_all(&r, root);
}

const ec_json *ec_json_get(const ec_json *object, const char *key)
{
    const ec_json *item = object->kind == EC_JSON_OBJECT ? object->first : NULL;
    while (item != NULL && !ec_text_is(item->key, key)) {
        item = item->next;
    }
    return item;
}

bool ec_json_same(const ec_json *a, const ec_json *b)
{
    const ec_json *one, *other;
    if (a->kind != b->kind || a->count != b->count || a->number != b->number ||
        a->whole != b->whole || a->text.length != b->text.length ||
        (a->text.length > 0 && memcmp(a->text.data, b->text.data, a->text.length) != 0)) {
        return false;
    }
    for (one = a->first, other = b->first; one != NULL; one = one->next) {
        const ec_json *twin = a->kind == EC_JSON_OBJECT ? ec_json_get(b, one->key.data) : other;
        if (twin == NULL || !ec_json_same(one, twin)) {
            return false;
        }
        other = other->next;
    }
    return true;
}
