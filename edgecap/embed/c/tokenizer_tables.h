/* tokenizer_tables.h: what a tokenizer holds, for the two files that make and use it. */
#ifndef EDGECAP_TOKENIZER_TABLES_H
#define EDGECAP_TOKENIZER_TABLES_H

#include "tokenizer.h"

#define EC_SPACE "\xE2\x96\x81" /* U+2581, which stands for a space */

typedef struct ec_token {
    ec_text text;
    bool special;
    int16_t byte; /* -1: none */
} ec_token;

typedef struct ec_merge {
    int32_t left, right, rank, joined; /* left -1: empty */
} ec_merge;

struct ec_tokenizer {
    ec_token *tokens; /* by id */
    int32_t size;
    int32_t *ids; /* hash of a token's text -> id, -1: empty */
    size_t ids_size;
    ec_merge *merges;
    size_t merges_size;
    int32_t bytes[256];
    size_t longest;
};

int32_t ec_token_find(const ec_tokenizer *tokenizer, const char *data, size_t length); /* or -1 */
const ec_merge *ec_merge_find(const ec_tokenizer *tokenizer, int32_t left, int32_t right);
size_t ec_merge_slot(const ec_tokenizer *tokenizer, int32_t left, int32_t right);

#endif
