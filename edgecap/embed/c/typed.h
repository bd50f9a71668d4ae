/* typed.h: fields of JSON objects, strictly: each known, each there, each of its type. */
#ifndef EDGECAP_TYPED_H
#define EDGECAP_TYPED_H

#include "json.h"

/* Every read function leaves the first error and answers false from then on. */
typedef struct ec_fields {
    ec_arena *arena;  /* texts are copied here */
    const char *file; /* named in errors */
    edgecap_error *error;
    edgecap_status status;
} ec_fields;

ec_fields ec_fields_of(ec_arena *arena, const char *file, edgecap_error *error);

/* `object` has these fields, the last `optional` of them perhaps, and others only as x_...;
 * bundle.unknown_field, bundle.missing_field, bundle.field_type. Names end with NULL. */
bool ec_check_fields(ec_fields *f, const ec_json *object, const char *where,
                     const char *const *names, size_t optional);

bool ec_is_kind(ec_fields *f, const ec_json *value, ec_json_kind kind, const char *where);
int64_t ec_whole(ec_fields *f, const ec_json *object, const char *name);
const char *ec_string(ec_fields *f, const ec_json *object, const char *name);
double ec_number(ec_fields *f, const ec_json *object, const char *name); /* finite */
int64_t ec_whole_or(ec_fields *f, const ec_json *object, const char *name, int64_t otherwise);
double ec_number_or(ec_fields *f, const ec_json *object, const char *name, double otherwise);
bool ec_flag(ec_fields *f, const ec_json *object, const char *name, bool otherwise);
bool ec_is_null(const ec_json *object, const char *name); /* null, or not there */
const ec_json *ec_inner(ec_fields *f, const ec_json *object, const char *name, ec_json_kind kind);

/* The place of a text field in a list of names that ends with NULL; 0, and `code`, for none. */
int ec_choice(ec_fields *f, const ec_json *object, const char *name, const char *const *names,
              const char *code);

/* A list of texts; `*count` of them. */
const char *const *ec_strings(ec_fields *f, const ec_json *object, const char *name, size_t *count);

/* One text after the other; "" where memory ran out. */
const char *ec_join(ec_fields *f, const char *a, const char *b, const char *c);

bool ec_is_hash(const char *text);                                            /* a SHA-256 in hex */
void ec_check_weights(ec_fields *f, const ec_json *object, const char *code); /* it, or null */

/* `size` * count zeroed bytes of the arena. */
void *ec_field_array(ec_fields *f, size_t count, size_t size);

edgecap_status ec_refuse(ec_fields *f, const char *code, const char *format, ...) EC_FORMAT(3, 4);

#endif
