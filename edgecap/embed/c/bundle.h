/* bundle.h: a bundle, a directory or one packed file, checked before anything in it runs. */
#ifndef EDGECAP_BUNDLE_H
#define EDGECAP_BUNDLE_H

#include "container.h"
#include "engine.h"
#include "manifest.h"

typedef struct ec_source { /* where a bundle's files lie */
    const char *directory;
    ec_container packed; /* without files: they lie in the directory */
} ec_source;

/* Reads the manifest and holds every file to it: names and sizes, with `verify` hashes too. */
edgecap_status ec_bundle_open(ec_arena *arena, const ec_source *source, bool verify,
                              ec_manifest *manifest, edgecap_error *error);

/* The second half of it: the files. Marks those present; what it takes from `arena` nobody needs
 * afterwards. */
edgecap_status ec_check_bundle_files(ec_arena *arena, const ec_source *source,
                                     ec_manifest *manifest, bool verify, edgecap_error *error);

/* The bytes of a file, at most `most` and one, to be given to ec_release. */
edgecap_status ec_read_file(const edgecap_memory *memory, const ec_source *source, const char *name,
                            size_t most, char **data, size_t *length, edgecap_error *error);

/* A model file as engines take it: a path, bytes and the files beside it, or all files. */
edgecap_status ec_bundle_model(ec_arena *arena, const ec_source *source, const char *name,
                               bool takes_files, ec_model_file *model, edgecap_error *error);

/* "<directory>/<name>" in the arena; NULL: no memory. */
char *ec_path(ec_arena *arena, const char *directory, const char *name);

typedef struct ec_sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
    void (*mix)(uint32_t *state, const uint8_t *data, size_t blocks); /* of 64 bytes */
} ec_sha256;

void ec_sha256_begin(ec_sha256 *hash);
void ec_sha256_add(ec_sha256 *hash, const uint8_t *data, size_t length);
void ec_sha256_end(ec_sha256 *hash, char hex[65]);
void ec_sha256_mix(uint32_t *state, const uint8_t *data, size_t blocks); /* on any processor */

#endif
