/* json.h: strict JSON into a tree: UTF-8, no key twice, no NaN, no more than the depth allowed. */
#ifndef EDGECAP_JSON_H
#define EDGECAP_JSON_H

#include "core.h"

enum { EC_JSON_MOST_BYTES = 4 << 20, EC_JSON_MOST_DEPTH = 512 };

typedef enum ec_json_kind {
    EC_JSON_NULL,
    EC_JSON_FALSE,
    EC_JSON_TRUE,
    EC_JSON_WHOLE,  /* a number without point or exponent */
    EC_JSON_NUMBER, /* any other */
    EC_JSON_TEXT,
    EC_JSON_LIST,
    EC_JSON_OBJECT
} ec_json_kind;

typedef struct ec_json ec_json;
struct ec_json {
    ec_json_kind kind;
    bool beyond;   /* WHOLE: does not fit in 64 bits */
    int64_t whole; /* WHOLE */
    double number; /* WHOLE and NUMBER */
    ec_text text;  /* TEXT; null-terminated as well */
    ec_text key;   /* in an object */
    size_t count;  /* LIST and OBJECT */
    ec_json *first, *next, *parent;
};

/* The tree lies in `arena`; `where` is named in errors: bundle.json, bundle.duplicate_key,
 * bundle.oversized. */
edgecap_status ec_json_parse(ec_arena *arena, const char *data, size_t length, const char *where,
                             const ec_json **root, edgecap_error *error);
edgecap_status ec_json_parse_most(ec_arena *arena, const char *data, size_t length, size_t most,
                                  const char *where, const ec_json **root, edgecap_error *error);

bool ec_json_same(const ec_json *a, const ec_json *b); /* objects in any order of their keys */
const ec_json *ec_json_get(const ec_json *object, const char *key); /* NULL: not there */

#endif
