/* manifest.h: what a bundle says about itself, checked; bundle/SPEC.md.
 *
 * What is read of schema 1 is brought into the form of contract 2: functions with named ports, and
 * a list of state tensors. Letters: L layers, H heads, Dh head width, P image rows (patches), T
 * text rows, V vocabulary, E embedding.
 */
#ifndef EDGECAP_MANIFEST_H
#define EDGECAP_MANIFEST_H

#include "grammar.h"
#include "state.h"

enum { EC_SCHEMA = 1 };

typedef struct ec_port { /* a tensor of a function: our name and the file's */
    const char *name, *target;
} ec_port;

typedef struct ec_function {
    const char *name, *file, *entry;
    ec_port *inputs, *outputs;
    size_t input_count, output_count;
} ec_function;

typedef struct ec_file {
    const char *name, *sha256;
    int64_t size;
} ec_file;

typedef struct ec_manifest {
    const char *name, *format, *precision;
    int32_t layers, heads, head_width, patches, text_length, vocabulary, embedding;
    size_t cache_width; /* bytes of a cached number: 4 or 2 */
    ec_function *functions;
    size_t function_count;
    const char *encode; /* the function that reads the image */
    ec_entry *state;
    size_t state_count;
    int32_t image_size;
    uint8_t fill;
    const char *tokenizer, *pad, *eos, *text;
    const char *const *languages, *const *styles;
    size_t language_count, style_count;
    int32_t bins, bin_px;
    const char *first_location;
    ec_grammar grammar;
    ec_file *files;
    size_t file_count;
} ec_manifest;

/* Everything lies in `arena`. Codes as in SPEC.md, Refusals. */
edgecap_status ec_manifest_read(ec_arena *arena, const char *data, size_t length,
                                ec_manifest *manifest, edgecap_error *error);

const ec_function *ec_manifest_function(const ec_manifest *manifest, const char *name); /* NULL */
const ec_file *ec_manifest_file(const ec_manifest *manifest, const char *name);         /* NULL */

/* The checks that read no JSON; manifest_check.c. */
edgecap_status ec_manifest_check(ec_fields *f, const ec_manifest *manifest);

#endif
