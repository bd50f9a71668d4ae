/* manifest.h: what a bundle says about itself, checked; bundle/SPEC.md.
 *
 * Bundles of schema 1 are brought into the form of schema 2. Letters: P attention values, T text
 * rows, N tokens of a text to embed, V vocabulary, E embedding, n crops of an image at most.
 */
#ifndef EDGECAP_MANIFEST_H
#define EDGECAP_MANIFEST_H

#include "grammar.h"
#include "specs.h"
#include "state.h"

typedef struct ec_port { /* a tensor of a function: our name and the file's */
    const char *name, *target;
    size_t count; /* of its numbers at batch 1 */
} ec_port;

typedef struct ec_function {
    const char *name, *file, *entry;
    ec_port *inputs, *outputs;
    size_t input_count, output_count;
} ec_function;

typedef struct ec_file {
    const char *name, *sha256;
    int64_t size;
    bool present; /* some may be listed and lacking: SPEC.md */
} ec_file;

typedef struct ec_prompt {
    const char *name; /* "<language>.<style>" of a model with languages */
    ec_generation how;
} ec_prompt;

typedef struct ec_manifest {
    const char *name, *format, *precision;
    ec_function *functions;
    size_t function_count;
    ec_entry *state;
    size_t state_count;
    bool captions;                                                  /* there is decode */
    int32_t patches, text_rows, text_tokens, vocabulary, embedding; /* P T N V E; 0: none */
    int64_t crops; /* n, of a model with encode_crop; 0: encode takes the image itself */
    ec_image_spec image;
    const char *tokenizer, *encoder; /* ids to text, and texts to ids; NULL: none */
    ec_prompt *prompts;
    size_t prompt_count;
    ec_regions_spec regions;
    const char *const *languages, *const *styles;
    size_t language_count, style_count;
    const ec_grammar *grammar;     /* NULL: any token may follow any other */
    const ec_text_frame *texts;    /* NULL: texts come as the ids of the model's own tokenizer */
    struct ec_schema1 *to_upgrade; /* names whose ids only the tokenizer knows; upgrade.h */
    ec_file *files;
    size_t file_count;
} ec_manifest;

/* Everything lies in `arena`. Codes as in SPEC.md, Refusals. */
edgecap_status ec_manifest_read(ec_arena *arena, const char *data, size_t length,
                                ec_manifest *manifest, edgecap_error *error);

const ec_function *ec_manifest_function(const ec_manifest *manifest, const char *name); /* NULL */
const ec_generation *ec_manifest_prompt(const ec_manifest *manifest, const char *language,
                                        const char *style);                     /* NULL */
const ec_file *ec_manifest_file(const ec_manifest *manifest, const char *name); /* NULL */

/* ---- For the files that read one ---- */

ec_port *ec_find_port(ec_port *ports, size_t count, const char *name); /* NULL: not there */
void ec_read_functions(ec_fields *f, const ec_json *list, ec_manifest *manifest);
void ec_read_files(ec_fields *f, const ec_json *object, ec_manifest *manifest); /* and checks */
void ec_check_listed(ec_fields *f, const ec_manifest *manifest); /* the files of functions */
void ec_read_tools(ec_fields *f, const ec_json *tools);
void ec_read_grammar(ec_fields *f, const ec_json *table, ec_manifest *manifest);
bool ec_is_plain_path(const char *name);

/* interface.c, interface_state.c, interface_contract.c. `input`: (h, w) of the image that encode
 * takes. */
void ec_read_interface(ec_fields *f, const ec_json *object, const ec_json *functions,
                       ec_manifest *manifest, size_t input[2]);
void ec_read_state(ec_fields *f, const ec_json *interface, ec_manifest *manifest);
void ec_check_contract(ec_fields *f, const ec_json *interface, ec_manifest *manifest);
bool ec_is_cached(const ec_manifest *manifest, const char *name); /* a cache, or rows of it */
void ec_read_schema1(ec_fields *f, const ec_json *root, ec_manifest *manifest);

#endif
