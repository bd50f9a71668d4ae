/* vectors.h: reading the conformance vectors in C, with the core's own JSON. */
#ifndef VECTORS_H
#define VECTORS_H

#include "decode.h"
#include "tokenizer.h"

typedef struct topic {
    ec_arena arena;
    const ec_json *root;
    char *bytes; /* the .bin beside it, or NULL */
    size_t byte_count;
} topic;

extern int checks, failures;
extern edgecap_memory plain_memory;

/* Counts a check; says what failed. */
void check(bool held, const char *format, ...) EC_FORMAT(2, 3);

topic open_topic(const char *folder, const char *name);
void close_topic(topic *t);
char *read_file(const char *folder, const char *name, size_t *length); /* NULL: not there */

const ec_json *item(const ec_json *list, size_t index);
const ec_json *need(const ec_json *object, const char *key); /* exits where it is missing */
int64_t whole(const ec_json *object, const char *key);
const char *text(const ec_json *object, const char *key);

/* The source image of a case. */
void make_noise(uint8_t *values, size_t count, uint32_t seed);

/* Holds bytes to a case of a topic: to those kept, where they are, and to their
 * CRC-32. */
void check_bytes(const topic *t, const ec_json *expected, const uint8_t *got, size_t count,
                 const char *what);

/* A case of search.json on a model; and all of them on a session. */
void run_search(const ec_grammar *grammar, const ec_json *one, const ec_model *model);
void run_session(const topic *t, const ec_grammar *grammar);

ec_sampling read_sampling(const ec_json *one); /* temperature, top_k and top_p of a case */
ec_tokenizer *kept_tokenizer(const char *folder, ec_arena *arena);

void run_images(const char *folder);
void run_texts(const char *folder);
void run_rules(const char *folder);
void run_manifests(const char *folder);
void run_specs(const char *folder);
void run_regions(const char *folder);
void run_containers(const char *folder);

#endif
