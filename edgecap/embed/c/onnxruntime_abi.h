/* onnxruntime_abi.h: the C interface of onnxruntime, without its header.
 *
 * Its one symbol gives a table of functions that only ever grows at the end: places name them.
 */
#ifndef EDGECAP_ONNXRUNTIME_ABI_H
#define EDGECAP_ONNXRUNTIME_ABI_H

#include "engine.h"

enum {
    ORT_ERROR_MESSAGE = 2,
    ORT_CREATE_ENV = 3,
    ORT_DISABLE_TELEMETRY = 6,
    ORT_CREATE_SESSION = 7,
    ORT_CREATE_SESSION_IN_MEMORY = 8,
    ORT_RUN = 9,
    ORT_CREATE_OPTIONS = 10,
    ORT_SET_SEVERITY = 22,
    ORT_SET_INTRA_THREADS = 24,
    ORT_SET_INTER_THREADS = 25,
    ORT_INPUT_COUNT = 30,
    ORT_OUTPUT_COUNT = 31,
    ORT_INPUT_TYPE = 33,
    ORT_OUTPUT_TYPE = 34,
    ORT_INPUT_NAME = 36,
    ORT_OUTPUT_NAME = 37,
    ORT_CREATE_TENSOR = 49,
    ORT_TENSOR_INFO = 55,
    ORT_ELEMENT_TYPE = 60,
    ORT_DIMENSION_COUNT = 61,
    ORT_DIMENSIONS = 62,
    ORT_CREATE_CPU_MEMORY = 69,
    ORT_ALLOCATOR_FREE = 76,
    ORT_ALLOCATOR = 78,
    ORT_RELEASE_ENV = 92,
    ORT_RELEASE_STATUS = 93,
    ORT_RELEASE_MEMORY = 94,
    ORT_RELEASE_SESSION = 95,
    ORT_RELEASE_VALUE = 96,
    ORT_RELEASE_TYPE = 98,
    ORT_RELEASE_OPTIONS = 100,
    ORT_ADD_CONFIG = 130,
    ORT_ADD_WEIGHTS = 279 /* of 1.18 */
};

typedef void (*ec_ort_function)(void);
typedef const ec_ort_function *ec_ort_api; /* the table */

typedef struct ec_ort_base {
    ec_ort_api (*get_api)(uint32_t version);
    const char *(*version)(void);
} ec_ort_base;

/* The function at a place, as its own type: `ORT_CALL(api, ORT_RUN, (void *, ...))(...)`. */
#define ORT_CALL(api, place, types) ((void *(*)types)(api)[place])
#define ORT_RELEASE(api, place, what) ((void (*)(void *))(api)[place])(what)

/* True where a call succeeded. A status is released otherwise, and told in one line where
 * `message` is not NULL. */
bool ec_ort_held(ec_ort_api api, void *status, char *message, size_t size);

int ec_ort_element(ec_type type); /* onnxruntime's number */

/* Type, rank and shape of a session's inputs or outputs by name; false where they are others. */
bool ec_ort_tensors(ec_ort_api api, void *allocator, void *session, bool output, ec_tensor *tensors,
                    size_t count);

#endif
