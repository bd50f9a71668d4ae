/* litert_abi.h: what is used of LiteRT's C interface, from 2.1.6 on; no header ships with it. */
#ifndef EDGECAP_LITERT_ABI_H
#define EDGECAP_LITERT_ABI_H

#include "engine.h"

typedef struct ec_litert_option {
    int32_t tag, padding, type, padding2;
    int64_t value;
} ec_litert_option;

typedef struct ec_litert_ranked_type {
    int32_t element;
    unsigned int rank : 7;
    unsigned int has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
} ec_litert_ranked_type;

typedef struct ec_litert {
    void *handle;
    int (*create_environment)(int count, const ec_litert_option *options, void **environment);
    void (*destroy_environment)(void *environment);
    int (*create_model)(void *environment, const char *path, void **model);
    int (*create_model_from_buffer)(void *environment, const void *data, size_t size, void **model);
    void (*destroy_model)(void *model);
    int (*create_options)(void **options);
    void (*destroy_options)(void *options);
    int (*set_accelerators)(void *options, int set);
    int (*create_opaque)(const char *identifier, void *payload, void (*destroy)(void *),
                         void **opaque);
    int (*add_opaque)(void *options, void *opaque);
    int (*create_compiled)(void *environment, void *model, void *options, void **compiled);
    void (*destroy_compiled)(void *compiled);
    int (*signature_count)(void *model, size_t *count);
    int (*signature)(void *model, size_t index, void **signature);
    int (*signature_key)(void *signature, const char **key);
    int (*input_count)(void *signature, size_t *count);
    int (*output_count)(void *signature, size_t *count);
    int (*input_name)(void *signature, size_t index, const char **name);
    int (*output_name)(void *signature, size_t index, const char **name);
    int (*input_tensor)(void *signature, size_t index, void **tensor);
    int (*output_tensor)(void *signature, size_t index, void **tensor);
    int (*tensor_type)(void *tensor, ec_litert_ranked_type *type);
    int (*create_buffer)(const ec_litert_ranked_type *type, void *data, size_t size,
                         void (*destroy)(void *), void **buffer);
    void (*destroy_buffer)(void *buffer);
    int (*run)(void *compiled, size_t signature, size_t input_count, void **inputs,
               size_t output_count, void **outputs);
} ec_litert;

/* Finds every function in the library that `lib->handle` is; engine.too_old. */
edgecap_status ec_litert_find(ec_litert *lib, edgecap_error *error);

#endif
