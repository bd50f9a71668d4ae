/* upgrade.h: a manifest of schema 1 in the terms of schema 2; edgecap/bundle/upgrade.py in C.
 *
 * Schema 1 describes one architecture: its cache holds image rows and then text rows of all layers,
 * a prompt is a language and a style, and boxes are four edges. Tokens have names there.
 */
#ifndef EDGECAP_UPGRADE_H
#define EDGECAP_UPGRADE_H

#include "manifest.h"
#include "tokenizer.h"

typedef struct ec_schema1 { /* what only the tokenizer can turn into ids */
    const char *pad, *eos, *text, *first_location;
} ec_schema1;

/* Prompts, boxes and the frame of texts; everything else ec_read_schema1 has brought into form.
 * tokenizer.token. */
edgecap_status ec_upgrade(ec_arena *arena, const ec_tokenizer *tokenizer, ec_manifest *manifest,
                          edgecap_error *error);

#endif
