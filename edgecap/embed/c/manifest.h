/* manifest.h: what a bundle says about itself, checked; bundle/SPEC.md.
 *
 * What is read of schema 1 is brought into the form of contract 2: functions with named ports, and
 * a list of state tensors. Letters: L layers, H heads, Dh head width, P image rows (patches), T
 * text rows, V vocabulary, E embedding.
 */
#ifndef EDGECAP_MANIFEST_H
#define EDGECAP_MANIFEST_H

#include "grammar.h"
#include "specs.h"
#include "state.h"

enum { EC_SCHEMA = 1, EC_SCHEMA_2 = 2 };

typedef struct ec_port { /* a tensor of a function: our name and the file's */
    const char *name, *target;
    size_t count; /* of its numbers at batch 1; 0: given by the contract of schema 1 */
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

typedef struct ec_prompt { /* of schema 2 */
    const char *name;
    ec_generation how;
} ec_prompt;

typedef struct ec_manifest {
    int schema;
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
    /* schema 2; above, patches are then the attention's, and text_length is N of encode_text */
    bool captions;
    int32_t text_rows;                /* T */
    size_t input_height, input_width; /* of encode's image */
    bool unmapped;                    /* while it is read: functions and interface differ */
    ec_image_spec image;
    ec_prompt *prompts;
    size_t prompt_count;
    ec_regions_spec regions;
} ec_manifest;

/* Everything lies in `arena`. Codes as in SPEC.md, Refusals. */
edgecap_status ec_manifest_read(ec_arena *arena, const char *data, size_t length,
                                ec_manifest *manifest, edgecap_error *error);

const ec_function *ec_manifest_function(const ec_manifest *manifest, const char *name); /* NULL */
const ec_file *ec_manifest_file(const ec_manifest *manifest, const char *name);         /* NULL */

/* What both schemas share; manifest.c. */
void ec_read_functions(ec_fields *f, const ec_json *list, ec_manifest *manifest);
void ec_read_files(ec_fields *f, const ec_json *object, ec_manifest *manifest);
void ec_read_tools(ec_fields *f, const ec_json *tools);
bool ec_is_hash(const char *text);

/* manifest2.c, interface.c */
void ec_read_schema2(ec_fields *f, const ec_json *root, ec_manifest *manifest);
void ec_read_interface(ec_fields *f, const ec_json *object, const ec_json *functions,
                       ec_manifest *manifest);

/* The checks that read no JSON; manifest_check.c. */
bool ec_is_plain_path(const char *name);
void ec_check_files(ec_fields *f, const ec_manifest *manifest);
bool ec_is_listed(const ec_manifest *manifest, const char *name); /* a file or an .mlpackage */
edgecap_status ec_manifest_check(ec_fields *f, const ec_manifest *manifest);

#endif
